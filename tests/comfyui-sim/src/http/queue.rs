//! `/queue`, `/interrupt` and `/free` (PROTOCOL §4).

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{App, json, read, read_json};
use crate::observed::PromptState;
use crate::process::Process;
use crate::queue::Item;
use crate::wire;

/// `GET /queue`.
pub(super) async fn list(State(process): App) -> Response {
    let (running, pending) = {
        let queue = process.queue();
        let tuple = |item: &Arc<Item>| item.tuple();
        let running: Vec<Value> = queue.running().map(tuple).into_iter().collect();
        let pending: Vec<Value> = queue.pending().iter().map(tuple).collect();
        (running, pending)
    };
    json(StatusCode::OK, &json!({"queue_running": running, "queue_pending": pending}))
}

/// `POST /queue`: `{"clear":true}` and `{"delete":[ids]}`, pending prompts only.
pub(super) async fn change(State(process): App, body: Body) -> Response {
    let body = match read_json(body).await {
        Ok(body) => body,
        Err(refused) => return refused,
    };
    if body["clear"] == true {
        remove(&process, |_| true);
        process.broadcast_status();
    }
    for id in body["delete"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if remove(&process, |item| item.prompt_id == id) > 0 {
            process.broadcast_status();
        }
    }
    StatusCode::OK.into_response()
}

/// Removes pending prompts without trace; how many there were.
pub(super) fn remove(process: &Process, doomed: impl FnMut(&Item) -> bool) -> usize {
    let removed = process.queue().remove(doomed);
    for item in &removed {
        process.record.update(item.observed, |prompt| {
            prompt.state = PromptState::Removed;
            prompt.finished = Some(Instant::now());
        });
    }
    removed.len()
}

/// `POST /interrupt`, of whatever runs or of one prompt.
pub(super) async fn interrupt(State(process): App, body: Body) -> Response {
    let body = match read(body).await {
        Ok(body) => wire::parse(&body).unwrap_or_default(),
        Err(refused) => return refused,
    };
    process.record.count(|counts| counts.interrupts += 1);
    process.interrupt(body["prompt_id"].as_str());
    StatusCode::OK.into_response()
}

/// `POST /free`: heeded by the worker after the running prompt, at once when idle.
pub(super) async fn free(State(process): App, body: Body) -> Response {
    let body = match read_json(body).await {
        Ok(body) => body,
        Err(refused) => return refused,
    };
    process.record.count(|counts| counts.frees += 1);
    {
        let mut flags = process.free();
        flags.unload_models |= body["unload_models"] == true;
        flags.free_memory |= body["free_memory"] == true;
    }
    if process.queue().running().is_none() {
        crate::worker::heed_free(&process);
    }
    StatusCode::OK.into_response()
}
