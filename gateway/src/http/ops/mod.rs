//! Operations: is it alive, does it serve, what does it count, what does it look like.

mod console;

use axum::extract::Request;
use axum::http::header::{self, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::editor;
use super::error::{ApiError, AsItIs};
use super::openapi;
use super::respond::json;
use super::routes::{Need, Routes};
use super::state::App;
use crate::engine::Readiness;
use crate::fleet::FleetView;
use crate::store::Scope;

/// Adds the routes.
pub(super) fn add(routes: &mut Routes) {
    routes.api(Need::Nothing, utoipa_axum::routes!(livez));
    routes.api(Need::Nothing, utoipa_axum::routes!(readyz));
    routes.api(Need::Scope(Scope::Metrics), utoipa_axum::routes!(metrics));
    routes.add(Method::GET, "/", Need::Door, home);
    routes.api(Need::Door, utoipa_axum::routes!(openapi::serve));
    console::add(routes);
}

/// Whether the process runs and answers.
#[utoipa::path(get, path = "/livez", tag = "operations", responses(
    (status = 200, description = "It does.", content_type = "text/plain", body = String)))]
async fn livez() -> &'static str {
    "ok\n"
}

#[derive(Serialize, utoipa::ToSchema)]
struct Ready {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    degraded: Vec<&'static str>,
}

/// Whether jobs are taken.
///
/// Without a usable instance they are, so that is 200 with a remark.
#[utoipa::path(get, path = "/readyz", tag = "operations", responses(
    (status = 200, description = "They are.", body = Ready),
    (status = 503, description = "Not now; `reason` says why.", body = Ready)))]
async fn readyz(app: App) -> Result<Response, ApiError> {
    let reason = match app.engine.readiness() {
        Readiness::Recovering => Some("recovering"),
        Readiness::StoreFailed => Some("store_failed"),
        Readiness::Draining => Some("draining"),
        Readiness::Ready => app.engine.store().ping().await.is_err().then_some("store_failed"),
    };
    let (status, body) = match reason {
        Some(reason) => (
            StatusCode::SERVICE_UNAVAILABLE,
            Ready { status: "unavailable", reason: Some(reason), degraded: Vec::new() },
        ),
        None => {
            (StatusCode::OK, Ready { status: "ready", reason: None, degraded: degraded(&app.engine.fleet()) })
        }
    };
    let mut response = json(status, &body)?;
    response.extensions_mut().insert(AsItIs);
    Ok(response)
}

fn degraded(fleet: &FleetView) -> Vec<&'static str> {
    let known = &fleet.summary.instances;
    let mut remarks = Vec::new();
    if !known.iter().any(|known| known.up && !known.cordoned && !known.faulty) {
        remarks.push("no_usable_instance");
    }
    if !fleet.hosts.is_empty() && fleet.hosts.iter().all(|host| host.spool_full) {
        remarks.push("spool_full");
    }
    remarks
}

/// What is counted, for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "operations", responses(
    (status = 200, description = "Classic text format.", content_type = "text/plain", body = String)))]
async fn metrics(app: App) -> Result<Response, ApiError> {
    app.metrics.event_streams(app.streams.count());
    app.metrics.forwards_open(app.engine.forwards().count());
    let text = app.metrics.render(&app.engine.fleet()).map_err(|error| ApiError::internal(&error))?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

/// Browsers get the web editor, or are led to the console.
async fn home(app: App, request: Request) -> Response {
    let wants_page = request
        .headers()
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"));
    if !wants_page {
        return "Darkroom gateway\n".into_response();
    }
    if app.editor.is_some() {
        return editor::home(&app, request).await;
    }
    let mut response = StatusCode::SEE_OTHER.into_response();
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/console"));
    response
}
