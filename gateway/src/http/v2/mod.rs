//! Comfy API v2: what the official SDKs speak (CONTRACT). Decisions of ours, where the contract leaves room:
//!
//! - `priority` is checked (an integer within ±1,000,000) and taken as the caller's order among its own jobs: higher
//!   runs first.
//! - Unknown members of a submission are ignored, those of `extra_data` refused.
//! - `queue_position` counts from 1 (the next one); it is null where it cannot be told quickly, never guessed.
//! - `from-path` is not offered.

mod assets;
pub(super) mod content;
mod events;
mod frames;
mod jobs;
mod render;
mod submission;
mod upload;

use axum::Json;
use axum::http::Method;
use serde_json::{Value, json};

use super::routes::{Need, Routes};
use super::state::App;
use crate::engine::Readiness;
use crate::store::Scope;

/// Adds the routes of CONTRACT §2.
pub(super) fn add(routes: &mut Routes) {
    let read = Need::Scope(Scope::Read);
    let submit = Need::Scope(Scope::Submit);
    routes.add(Method::GET, "/api/v2/health", Need::Nothing, health);
    routes.add(Method::POST, "/api/v2/jobs", submit, jobs::submit);
    routes.add(Method::GET, "/api/v2/jobs", read, jobs::list);
    routes.add(Method::GET, "/api/v2/jobs/{id}", read, jobs::get);
    routes.add(Method::GET, "/api/v2/jobs/{id}/workflow", read, jobs::workflow);
    routes.add(Method::GET, "/api/v2/jobs/{id}/events", read, events::stream);
    routes.add(Method::POST, "/api/v2/jobs/{id}/cancel", submit, jobs::cancel);
    routes.add_slow(Method::POST, "/api/v2/assets", submit, upload::upload);
    routes.add(Method::POST, "/api/v2/assets/from-hash", submit, assets::from_hash);
    routes.add(Method::HEAD, "/api/v2/assets/by-hash/{hash}", read, assets::by_hash);
    routes.add(Method::GET, "/api/v2/assets/{id}", read, assets::get);
    routes.add(Method::DELETE, "/api/v2/assets/{id}", submit, assets::delete);
    routes.add(Method::GET, "/api/v2/assets/{id}/content", read, content::content);
}

/// Whether the process serves; it has no one upstream to name.
async fn health(app: App) -> Json<Value> {
    let upstream = match app.engine.readiness() {
        Readiness::Ready => "ok",
        Readiness::Recovering | Readiness::StoreFailed | Readiness::Draining => "unavailable",
    };
    Json(json!({"status": "ok", "upstream": upstream}))
}
