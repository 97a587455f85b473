//! Health for the platform that runs us.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde::Serialize;

use utoipa::ToSchema;
use utoipa_axum::routes;

use super::AppState;
use super::door::{Access, Door, Side};
use super::doors::Table;
use super::openapi;
use crate::health::State as Health;

pub(super) fn doors(table: &mut Table) {
    table.add(Door::open(), routes!(livez));
    table.add(Door::open(), routes!(healthz));
    table.add(Door::open(), routes!(root));
    table.add(Door::open(), routes!(readyz));
    table.add(Door::open(), routes!(openapi::serve));
    table.add(Door { side: Side::Both, ..Door::machine(Access::Metrics) }, routes!(metrics));
}

/// The process runs.
#[derive(Serialize, ToSchema)]
pub(super) struct Live {
    status: &'static str,
}

/// `status` is `ready`, `degraded` (artworks are recorded, but not submitted now) or `unready`.
#[derive(Serialize, ToSchema)]
pub(super) struct Ready {
    status: &'static str,
    checks: Checks,
}

#[derive(Serialize, ToSchema)]
struct Checks {
    database: &'static str,
    gateway: &'static str,
}

/// Whether the process answers at all; touches nothing else.
#[utoipa::path(get, path = "/livez", tag = "operations", responses((status = 200, description = "It does.", body = Live)))]
async fn livez() -> Json<Live> {
    Json(Live { status: "ok" })
}

/// The same, under the name that platforms guess.
#[utoipa::path(get, path = "/healthz", tag = "operations", responses((status = 200, description = "It does.", body = Live)))]
async fn healthz() -> Json<Live> {
    Json(Live { status: "ok" })
}

/// The same, for platforms that ask nothing in particular.
#[utoipa::path(get, path = "/", tag = "operations", responses((status = 200, description = "It does.", body = Live)))]
async fn root() -> Json<Live> {
    Json(Live { status: "ok" })
}

/// What is counted, for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "operations", responses(
    (status = 200, description = "Text format 0.0.4.", content_type = "text/plain", body = String)))]
async fn metrics(State(state): State<AppState>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], state.metrics.text())
}

/// Whether anything could be recorded; a gateway that is away only degrades us.
#[utoipa::path(get, path = "/readyz", tag = "operations", responses(
    (status = 200, description = "Ready, or degraded.", body = Ready),
    (status = 503, description = "The database does not serve.", body = Ready)))]
async fn readyz(State(state): State<AppState>) -> (StatusCode, Json<Ready>) {
    let health = state.health.look().await;
    let (code, status, database) = match health {
        Health::Ready => (StatusCode::OK, "ready", "ok"),
        Health::Degraded { .. } => (StatusCode::OK, "degraded", "ok"),
        Health::Unready { .. } => (StatusCode::SERVICE_UNAVAILABLE, "unready", "failed"),
    };
    (code, Json(Ready { status, checks: Checks { database, gateway: health.gateway().as_str() } }))
}
