//! `/v1`: what our own backend speaks. Every answer's shape is pinned by the files in `tests/contract/`.

mod explain;
mod fleet;
mod jobs;
mod render;
mod submission;

use axum::http::Method;

use super::routes::{Need, Routes};
use crate::store::Scope;

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
    routes.add(Method::GET, "/v1/fleet", admin, fleet::fleet);
    routes.add(Method::POST, "/v1/instances/{name}/cordon", admin, fleet::cordon);
    routes.add(Method::POST, "/v1/instances/{name}/uncordon", admin, fleet::uncordon);
    routes.add(Method::POST, "/v1/drain", admin, fleet::drain);
}
