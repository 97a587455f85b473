//! Health for the platform that runs us.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use tracing::warn;

use super::AppState;
use crate::error_chain::chain;
use crate::gateway_client::Readiness;

/// The process runs.
#[derive(Serialize)]
pub(super) struct Live {
    status: &'static str,
}

/// `status` is `ready`, `degraded` (works are recorded, but not submitted now) or `unready`.
#[derive(Serialize)]
pub(super) struct Ready {
    status: &'static str,
    checks: Checks,
}

#[derive(Serialize)]
struct Checks {
    database: &'static str,
    gateway: &'static str,
}

/// `GET /livez`: 200 as long as the process answers at all; touches nothing else.
pub(super) async fn livez() -> Json<Live> {
    Json(Live { status: "ok" })
}

/// `GET /readyz`: 503 when no work could be recorded; a gateway that is away only degrades us.
pub(super) async fn readyz(State(state): State<AppState>) -> (StatusCode, Json<Ready>) {
    let (database, gateway) = tokio::join!(state.works.probe_database(), state.works.gateway_readiness());
    if let Err(error) = &database {
        warn!(error = %chain(error), "database is not ready");
    }
    let (code, status) = match (&database, gateway) {
        (Err(_), _) => (StatusCode::SERVICE_UNAVAILABLE, "unready"),
        (Ok(()), Readiness::Ready) => (StatusCode::OK, "ready"),
        (Ok(()), Readiness::NotReady | Readiness::Unreachable) => (StatusCode::OK, "degraded"),
    };
    let checks = Checks {
        database: if database.is_ok() { "ok" } else { "failed" },
        gateway: match gateway {
            Readiness::Ready => "ok",
            Readiness::NotReady => "not_ready",
            Readiness::Unreachable => "unreachable",
        },
    };
    (code, Json(Ready { status, checks }))
}
