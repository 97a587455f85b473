//! `/v1`: what our own backend speaks. Every answer's shape is pinned by the files in `tests/contract/`.

mod event;
mod explain;
mod feed;
mod fleet;
mod jobs;
mod render;
mod submission;
mod webhooks;

use axum::http::Method;

use super::routes::{Need, Routes};
use crate::store::Scope;

pub(super) use event::EventBodies;

/// Adds the routes of `/v1`.
pub(super) fn add(routes: &mut Routes) {
    let read = Need::Scope(Scope::Read);
    let submit = Need::Scope(Scope::Submit);
    let admin = Need::Scope(Scope::Admin);
    routes.add(Method::POST, "/v1/jobs", submit, jobs::submit);
    routes.add(Method::GET, "/v1/jobs", read, jobs::list);
    routes.add(Method::GET, "/v1/jobs/{id}", read, jobs::get);
    routes.add(Method::POST, "/v1/jobs/{id}/cancel", submit, jobs::cancel);
    routes.add(Method::GET, "/v1/jobs/{id}/explain", read, explain::explain);
    routes.add_slow(Method::GET, "/v1/events", read, feed::events);
    routes.add(Method::GET, "/v1/webhooks", read, webhooks::receivers);
    routes.add(Method::GET, "/v1/webhooks/dead", read, webhooks::dead);
    routes.add(Method::POST, "/v1/webhooks/dead/replay", submit, webhooks::replay);
    routes.add(Method::GET, "/v1/fleet", admin, fleet::fleet);
    routes.add(Method::POST, "/v1/instances/{name}/cordon", admin, fleet::cordon);
    routes.add(Method::POST, "/v1/instances/{name}/uncordon", admin, fleet::uncordon);
    routes.add(Method::POST, "/v1/drain", admin, fleet::drain);
}
