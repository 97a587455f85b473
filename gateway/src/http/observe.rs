//! Around every request: its id, its span, its figures; panics and bare refusals get the shape of their face.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use tracing::{Instrument as _, debug, error, info_span};
use uuid::Uuid;

use super::door;
use super::error::{self, ApiError, Shape};
use super::forwarded;
use super::state::Shared;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const COMFY_REQUEST_ID: HeaderName = HeaderName::from_static("x-comfy-request-id");

/// Longest request id that is taken over from a caller.
const MAX_REQUEST_ID: usize = 128;

/// The outermost layer.
pub(super) async fn observe(State(app): State<Arc<Shared>>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    name_host(&mut request);
    forwarded::settle(&app.doors.trusted_proxies, &mut request);
    let id = request_id(request.headers());
    let method = request.method().clone();
    let path = request.uri().path();
    let shape = if app.forwarding.has(path) { Shape::Native } else { Shape::of(path) };
    let route = request.extensions().get::<MatchedPath>().cloned();
    let origin = request.headers().get(header::ORIGIN).cloned();
    let span = info_span!("request", id = %id.to_str().unwrap_or_default(), %method, route = route.as_ref().map(MatchedPath::as_str));

    let response = if method == Method::OPTIONS {
        door::options(&app, request.headers())
    } else {
        answer(request, next).instrument(span.clone()).await
    };
    let mut response = error::render(shape, response);

    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id.clone());
    headers.insert(COMFY_REQUEST_ID, id);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(origin) = origin {
        let_origin_read(&app, headers, origin);
    }
    let took = began.elapsed();
    let route = route.as_ref().map_or("unknown", MatchedPath::as_str);
    app.metrics.http_request(route, &method, response.status(), took);
    span.in_scope(|| {
        debug!(status = response.status().as_u16(), seconds = took.as_secs_f64(), "request answered")
    });
    response
}

/// HTTP/2 names the host in the request's target; everything behind this looks for it in its header.
fn name_host(request: &mut Request) {
    let target = request.uri().authority().map(|authority| HeaderValue::from_str(authority.as_str()));
    if let Some(Ok(target)) = target {
        request.headers_mut().insert(header::HOST, target);
    }
}

async fn answer(request: Request, next: Next) -> Response {
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(panic) => {
            let words = panic.downcast_ref::<String>().map(String::as_str);
            let words = words.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("not text");
            error!(panic = words, "handler panicked");
            ApiError::internal(&"a handler panicked").into_response()
        }
    }
}

/// The caller's own id where it is harmless, else a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let is_plain =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'/');
    if let Some(given) = headers.get(REQUEST_ID)
        && (1..=MAX_REQUEST_ID).contains(&given.len())
        && given.as_bytes().iter().all(is_plain)
    {
        return given.clone();
    }
    let mut text = [0; uuid::fmt::Simple::LENGTH];
    let id = Uuid::now_v7().simple().encode_lower(&mut text);
    HeaderValue::from_str(id).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

fn let_origin_read(app: &Shared, headers: &mut HeaderMap, origin: HeaderValue) {
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    if origin.to_str().is_ok_and(|name| door::is_allowed(app, name)) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("retry-after, x-request-id, x-comfy-request-id, idempotency-replayed"),
        );
    }
}

/// Answers a path that has no route.
pub(super) async fn unknown_route() -> ApiError {
    ApiError::new(error::ErrorKind::NotFound, "not_found", "there is no such route")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::*;

    fn with(id: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_static(id))])
    }

    #[test]
    fn a_harmless_request_id_is_taken_over_and_any_other_replaced() {
        assert_eq!(request_id(&with("abc-1")), "abc-1");
        for bad in ["", "a b", "{\"x\":1}"] {
            assert_eq!(request_id(&with(bad)).len(), 32);
        }
    }
}
