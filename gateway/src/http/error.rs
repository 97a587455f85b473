//! Every failure on its way to a caller. A handler says *what* failed; the face, known by the path, says how that
//! looks: the envelope of Comfy API v2, or a problem document (RFC 9457) for `/v1` and operations.
//!
//! `code` is stable and for programs, `message` is safe to show. Causes stay in our log, under the request id.

use std::borrow::Cow;
use std::fmt::Display;

use axum::body::Body;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tracing::error;

use crate::artifacts::ArtifactError;
use crate::engine::Unavailable;
use crate::store::StoreError;

/// What kind of failure it is. Decides the status, and nothing else does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request is malformed.
    Invalid,
    /// No valid key.
    Unauthorized,
    /// Known, but not allowed.
    Forbidden,
    /// No such thing, or not the caller's.
    NotFound,
    /// The path is known, the method is not.
    MethodNotAllowed,
    /// It was there, or could have been, and its time is over.
    Gone,
    /// It contradicts what is there.
    Conflict,
    /// The body is over a bound.
    TooLarge,
    /// The body is of another type.
    UnsupportedMedia,
    /// The range lies outside.
    Range,
    /// Well formed, but never to be carried out.
    Refused,
    /// Not now; there is a time to come back.
    Busy,
    /// Our own fault.
    Internal,
    /// An instance broke off.
    Upstream,
    /// Something we need does not answer, or we are going away.
    Unavailable,
    /// It took too long.
    TimedOut,
}

impl ErrorKind {
    /// Its HTTP status.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::Invalid => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Gone => StatusCode::GONE,
            Self::Conflict => StatusCode::CONFLICT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMedia => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Range => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::Refused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Busy => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Upstream => StatusCode::BAD_GATEWAY,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        }
    }
}

/// A failure on its way to the caller.
#[derive(Debug, Clone)]
pub struct ApiError(Box<Parts>);

#[derive(Debug, Clone)]
struct Parts {
    kind: ErrorKind,
    code: Cow<'static, str>,
    message: Cow<'static, str>,
    details: Option<Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The whole body, where the face knows it.
    body: Option<Value>,
}

impl ApiError {
    /// A failure with its stable code and a message safe to show.
    pub fn new(
        kind: ErrorKind,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        let parts = Parts {
            kind,
            code: code.into(),
            message: message.into(),
            details: None,
            headers: Vec::new(),
            body: None,
        };
        Self(Box::new(parts))
    }

    /// 400 `invalid_request`.
    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Invalid, "invalid_request", message)
    }

    /// 404 `not_found`: unknown and foreign look alike.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(ErrorKind::NotFound, "not_found", "there is no such thing")
    }

    /// 422 with its own code.
    pub fn refused(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Refused, code, message)
    }

    /// 413 `payload_too_large`.
    #[must_use]
    pub fn too_large(limit: u64) -> Self {
        Self::new(ErrorKind::TooLarge, "payload_too_large", format!("the body is larger than {limit} bytes"))
    }

    /// 500; the cause goes to the log only.
    pub fn internal(cause: &dyn Display) -> Self {
        error!(error = %cause, "request failed");
        Self::new(ErrorKind::Internal, "internal", "something broke on our side")
    }

    /// 503, to be tried again after a second.
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Unavailable, "unavailable", message).retry_after(1)
    }

    /// With particulars, a JSON object.
    #[must_use]
    pub fn details(mut self, details: Value) -> Self {
        self.0.details = Some(details);
        self
    }

    /// With this body, whatever the face would make of it.
    #[must_use]
    pub(super) fn body(mut self, body: Value) -> Self {
        self.0.body = Some(body);
        self
    }

    /// With a header of its own.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// Telling when to come back, in whole seconds (at least one): clients ignore the date form (CONTRACT §4).
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        self.header(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)))
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Its stable code.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// Its message, safe to show.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Its particulars.
    pub(super) fn particulars(&self) -> Option<&Value> {
        self.0.details.as_ref()
    }

    /// What a bare status means when no handler spoke: the router, a layer or an extractor refused.
    pub(super) fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => {
                Self::new(ErrorKind::NotFound, "not_found", "there is no such route or thing")
            }
            StatusCode::METHOD_NOT_ALLOWED => Self::new(
                ErrorKind::MethodNotAllowed,
                "method_not_allowed",
                "this route does not take this method",
            ),
            StatusCode::PAYLOAD_TOO_LARGE => {
                Self::new(ErrorKind::TooLarge, "payload_too_large", "the body is too large")
            }
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::new(
                ErrorKind::UnsupportedMedia,
                "unsupported_media_type",
                "the body is of another type",
            ),
            StatusCode::SERVICE_UNAVAILABLE => Self::unavailable("not available now"),
            StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => Self::timed_out(),
            status if status.is_client_error() => Self::invalid("the request cannot be understood"),
            _ => Self::new(ErrorKind::Internal, "internal", "something broke on our side"),
        }
    }

    /// 504.
    pub(super) fn timed_out() -> Self {
        Self::new(ErrorKind::TimedOut, "timeout", "the request took too long").retry_after(1)
    }
}

impl From<StoreError> for ApiError {
    fn from(cause: StoreError) -> Self {
        error!(error = %cause, "store call failed");
        match cause {
            StoreError::Unavailable(_) => Self::unavailable("the job store does not answer now"),
            StoreError::Damaged(_) => {
                Self::new(ErrorKind::Internal, "internal", "something broke on our side")
            }
        }
    }
}

impl From<Unavailable> for ApiError {
    fn from(_: Unavailable) -> Self {
        Self::unavailable("the job store does not answer now")
    }
}

impl From<ArtifactError> for ApiError {
    fn from(cause: ArtifactError) -> Self {
        match cause {
            ArtifactError::NotFound => {
                Self::new(ErrorKind::NotFound, "output_unavailable", "the bytes are not there any more")
            }
            ArtifactError::Unavailable(_) => {
                error!(error = %cause, "artifact store call failed");
                Self::unavailable("the artifact store does not answer now")
            }
            ArtifactError::Exists => {
                error!(error = %cause, "artifact store call failed");
                Self::unavailable("the artifact store holds something else in this place")
            }
            ArtifactError::TooLarge(limit) => Self::too_large(limit),
        }
    }
}

impl IntoResponse for ApiError {
    /// Status and headers; the body comes from [`render`], which knows the face.
    fn into_response(self) -> Response {
        let mut response = self.0.kind.status().into_response();
        if self.0.kind == ErrorKind::Unauthorized {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.0.kind == ErrorKind::TooLarge {
            // The rest of the body is not read: the connection is of no more use, and its client must know.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response.headers_mut().extend(self.0.headers.iter().cloned());
        response.extensions_mut().insert(self);
        response
    }
}

/// How a failure looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// `{"error": {"code", "message", "details"}}` (CONTRACT §3).
    V2,
    /// `application/problem+json` with `code` (RFC 9457).
    Problem,
    /// `{"error": {"type", "message", "details", "extra_info"}, "node_errors"}`, as ComfyUI refuses a prompt (PROTOCOL §2).
    Native,
}

impl Shape {
    /// The face a path belongs to.
    pub(super) fn of(path: &str) -> Self {
        let is_v2 = path.strip_prefix("/api/v2").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        match is_v2 {
            true => Self::V2,
            false if super::native::is_path(path) => Self::Native,
            false => Self::Problem,
        }
    }
}

/// Marks a response whose body is meant as it is, whatever its status (`/readyz`).
#[derive(Debug, Clone, Copy)]
pub(super) struct AsItIs;

/// Gives an unsuccessful response the body of its face; leaves all others alone.
pub(super) fn render(shape: Shape, mut response: Response) -> Response {
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error())
        || response.extensions().get::<AsItIs>().is_some()
    {
        return response;
    }
    let failure = response.extensions_mut().remove::<ApiError>();
    let failure = failure.unwrap_or_else(|| ApiError::of_status(status));
    let (media_type, body) = match shape {
        Shape::V2 => ("application/json", envelope(&failure)),
        Shape::Problem => ("application/problem+json", problem(status, &failure)),
        Shape::Native => ("application/json", comfyui(&failure)),
    };
    let (parts, _) = response.into_parts();
    let mut response = Response::from_parts(parts, Body::from(body.to_string()));
    let headers: &mut HeaderMap = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

fn envelope(failure: &ApiError) -> Value {
    let code = match &*failure.0.code {
        // The words of that contract for faults of our own (CONTRACT §3).
        "internal" | "timeout" => "upstream_error",
        "unavailable" | "draining" => "upstream_unreachable",
        code => code,
    };
    json!({"error": {"code": code, "message": failure.0.message, "details": failure.0.details}})
}

fn comfyui(failure: &ApiError) -> Value {
    if let Some(body) = &failure.0.body {
        return body.clone();
    }
    let details = failure.0.details.clone();
    json!({
        "error": {
            "type": failure.0.code,
            "message": failure.0.message,
            "details": "",
            "extra_info": details.unwrap_or_else(|| json!({})),
        },
        "node_errors": {},
    })
}

fn problem(status: StatusCode, failure: &ApiError) -> Value {
    let mut body = json!({
        "type": "about:blank",
        "title": status.canonical_reason().unwrap_or("Error"),
        "status": status.as_u16(),
        "code": failure.0.code,
        "detail": failure.0.message,
    });
    if let (Some(details), Some(object)) = (&failure.0.details, body.as_object_mut()) {
        object.insert("details".into(), details.clone());
    }
    body
}
