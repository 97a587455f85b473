//! The only place where errors become responses: `{"error": {"code", "message"}}`.
//!
//! `code` is stable and for programs, `message` is safe to show. The cause stays in our log, under the request id.

use std::any::Any;
use std::borrow::Cow;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tracing::error;

use crate::db;
use crate::error_chain::chain;
use crate::works::CreateError;

/// What kind of failure it is; decides the status and nothing else does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request is malformed.
    Invalid,
    /// No valid proof of who asks.
    Unauthorized,
    /// No such thing.
    NotFound,
    /// The path is known, the method is not.
    MethodNotAllowed,
    /// The body is over the bound.
    TooLarge,
    /// The body is not JSON by its own account.
    UnsupportedMedia,
    /// Well formed, but will never be carried out.
    Refused,
    /// Not now; there is a time to come back.
    Busy,
    /// Our own bug.
    Internal,
    /// The gateway's or our operator's fault.
    Gateway,
    /// The database is away.
    Unavailable,
    /// Took too long.
    Timeout,
}

impl ErrorKind {
    /// Its HTTP status.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Invalid => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMedia => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Refused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Busy => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Gateway => StatusCode::BAD_GATEWAY,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }
}

/// A failure on its way to the caller.
#[derive(Debug)]
pub struct ApiError {
    kind: ErrorKind,
    code: Cow<'static, str>,
    message: Cow<'static, str>,
    retry_after: Option<Duration>,
}

impl ApiError {
    /// A failure with its stable code and a message safe to show.
    pub fn new(
        kind: ErrorKind,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { kind, code: code.into(), message: message.into(), retry_after: None }
    }

    /// The same, telling when to come back.
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = json!({"error": {"code": self.code, "message": self.message}});
        let mut response = (self.kind.status(), Json(body)).into_response();
        if let Some(wait) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        }
        if self.kind == ErrorKind::Unauthorized {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<CreateError> for ApiError {
    fn from(cause: CreateError) -> Self {
        match cause {
            CreateError::Refused(refusal) => Self::new(ErrorKind::Refused, refusal.code, refusal.message),
            CreateError::Busy { retry_after } => {
                Self::new(ErrorKind::Busy, "queue_full", "no room for more work now").retry_after(retry_after)
            }
            CreateError::GatewayKey => {
                error!("gateway does not accept our key");
                Self::new(ErrorKind::Gateway, "gateway_unauthorized", "pictures cannot be made now")
            }
            CreateError::Database(cause) => cause.into(),
        }
    }
}

impl From<db::Error> for ApiError {
    fn from(cause: db::Error) -> Self {
        error!(error = %chain(&cause), "database call failed");
        match cause {
            db::Error::Corrupt { .. } | db::Error::Duplicate(_) => {
                Self::new(ErrorKind::Internal, "internal", "something broke on our side")
            }
            _ => Self::new(ErrorKind::Unavailable, "unavailable", "the database does not serve now")
                .retry_after(Duration::from_secs(1)),
        }
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        let (kind, code) = match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => (ErrorKind::TooLarge, "too_large"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => (ErrorKind::UnsupportedMedia, "unsupported_media_type"),
            _ => (ErrorKind::Invalid, "invalid_request"),
        };
        Self::new(kind, code, rejection.body_text())
    }
}

impl From<PathRejection> for ApiError {
    fn from(_: PathRejection) -> Self {
        Self::new(ErrorKind::NotFound, "not_found", "there is no such thing")
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(ErrorKind::Invalid, "invalid_request", rejection.body_text())
    }
}

/// Answers a path that has no endpoint.
pub(super) async fn unknown_route() -> ApiError {
    ApiError::new(ErrorKind::NotFound, "not_found", "there is no such route")
}

/// Answers a known path with another method.
pub(super) async fn unknown_method() -> ApiError {
    ApiError::new(ErrorKind::MethodNotAllowed, "method_not_allowed", "this route has other methods")
}

/// Answers a request whose handler panicked.
pub(super) fn after_panic(panic: Box<dyn Any + Send>) -> Response {
    let words =
        panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    error!(panic = words.unwrap_or("not text"), "handler panicked");
    ApiError::new(ErrorKind::Internal, "internal", "something broke on our side").into_response()
}
