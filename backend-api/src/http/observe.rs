//! What is seen of every request: a span, one line in the log, and the counters. Routes are templates, so that nothing a
//! caller wrote is in them.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tower_http::request_id::RequestId;
use tracing::{Instrument as _, debug, info, info_span};

use crate::metrics::Metrics;
use crate::trace::{HEADER, Trace};

/// Asked every few seconds for ever: in the log only when something is wrong.
const HEALTH: [&str; 4] = ["/", "/healthz", "/livez", "/readyz"];

/// Label of a path that no route has.
const UNKNOWN: &str = "unknown";

pub(super) async fn observe(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or(UNKNOWN, MatchedPath::as_str);
    let method = method(&request);
    let id = request.extensions().get::<RequestId>().and_then(|id| id.header_value().to_str().ok());
    let told = request.headers().get(HEADER).and_then(|value| value.to_str().ok());
    let trace = told.and_then(Trace::read).unwrap_or_default();
    let span = info_span!("request", method, route, id, trace = %trace);
    let response = trace.scope(next.run(request).instrument(span.clone())).await;
    let (status, took) = (response.status().as_u16(), begun.elapsed());
    metrics.answered(method, route, status, took.as_secs_f64());
    let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    span.in_scope(|| match HEALTH.contains(&route) && status < 400 {
        true => debug!(status, milliseconds, "answered"),
        false => info!(status, milliseconds, "answered"),
    });
    response
}

/// A closed set: anybody can invent a method.
fn method(request: &Request) -> &'static str {
    match request.method().as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}
