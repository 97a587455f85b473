//! `/history`: what ended, oldest first.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Query, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::value::RawValue;

use super::super::error::ApiError;
use super::super::respond::json_text;
use super::super::state::{App, Shared};
use super::queue;
use super::render::History;
use crate::store::{HistoryPage, NativeJob};
use crate::tenant::Caller;

type Who = Extension<Arc<Caller>>;

/// `GET /history`: `max_items` and `offset` as in ComfyUI, `prompt_id` for one of them.
pub(super) async fn page(
    app: App,
    caller: Who,
    Query(query): Query<BTreeMap<String, String>>,
) -> Result<Response, ApiError> {
    if let Some(id) = query.get("prompt_id") {
        return found(&app, &caller, id.clone()).await;
    }
    let most = app.native.settings().max_history_listed;
    let limit = whole(&query, "max_items")?
        .map_or(most, |limit| u32::try_from(limit.max(0)).map_or(most, |limit| limit.min(most)));
    let page = HistoryPage { offset: count(&query, "offset")?, limit };
    if limit == 0 {
        return Ok(json_text(StatusCode::OK, "{}".into()));
    }
    let jobs = app.engine.store().native().native_history(caller.tenant.id, page).await?;
    entries(&jobs)
}

/// A negative number counts as none, as in ComfyUI.
fn count(query: &BTreeMap<String, String>, name: &str) -> Result<Option<u32>, ApiError> {
    Ok(whole(query, name)?.and_then(|number| u32::try_from(number).ok()))
}

fn whole(query: &BTreeMap<String, String>, name: &str) -> Result<Option<i64>, ApiError> {
    let Some(text) = query.get(name) else { return Ok(None) };
    let number = text.trim().parse();
    number.map(Some).map_err(|_| ApiError::invalid(format!("{name} must be a whole number")))
}

/// `GET /history/{id}`.
pub(super) async fn one(app: App, caller: Who, Path(id): Path<String>) -> Result<Response, ApiError> {
    found(&app, &caller, id).await
}

async fn found(app: &Shared, caller: &Caller, id: String) -> Result<Response, ApiError> {
    let found = app.engine.store().native().native_job(caller.tenant.id, id).await?;
    let ended = found.filter(|job| job.row.state.is_terminal() && is_shown(job));
    entries(ended.as_slice())
}

/// What was taken out of the queue before it ran leaves no trace.
pub(super) fn is_shown(job: &NativeJob) -> bool {
    job.row.state != crate::store::StoredState::Canceled || job.row.started_at.is_some()
}

/// In the order given, by the callers' own ids.
fn entries(jobs: &[NativeJob]) -> Result<Response, ApiError> {
    let mut text = String::from("{");
    for job in jobs {
        let entry = serde_json::to_string(&History::of(job).entry());
        let entry = entry.map_err(|error| ApiError::internal(&error))?;
        let id = serde_json::to_string(&job.facts.prompt_id);
        let id = id.map_err(|error| ApiError::internal(&error))?;
        if text.len() > 1 {
            text.push(',');
        }
        text.extend([id.as_str(), ":", &entry]);
    }
    text.push('}');
    Ok(json_text(StatusCode::OK, text))
}

/// `POST /history`: `{"clear": true}` or `{"delete": [ids]}`. The files of those jobs stay.
pub(super) async fn change(app: App, caller: Who, request: Request) -> Result<Response, ApiError> {
    let order = queue::read_order(&app, request).await?;
    let store = app.engine.store().native();
    if order.clear {
        store.native_hide(caller.tenant.id, None).await?;
    }
    if !order.delete.is_empty() {
        store.native_hide(caller.tenant.id, Some(order.delete)).await?;
    }
    Ok(StatusCode::OK.into_response())
}

/// A JSON text as a value.
pub(super) fn raw(value: &impl serde::Serialize) -> Result<Box<RawValue>, ApiError> {
    serde_json::value::to_raw_value(value).map_err(|error| ApiError::internal(&error))
}
