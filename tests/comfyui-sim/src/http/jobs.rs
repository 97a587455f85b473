//! `/api/jobs`, queue and history in one shape (PROTOCOL §4); absent before 2026.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{App, crash, json, queue, read_json};
use crate::history::Entry;
use crate::process::Process;
use crate::queue::Item;

const STATUSES: [&str; 5] = ["pending", "in_progress", "completed", "failed", "cancelled"];

/// The jobs routes below `prefix`.
pub(super) fn routes(prefix: &str) -> Router<Arc<Process>> {
    let routes = Router::new()
        .route("/jobs", get(list))
        .route("/jobs/cancel", post(cancel_many))
        .route("/jobs/{job_id}", get(one))
        .route("/jobs/{job_id}/cancel", post(cancel));
    Router::new().nest(prefix, routes)
}

/// Answers 404 instead while the fault says this server is too old for jobs.
pub(super) async fn unless_absent(State(process): App, request: Request, next: Next) -> Response {
    if process.faults.state().no_jobs_api {
        return StatusCode::NOT_FOUND.into_response();
    }
    next.run(request).await
}

enum Job {
    Queued { item: Arc<Item>, status: &'static str },
    Finished(Arc<Entry>),
}

impl Job {
    fn item(&self) -> &Item {
        match self {
            Job::Queued { item, .. } => item,
            Job::Finished(entry) => &entry.item,
        }
    }

    fn status(&self) -> &'static str {
        match self {
            Job::Queued { status, .. } => status,
            Job::Finished(entry) if entry.message("execution_interrupted").is_some() => "cancelled",
            Job::Finished(entry) if entry.status_str == "success" => "completed",
            Job::Finished(_) => "failed",
        }
    }

    fn created_at(&self) -> u64 {
        self.item().extra_data["create_time"].as_u64().unwrap_or(0)
    }

    /// A malformed `extra_pnginfo` breaks the listing for everybody (PROTOCOL §8.1).
    fn is_poison(&self) -> bool {
        match self.item().extra_data.get("extra_pnginfo") {
            None | Some(Value::Null) => false,
            Some(Value::Object(info)) => info.get("workflow").is_some_and(Value::is_null),
            Some(_) => true,
        }
    }

    fn to_json(&self) -> Value {
        let item = self.item();
        let mut job = Map::new();
        job.insert("id".to_owned(), json!(item.prompt_id));
        job.insert("status".to_owned(), json!(self.status()));
        job.insert("priority".to_owned(), item.number_json.clone());
        job.insert("create_time".to_owned(), json!(self.created_at()));
        if let Job::Finished(entry) = self {
            let time = |kind: &str| entry.message(kind).map(|data| data["timestamp"].clone());
            let ended = ["execution_success", "execution_error", "execution_interrupted"]
                .iter()
                .find_map(|kind| time(kind));
            job.insert("execution_start_time".to_owned(), json!(time("execution_start")));
            job.insert("execution_end_time".to_owned(), json!(ended));
            if let Some(error) = entry.message("execution_error").or(entry.message("execution_interrupted")) {
                job.insert("execution_error".to_owned(), error.clone());
            }
            insert_outputs(&mut job, &entry.outputs);
        } else {
            job.insert("outputs_count".to_owned(), json!(0));
            job.insert("previewable_outputs_count".to_owned(), json!(0));
        }
        if let Some(id) = item.extra_data["extra_pnginfo"]["workflow"]["id"].as_str() {
            job.insert("workflow_id".to_owned(), json!(id));
        }
        Value::Object(job)
    }
}

fn insert_outputs(job: &mut Map<String, Value>, outputs: &Map<String, Value>) {
    let mut entries = Vec::new();
    for (node, output) in outputs {
        for (media, list) in output.as_object().into_iter().flatten() {
            let files = list.as_array().into_iter().flatten();
            for entry in files.filter(|entry| entry.is_object()) {
                entries.push((node, media, entry));
            }
        }
    }
    job.insert("outputs_count".to_owned(), json!(entries.len()));
    job.insert("previewable_outputs_count".to_owned(), json!(entries.len()));
    let saved = entries.iter().find(|(_, _, entry)| entry["type"] == "output");
    let shown = saved.or(entries.first()).copied();
    if let Some((node, media, entry)) = shown
        && let Value::Object(mut preview) = entry.clone()
    {
        preview.insert("nodeId".to_owned(), json!(node));
        preview.insert("mediaType".to_owned(), json!(media));
        job.insert("preview_output".to_owned(), Value::Object(preview));
    }
}

/// Every job known, in no order.
fn all(process: &Process) -> Vec<Job> {
    let queue = process.queue();
    let queued = |item: &Arc<Item>, status| Job::Queued { item: Arc::clone(item), status };
    let mut jobs: Vec<Job> = queue.pending().iter().map(|item| queued(item, "pending")).collect();
    jobs.extend(queue.running().map(|item| queued(item, "in_progress")));
    jobs.extend(process.history().all().into_iter().map(Job::Finished));
    jobs
}

fn bad(message: &str) -> Response {
    json(StatusCode::BAD_REQUEST, &json!({"error": message}))
}

/// `GET /api/jobs`.
async fn list(State(process): App, Query(query): Query<HashMap<String, String>>) -> Response {
    let wanted: Vec<&str> = query.get("status").map(|text| text.split(',').collect()).unwrap_or_default();
    let bogus: Vec<&str> = wanted.iter().copied().filter(|status| !STATUSES.contains(status)).collect();
    if !bogus.is_empty() {
        let valid = STATUSES.join(", ");
        return bad(&format!("Invalid status value(s): {}. Valid values: {valid}", bogus.join(", ")));
    }
    let whole = |name: &str| query.get(name).map(|text| text.parse::<usize>()).transpose();
    let (Ok(limit), Ok(offset)) = (whole("limit"), whole("offset")) else {
        return bad("limit must be a positive integer");
    };
    if limit == Some(0) {
        return bad("limit must be a positive integer");
    }
    let mut jobs = all(&process);
    if jobs.iter().any(Job::is_poison) {
        return crash();
    }
    jobs.retain(|job| wanted.is_empty() || wanted.contains(&job.status()));
    jobs.sort_by_key(Job::created_at);
    if query.get("sort_order").map(String::as_str) != Some("asc") {
        jobs.reverse();
    }
    let (total, offset) = (jobs.len(), offset.unwrap_or(0));
    let page: Vec<Value> = jobs.iter().skip(offset).take(limit.unwrap_or(total)).map(Job::to_json).collect();
    let has_more = offset + page.len() < total;
    let pagination = json!({"offset": offset, "limit": limit, "total": total, "has_more": has_more});
    json(StatusCode::OK, &json!({"jobs": page, "pagination": pagination}))
}

/// `GET /api/jobs/{id}`.
async fn one(State(process): App, Path(job_id): Path<String>) -> Response {
    let found = all(&process).into_iter().find(|job| job.item().prompt_id == job_id);
    let Some(job) = found else {
        return json(StatusCode::NOT_FOUND, &json!({"error": "Job not found"}));
    };
    let mut body = job.to_json();
    if let Job::Finished(entry) = &job {
        body["outputs"] = json!(entry.outputs);
        body["execution_status"] = entry.status_json();
    }
    body["workflow"] = json!({"prompt": &*job.item().graph, "extra_data": job.item().extra_data});
    json(StatusCode::OK, &body)
}

/// Cancels one job wherever it is; whether there was anything to cancel.
fn cancel_one(process: &Process, id: &str) -> bool {
    if queue::remove(process, |item| item.prompt_id == id) > 0 {
        process.broadcast_status();
        return true;
    }
    let running = process.interrupt(Some(id));
    if running {
        process.record.count(|counts| counts.interrupts += 1);
    }
    running
}

/// `POST /api/jobs/{id}/cancel`.
async fn cancel(State(process): App, Path(job_id): Path<String>) -> Response {
    let known = all(&process).iter().any(|job| job.item().prompt_id == job_id);
    if !known {
        return json(StatusCode::NOT_FOUND, &json!({"error": "Job not found"}));
    }
    json(StatusCode::OK, &json!({"cancelled": cancel_one(&process, &job_id)}))
}

/// `POST /api/jobs/cancel {"job_ids"}`.
async fn cancel_many(State(process): App, body: Body) -> Response {
    let body = match read_json(body).await {
        Ok(body) => body,
        Err(refused) => return refused,
    };
    let ids: Vec<&str> = body["job_ids"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let invalid: Vec<&str> = ids.iter().copied().filter(|id| Uuid::parse_str(id).is_err()).collect();
    if !invalid.is_empty() {
        let body = json!({"error": "job_ids contains invalid id(s)", "invalid_ids": invalid});
        return json(StatusCode::BAD_REQUEST, &body);
    }
    let mut cancelled = false;
    for id in ids {
        cancelled |= cancel_one(&process, id);
    }
    json(StatusCode::OK, &json!({"cancelled": cancelled}))
}
