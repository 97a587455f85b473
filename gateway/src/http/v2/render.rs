//! Jobs, outputs and assets in the words of Comfy API v2 (CONTRACT §3): members that are required stay even when
//! they are null.

use std::collections::BTreeMap;

use jiff::Timestamp;
use scheduler::Phase;
use serde::Serialize;
use uuid::Uuid;

use super::super::time::at;
use super::super::view::Seen;
use crate::link::message::{OutputKind, Progress as Live};
use crate::store::{AssetRow, JobError, OutputRow};

/// How long a content URL is promised to work; asking again gives a fresh one.
const URL_LIFE_MS: i64 = 3_600_000;

/// A job.
#[derive(Debug, Serialize)]
pub(super) struct Job<'a> {
    pub(super) id: &'a str,
    pub(super) status: &'static str,
    created_at: Timestamp,
    started_at: Option<Timestamp>,
    completed_at: Option<Timestamp>,
    expires_at: Timestamp,
    queue_position: Option<u64>,
    progress: Option<Progress<'a>>,
    outputs: Vec<Output<'a>>,
    error: Option<Error<'a>>,
    urls: Urls,
    metrics: Metrics,
    metadata: &'a BTreeMap<String, String>,
    /// Members of list items beside those of a job (CONTRACT §7).
    #[serde(skip_serializing_if = "Option::is_none")]
    create_time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    update_time: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
struct Urls {
    #[serde(rename = "self")]
    itself: String,
    events: String,
    cancel: String,
}

#[derive(Debug, Serialize)]
struct Metrics {
    queue_ms: Option<i64>,
    execution_ms: Option<i64>,
}

/// How far a job is.
#[derive(Debug, Serialize)]
pub(super) struct Progress<'a> {
    value: f64,
    nodes_done: u32,
    nodes_total: u32,
    current_node: Option<&'a str>,
    current_node_class: Option<&'a str>,
    step: Option<u32>,
    steps: Option<u32>,
    message: Option<String>,
}

#[derive(Debug, Serialize)]
struct Error<'a> {
    code: &'a str,
    message: &'a str,
    node_id: Option<&'a str>,
    class_type: Option<&'a str>,
    traceback: Option<&'a str>,
}

/// An output.
#[derive(Debug, Serialize)]
pub(super) struct Output<'a> {
    node_id: &'a str,
    name: &'a str,
    #[serde(rename = "type")]
    kind: OutputKind,
    content_type: &'a str,
    size_bytes: u64,
    id: Uuid,
    hash: String,
    url: String,
    url_expires_at: Timestamp,
    job_id: &'a str,
}

/// An asset.
#[derive(Debug, Serialize)]
pub(super) struct Asset<'a> {
    id: Uuid,
    hash: String,
    size_bytes: u64,
    content_type: &'a str,
    file_path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_new: Option<bool>,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
    url: String,
    url_expires_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    job_id: Option<&'a str>,
}

/// The status of this face for a phase (DESIGN §5). `started` tells what a job in doubt was before.
pub(super) fn status(phase: Phase, started: bool) -> &'static str {
    match phase {
        Phase::Queued | Phase::Dispatching => "queued",
        Phase::InDoubt if started => "running",
        Phase::InDoubt => "queued",
        Phase::Running | Phase::Collecting => "running",
        Phase::Canceling => "canceling",
        Phase::Succeeded => "succeeded",
        Phase::Canceled => "canceled",
        // `expired` would say that the record is past its retention; a passed deadline is a failure.
        Phase::Failed | Phase::Expired => "failed",
    }
}

/// The status of a job that was read. `expired` is what a tombstone says, and nothing else.
pub(super) fn status_of(seen: &Seen) -> &'static str {
    if seen.is_forgotten() { "expired" } else { status(seen.phase, seen.started_at().is_some()) }
}

/// Renders a job. `position` counts from 1; `base` is the base of absolute URLs.
pub(super) fn job<'a>(
    seen: &'a Seen,
    position: Option<u64>,
    outputs: &'a [OutputRow],
    base: &str,
    now: i64,
) -> Job<'a> {
    let row = &seen.row;
    let started_at = seen.started_at();
    let itself = format!("/api/v2/jobs/{}", row.public_id);
    Job {
        id: &row.public_id,
        status: status_of(seen),
        created_at: at(row.accepted_at),
        started_at: started_at.map(at),
        completed_at: row.ended_at.map(at),
        expires_at: at(row.expires_at),
        queue_position: position,
        progress: seen.progress().map(progress),
        outputs: outputs.iter().map(|row| output(row, &seen.row.public_id, base, now)).collect(),
        error: error(seen),
        urls: Urls { events: format!("{itself}/events"), cancel: format!("{itself}/cancel"), itself },
        metrics: Metrics {
            queue_ms: started_at.map(|started| (started - row.accepted_at).max(0)),
            execution_ms: started_at.zip(row.ended_at).map(|(started, ended)| (ended - started).max(0)),
        },
        metadata: &row.labels,
        create_time: None,
        update_time: None,
    }
}

/// With the members that list items have beside.
pub(super) fn list_item<'a>(seen: &'a Seen, outputs: &'a [OutputRow], base: &str, now: i64) -> Job<'a> {
    let updated = seen.row.ended_at.or(seen.started_at()).unwrap_or(seen.row.accepted_at);
    Job {
        create_time: Some(at(seen.row.accepted_at)),
        update_time: Some(at(updated)),
        ..job(seen, None, outputs, base, now)
    }
}

/// Renders progress.
pub(super) fn progress(live: &Live) -> Progress<'_> {
    let message = match (&live.current_node_class, live.step, live.steps) {
        (Some(class), Some(step), Some(steps)) => Some(format!("{class} {step}/{steps}")),
        (Some(class), _, _) => Some(class.clone()),
        _ => None,
    };
    Progress {
        value: if live.value.is_finite() { live.value.clamp(0.0, 1.0) } else { 0.0 },
        nodes_done: live.nodes_done,
        nodes_total: live.nodes_total,
        current_node: live.current_node.as_deref(),
        current_node_class: live.current_node_class.as_deref(),
        step: live.step,
        steps: live.steps,
        message,
    }
}

/// Renders an output.
pub(super) fn output<'a>(row: &'a OutputRow, job_id: &'a str, base: &str, now: i64) -> Output<'a> {
    Output {
        node_id: &row.node_id,
        name: &row.name,
        kind: row.kind,
        content_type: &row.content_type,
        size_bytes: row.size_bytes,
        id: row.id,
        hash: format!("blake3:{}", row.hash),
        url: content_url(base, row.id),
        url_expires_at: at(now + URL_LIFE_MS),
        job_id,
    }
}

/// Renders an asset.
pub(super) fn asset<'a>(row: &'a AssetRow, created_new: Option<bool>, base: &str, now: i64) -> Asset<'a> {
    let url_ends = row.expires_at.map_or(now + URL_LIFE_MS, |ends| ends.min(now + URL_LIFE_MS));
    Asset {
        id: row.id,
        hash: format!("blake3:{}", row.hash),
        size_bytes: row.size_bytes,
        content_type: &row.content_type,
        file_path: &row.file_path,
        created_new,
        created_at: at(row.created_at),
        expires_at: row.expires_at.map(at),
        url: content_url(base, row.id),
        url_expires_at: at(url_ends),
        job_id: row.job.as_deref(),
    }
}

fn content_url(base: &str, id: Uuid) -> String {
    format!("{base}/api/v2/assets/{id}/content")
}

fn error(seen: &Seen) -> Option<Error<'_>> {
    let plain = |code, message| Error { code, message, node_id: None, class_type: None, traceback: None };
    match (seen.phase, &seen.row.error) {
        _ if seen.is_forgotten() => None,
        (Phase::Failed | Phase::Expired, Some(error)) => Some(failure(error)),
        (Phase::Failed, None) => Some(plain("failed", "the job failed")),
        _ => None,
    }
}

fn failure(error: &JobError) -> Error<'_> {
    Error {
        // The contract's own word for the one failure it names.
        code: if error.code == "node_error" { "node_execution_error" } else { &error.code },
        message: &error.message,
        node_id: error.node_id.as_deref(),
        class_type: error.class_type.as_deref(),
        traceback: error.traceback.as_deref(),
    }
}

#[cfg(test)]
#[path = "render_tests.rs"]
mod tests;
