//! The only place where errors become responses: `{"error": {"code", "message"}}`.
//!
//! `code` is stable and for programs, `message` is safe to show. The cause stays in our log, under the request id.

use std::any::Any;
use std::borrow::Cow;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{BytesRejection, JsonRejection, PathRejection, QueryRejection};
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tracing::{error, warn};

use super::codes::{self, Code, ErrorKind};
use crate::db;
use crate::error_chain::chain;
use crate::identity::{ExchangeError, IdentityError, LeaveError, SignatureError};

/// A failure on its way to the caller.
#[derive(Debug)]
pub struct ApiError {
    kind: ErrorKind,
    code: Cow<'static, str>,
    message: Cow<'static, str>,
    retry_after: Option<Duration>,
}

impl ApiError {
    /// A failure with its code and a message safe to show.
    pub fn of(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind: code.kind, code: code.text.into(), message: message.into(), retry_after: None }
    }

    /// A refusal of the gateway, in its own words: its codes are `docs/ERRORS.md`'s as well.
    pub fn of_gateway(code: String, message: String) -> Self {
        Self { kind: ErrorKind::Refused, code: code.into(), message: message.into(), retry_after: None }
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

impl From<db::Error> for ApiError {
    fn from(cause: db::Error) -> Self {
        error!(error = %chain(&cause), "database call failed");
        match cause {
            db::Error::Corrupt { .. } | db::Error::Duplicate(_) => internal(),
            _ => Self::of(codes::UNAVAILABLE, "the database does not serve now")
                .retry_after(Duration::from_secs(1)),
        }
    }
}

impl From<IdentityError> for ApiError {
    fn from(cause: IdentityError) -> Self {
        match cause {
            IdentityError::NoWechat => {
                Self::of(codes::WECHAT_NOT_CONFIGURED, "there is no mini program here")
            }
            IdentityError::Exchange(cause) => cause.into(),
            IdentityError::NotGood => unauthorized(),
            IdentityError::Reused => {
                Self::of(codes::REFRESH_REUSED, "this token was used before: log in again")
            }
            IdentityError::LoginAgain => Self::of(codes::LOGIN_AGAIN, "log in at WeChat again, then repeat"),
            IdentityError::Unknown => Self::of(codes::NOT_FOUND, "there is no such person"),
            IdentityError::Sealed(cause) => {
                error!(error = %chain(&cause), "personal data cannot be read");
                internal()
            }
            IdentityError::Database(cause) => cause.into(),
        }
    }
}

impl From<ExchangeError> for ApiError {
    /// FACTS 1.12.
    fn from(cause: ExchangeError) -> Self {
        match cause {
            ExchangeError::CodeRefused => {
                Self::of(codes::CODE_REFUSED, "this code does not count: get a new one")
            }
            ExchangeError::TooFrequent => {
                Self::of(codes::TOO_MANY_LOGINS, "too many logins").retry_after(Duration::from_secs(60))
            }
            ExchangeError::Blocked => {
                Self::of(codes::LOGIN_BLOCKED, "WeChat does not let this account log in")
            }
            ExchangeError::Misconfigured(_) => {
                error!(error = %chain(&cause), "wechat does not accept our app");
                Self::of(codes::WECHAT_MISCONFIGURED, "logins are not set up rightly")
            }
            ExchangeError::Unavailable(_) => {
                warn!(error = %chain(&cause), "wechat does not answer");
                Self::of(codes::WECHAT_UNAVAILABLE, "WeChat does not answer: repeat with a new code")
                    .retry_after(Duration::from_secs(1))
            }
        }
    }
}

impl From<LeaveError> for ApiError {
    fn from(cause: LeaveError) -> Self {
        match cause {
            LeaveError::NotNow(reason) => Self::of(codes::LEAVE_NOT_NOW, reason.message),
            LeaveError::Database(cause) => cause.into(),
        }
    }
}

impl From<SignatureError> for ApiError {
    fn from(cause: SignatureError) -> Self {
        match cause {
            SignatureError::Wrong => unauthorized(),
            SignatureError::Stale => {
                Self::of(codes::SIGNATURE_STALE, "signed more than five minutes from now")
            }
        }
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        let code = match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => codes::TOO_LARGE,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => codes::UNSUPPORTED_MEDIA_TYPE,
            _ => codes::INVALID_REQUEST,
        };
        Self::of(code, rejection.body_text())
    }
}

impl From<BytesRejection> for ApiError {
    fn from(rejection: BytesRejection) -> Self {
        let code = match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => codes::TOO_LARGE,
            _ => codes::INVALID_REQUEST,
        };
        Self::of(code, rejection.body_text())
    }
}

impl From<PathRejection> for ApiError {
    fn from(_: PathRejection) -> Self {
        Self::of(codes::NOT_FOUND, "there is no such thing")
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Self::of(codes::INVALID_REQUEST, rejection.body_text())
    }
}

pub(super) fn unauthorized() -> ApiError {
    ApiError::of(codes::UNAUTHORIZED, "valid credentials are needed")
}

pub(super) fn internal() -> ApiError {
    ApiError::of(codes::INTERNAL, "something broke on our side")
}

/// Answers a path that has no endpoint.
pub(super) async fn unknown_route() -> ApiError {
    ApiError::of(codes::NOT_FOUND, "there is no such route")
}

/// Answers a known path with another method.
pub(super) async fn unknown_method() -> ApiError {
    ApiError::of(codes::METHOD_NOT_ALLOWED, "this route has other methods")
}

/// Answers a request whose handler panicked.
pub(super) fn after_panic(panic: Box<dyn Any + Send>) -> Response {
    let words =
        panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    error!(panic = words.unwrap_or("not text"), "handler panicked");
    internal().into_response()
}
