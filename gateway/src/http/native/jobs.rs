//! `/api/jobs`: queue and history as one list, as the web editor reads it.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Query, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::super::body;
use super::super::error::{ApiError, AsItIs};
use super::super::respond;
use super::super::state::{App, Shared};
use super::super::view::Seen;
use super::history::{is_shown, raw};
use super::queue::{cancel_all, open_jobs};
use super::render::{self, History};
use crate::store::{HistoryPage, NativeJob, StoredState};
use crate::tenant::Caller;

type Who = Extension<Arc<Caller>>;

/// Ids of one request.
const MAX_IDS: usize = 1_000;
const MAX_BODY_BYTES: usize = 1 << 20;

/// Files that can be shown, by extension.
const SHOWN: [&str; 14] =
    ["png", "jpg", "jpeg", "webp", "gif", "bmp", "avif", "mp4", "webm", "mov", "mp3", "wav", "flac", "ogg"];

/// `GET /api/jobs`.
pub(super) async fn list(
    app: App,
    caller: Who,
    Query(query): Query<BTreeMap<String, String>>,
) -> Result<Response, ApiError> {
    let wanted: Vec<&str> = match query.get("status").map(String::as_str) {
        None | Some("") => Vec::new(),
        Some(text) => text.split(',').map(str::trim).collect(),
    };
    let known = ["pending", "in_progress", "completed", "failed", "cancelled"];
    if wanted.iter().any(|status| !known.contains(status)) {
        return refused(&format!("status must be some of {}", known.join(", ")));
    }
    let Some(limit) = number(&query, "limit", 1) else {
        return refused("limit must be a whole number above 0");
    };
    let Some(offset) = number(&query, "offset", 0) else { return refused("offset must be a whole number") };
    let mut jobs = all(&app, &caller).await?;
    jobs.retain(|job| wanted.is_empty() || wanted.iter().any(|status| job["status"] == **status));
    if let Some(workflow) = query.get("workflow_id") {
        jobs.retain(|job| job["workflow_id"] == **workflow);
    }
    sort(&mut jobs, &query);
    let (total, offset) = (jobs.len(), offset.unwrap_or(0));
    let page: Vec<Value> = jobs.into_iter().skip(offset).take(limit.unwrap_or(usize::MAX)).collect();
    let has_more = offset + page.len() < total;
    respond::json(
        StatusCode::OK,
        &json!({
            "jobs": page,
            "pagination": {"offset": offset, "limit": limit, "total": total, "has_more": has_more},
        }),
    )
}

/// A number of at least this much, where there is one; `None` for anything else.
#[expect(clippy::option_option, reason = "not there and not a number are two things")]
fn number(query: &BTreeMap<String, String>, name: &str, least: usize) -> Option<Option<usize>> {
    let Some(text) = query.get(name) else { return Some(None) };
    text.trim().parse().ok().filter(|number| *number >= least).map(Some)
}

fn sort(jobs: &mut [Value], query: &BTreeMap<String, String>) {
    let by_duration = query.get("sort_by").is_some_and(|by| by == "execution_duration");
    let key = |job: &Value| match by_duration {
        true => duration(job),
        false => job["create_time"].as_i64().unwrap_or(0),
    };
    jobs.sort_by_key(key);
    if query.get("sort_order").is_none_or(|order| order != "asc") {
        jobs.reverse();
    }
}

fn duration(job: &Value) -> i64 {
    let at = |name: &str| job[name].as_i64();
    at("execution_end_time").zip(at("execution_start_time")).map_or(0, |(end, start)| end - start)
}

async fn all(app: &Shared, caller: &Caller) -> Result<Vec<Value>, ApiError> {
    let limit = app.native.settings().max_history_listed;
    let page = HistoryPage { offset: None, limit };
    let ended = app.engine.store().native().native_history(caller.tenant.id, page).await?;
    // The queue after the history: a job that ends in between is in the first of them, or in both.
    let open = open_jobs(app, caller).await?;
    let mut jobs: Vec<Value> = ended.iter().map(|job| summary(app, job, false)).collect();
    let is_new = |job: &NativeJob| !ended.iter().any(|ended| ended.row.id == job.row.id);
    jobs.extend(open.iter().filter(|(job, _)| is_new(job)).map(|(job, runs)| summary(app, job, *runs)));
    Ok(jobs)
}

fn summary(app: &Shared, job: &NativeJob, runs: bool) -> Value {
    let row = &job.row;
    let status = match row.state {
        StoredState::Succeeded => "completed",
        StoredState::Canceled => "cancelled",
        StoredState::Failed | StoredState::Expired => "failed",
        _ if runs => "in_progress",
        _ => "pending",
    };
    let history = History::of(job);
    let files = files(&history);
    let shown: Vec<&Value> = files.iter().filter(|file| can_be_shown(file)).collect();
    let mut summary = json!({
        "id": job.facts.prompt_id,
        "status": status,
        "priority": render::number(job.facts.number),
        "create_time": row.accepted_at,
        "outputs_count": files.len(),
        "previewable_outputs_count": shown.len(),
    });
    let started = row.started_at.or_else(|| app.engine.live(row.id).and_then(|live| live.started_at));
    if let Some(at) = started {
        summary["execution_start_time"] = json!(at);
    }
    if let Some(at) = row.ended_at {
        summary["execution_end_time"] = json!(at);
    }
    if let Some(first) = shown.first() {
        summary["preview_output"] = (*first).clone();
    }
    if status == "failed"
        && let Some((_, error)) = history.messages().pop()
    {
        summary["execution_error"] = error;
    }
    if let Some(id) = workflow_id(job) {
        summary["workflow_id"] = id;
    }
    summary
}

/// Every file, with its node and the kind of list that it stands in.
fn files(history: &History<'_>) -> Vec<Value> {
    let mut files = Vec::new();
    for (node, output) in history.executed() {
        for (kind, list) in output.as_object().into_iter().flatten() {
            for file in list.as_array().into_iter().flatten().filter_map(Value::as_object) {
                let mut file = file.clone();
                file.insert("nodeId".into(), node.into());
                file.insert("mediaType".into(), kind.as_str().into());
                files.push(Value::Object(file));
            }
        }
    }
    files
}

fn can_be_shown(file: &Value) -> bool {
    let name = file["filename"].as_str().unwrap_or_default();
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    SHOWN.iter().any(|shown| shown.eq_ignore_ascii_case(extension))
}

fn workflow_id(job: &NativeJob) -> Option<Value> {
    let info: Map<String, Value> = serde_json::from_str(job.extra_pnginfo.as_deref()?).ok()?;
    info.get("workflow")?.get("id").filter(|id| !id.is_null()).cloned()
}

/// `GET /api/jobs/{id}`.
pub(super) async fn one(app: App, caller: Who, Path(id): Path<String>) -> Result<Response, ApiError> {
    let found = app.engine.store().native().native_job(caller.tenant.id, id).await?;
    let Some(job) = found.filter(is_shown) else { return not_found() };
    let live = app.engine.live(job.row.id);
    let runs = render::runs(&Seen::new(job.row.clone(), live));
    let mut shown = summary(&app, &job, runs);
    let history = History::of(&job);
    shown["outputs"] = Value::Object(history.outputs().clone());
    if job.row.state.is_terminal() {
        shown["execution_status"] =
            serde_json::to_value(history.status()).map_err(|error| ApiError::internal(&error))?;
    }
    let workflow = raw(&json!({
        "prompt": serde_json::from_str::<Value>(&job.workflow).unwrap_or_default(),
        "extra_data": serde_json::to_value(render::extra(&job)).unwrap_or_default(),
    }))?;
    shown["workflow"] = serde_json::from_str(workflow.get()).map_err(|error| ApiError::internal(&error))?;
    respond::json(StatusCode::OK, &shown)
}

/// A refusal in the shape that these routes have in ComfyUI.
fn refused(error: &str) -> Result<Response, ApiError> {
    as_it_is(StatusCode::BAD_REQUEST, &json!({"error": error}))
}

fn not_found() -> Result<Response, ApiError> {
    as_it_is(StatusCode::NOT_FOUND, &json!({"error": "Job not found"}))
}

fn as_it_is(status: StatusCode, body: &Value) -> Result<Response, ApiError> {
    let mut response = respond::json(status, body)?;
    response.extensions_mut().insert(AsItIs);
    Ok(response.into_response())
}

/// `POST /api/jobs/{id}/cancel`.
pub(super) async fn cancel(app: App, caller: Who, Path(id): Path<String>) -> Result<Response, ApiError> {
    let open = app.native.find(caller.tenant.id, &id);
    let is_known = match open {
        Some(_) => true,
        None => app.engine.store().native().native_job(caller.tenant.id, id).await?.is_some(),
    };
    if !is_known {
        return not_found();
    }
    cancel_all(&app, open.into_iter().collect()).await?;
    respond::json(StatusCode::OK, &json!({"cancelled": open.is_some()}))
}

/// `POST /api/jobs/cancel`: `{"job_ids": […]}`.
pub(super) async fn cancel_many(app: App, caller: Who, request: Request) -> Result<Response, ApiError> {
    let read = body::read_any(&app, request, MAX_BODY_BYTES).await?;
    let wanted: Value = serde_json::from_slice(&read.bytes).unwrap_or_default();
    let ids = wanted["job_ids"].as_array().filter(|ids| ids.len() <= MAX_IDS);
    let Some(ids) = ids else {
        return refused("job_ids must be a list");
    };
    let is_id = |id: &&Value| id.as_str().is_some_and(|id| Uuid::try_parse(id).is_ok());
    let invalid: Vec<&Value> = ids.iter().filter(|id| !is_id(id)).collect();
    if !invalid.is_empty() {
        let body = json!({"error": "job_ids contains invalid id(s)", "invalid_ids": invalid});
        return as_it_is(StatusCode::BAD_REQUEST, &body);
    }
    let open: Vec<Uuid> = ids
        .iter()
        .filter_map(|id| app.native.find(caller.tenant.id, id.as_str().unwrap_or_default()))
        .collect();
    let cancelled = !open.is_empty();
    cancel_all(&app, open).await?;
    respond::json(StatusCode::OK, &json!({"cancelled": cancelled}))
}
