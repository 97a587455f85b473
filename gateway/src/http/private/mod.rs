//! `/v1`: what our own backend speaks. Every answer's shape is pinned by the files in `tests/contract/`.

mod acts;
mod availability;
mod batches;
mod cost;
mod estimate;
mod event;
mod events;
mod explain;
mod feed;
mod fleet;
mod follow;
mod frames;
mod idempotency;
mod jobs;
mod many;
mod render;
mod submission;
mod templates;
mod usage;
mod webhooks;

use utoipa_axum::routes;

pub(super) use availability::AvailabilityCache;
pub(super) use event::EventBodies;

use super::routes::{Need, Routes};
use crate::store::Scope;

/// Adds the routes of `/v1`. Method and path stand in the documentation of each handler.
pub(super) fn add(table: &mut Routes) {
    let read = Need::Scope(Scope::Read);
    let submit = Need::Scope(Scope::Submit);
    let admin = Need::Scope(Scope::Admin);
    table.api(submit, routes!(jobs::submit));
    table.api(read, routes!(jobs::list));
    table.api(read, routes!(jobs::get));
    table.api(submit, routes!(acts::cancel));
    table.api(submit, routes!(acts::change_class));
    table.api(submit, routes!(acts::retry));
    table.api(read, routes!(events::stream));
    table.api(read, routes!(explain::explain));
    table.api(read, routes!(many::status));
    table.api(submit, routes!(many::cancel));
    table.api(submit, routes!(batches::submit));
    table.api(read, routes!(batches::get));
    table.api(read, routes!(estimate::estimate));
    table.api(read, routes!(usage::usage));
    table.api(read, routes!(templates::list));
    table.api(admin, routes!(templates::put));
    table.api(read, routes!(templates::get));
    table.api(admin, routes!(templates::delete));
    table.api(admin, routes!(templates::disable));
    table.api(admin, routes!(templates::enable));
    table.api(admin, routes!(fleet::fleet));
    table.api(admin, routes!(fleet::cordon));
    table.api(admin, routes!(fleet::uncordon));
    table.api(admin, routes!(fleet::drain));
    table.api_slow(read, routes!(feed::events));
    table.api(read, routes!(webhooks::receivers));
    table.api(read, routes!(webhooks::dead));
    table.api(submit, routes!(webhooks::replay));
}
