//! Jobs in the words of `/v1`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use scheduler::{Class, InstanceId, Phase};
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::super::time::at;
use super::super::view::Seen;
use crate::delivery::Place;
use crate::fleet::FleetView;
use crate::link::message::{OutputKind, Progress, Receipt};
use crate::store::{JobError, OutputRow, VariantRow};

/// The word for a phase.
pub(super) fn status(phase: Phase) -> &'static str {
    match phase {
        Phase::Queued => "queued",
        Phase::Dispatching => "dispatching",
        Phase::Running => "running",
        Phase::InDoubt => "in_doubt",
        Phase::Collecting => "collecting",
        Phase::Canceling => "canceling",
        Phase::Succeeded => "succeeded",
        Phase::Failed => "failed",
        Phase::Canceled => "canceled",
        Phase::Expired => "expired",
    }
}

/// A job.
#[derive(Debug, Serialize)]
pub(super) struct Job<'a> {
    id: &'a str,
    status: &'static str,
    class: Class,
    revision: u64,
    created_at: Timestamp,
    started_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    deadline: Timestamp,
    attempt: u32,
    faults: u32,
    losses: u32,
    instance: Option<&'a str>,
    labels: &'a BTreeMap<String, String>,
    position: Option<u64>,
    progress: Option<&'a Progress>,
    outputs: Vec<Output<'a>>,
    error: Option<Error<'a>>,
    urls: Urls,
}

#[derive(Debug, Serialize)]
struct Urls {
    #[serde(rename = "self")]
    itself: String,
    cancel: String,
    explain: String,
}

#[derive(Debug, Serialize)]
struct Output<'a> {
    id: Uuid,
    node_id: &'a str,
    name: &'a str,
    #[serde(rename = "type")]
    kind: OutputKind,
    content_type: &'a str,
    size_bytes: u64,
    hash: String,
    #[serde(flatten)]
    at: At<'a>,
    width: Option<u32>,
    height: Option<u32>,
    placeholder: Option<&'a str>,
    variants: Vec<Variant<'a>>,
}

/// A further file of an output.
#[derive(Debug, Serialize)]
struct Variant<'a> {
    name: &'a str,
    content_type: &'a str,
    size_bytes: u64,
    hash: String,
    #[serde(flatten)]
    at: At<'a>,
    width: Option<u32>,
    height: Option<u32>,
}

/// Where a file is.
#[derive(Debug, Serialize)]
struct At<'a> {
    /// The named sink that holds it; null: the gateway's own store, or a bucket of the caller's.
    sink: Option<&'a str>,
    /// Its key there; in a bucket of the caller's as its ticket said, if it did.
    object_key: Option<&'a str>,
    /// What its ticket said beside.
    #[serde(skip_serializing_if = "Option::is_none")]
    meta: Option<&'a RawValue>,
    /// Where to fetch it; null in a bucket of the caller's.
    url: Option<String>,
}

#[derive(Debug, Serialize)]
struct Error<'a> {
    code: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    class_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceback: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_errors: Option<&'a RawValue>,
}

/// Renders a job. `position` is the number of jobs before it; `base` the base of absolute URLs.
pub(super) fn job<'a>(
    seen: &'a Seen,
    position: Option<u64>,
    outputs: &'a [OutputRow],
    base: &str,
    fleet: &'a FleetView,
) -> Job<'a> {
    let row = &seen.row;
    let itself = format!("/v1/jobs/{}", row.public_id);
    Job {
        id: &row.public_id,
        status: status(seen.phase),
        class: row.class,
        revision: row.revision,
        created_at: at(row.accepted_at),
        started_at: seen.started_at().map(at),
        ended_at: row.ended_at.map(at),
        deadline: at(row.deadline),
        attempt: row.attempt,
        faults: row.faults,
        losses: row.losses,
        instance: seen.instance().or_else(|| placed_on(seen, fleet)),
        labels: &row.labels,
        position,
        progress: seen.progress(),
        outputs: outputs.iter().map(|row| output(row, base)).collect(),
        error: error(seen),
        urls: Urls { cancel: format!("{itself}/cancel"), explain: format!("{itself}/explain"), itself },
    }
}

/// Where its last attempt was placed, for a job that nothing more is known of.
fn placed_on<'a>(seen: &Seen, fleet: &'a FleetView) -> Option<&'a str> {
    seen.row.instance.and_then(|id| fleet.name(InstanceId(id))).map(|name| &**name)
}

fn output<'a>(row: &'a OutputRow, base: &str) -> Output<'a> {
    Output {
        id: row.id,
        node_id: &row.node_id,
        name: &row.name,
        kind: row.kind,
        content_type: &row.content_type,
        size_bytes: row.size_bytes,
        hash: format!("blake3:{}", row.hash),
        at: whereabouts(row.id, &row.place, &row.object_key, row.receipt.as_ref(), base),
        width: row.size.map(|(width, _)| width),
        height: row.size.map(|(_, height)| height),
        placeholder: row.placeholder.as_deref(),
        variants: row.variants.iter().map(|row| variant(row, base)).collect(),
    }
}

fn variant<'a>(row: &'a VariantRow, base: &str) -> Variant<'a> {
    Variant {
        name: &row.name,
        content_type: &row.content_type,
        size_bytes: row.size_bytes,
        hash: format!("blake3:{}", row.hash),
        at: whereabouts(row.id, &row.place, &row.object_key, row.receipt.as_ref(), base),
        width: row.size.map(|(width, _)| width),
        height: row.size.map(|(_, height)| height),
    }
}

fn whereabouts<'a>(
    id: Uuid,
    place: &'a Place,
    object_key: &'a str,
    receipt: Option<&'a Receipt>,
    base: &str,
) -> At<'a> {
    match place {
        Place::Own | Place::Sink(_) => At {
            sink: place.sink(),
            object_key: Some(object_key),
            meta: None,
            url: Some(format!("{base}/api/v2/assets/{id}/content")),
        },
        Place::Caller => At {
            sink: None,
            object_key: receipt.and_then(|receipt| receipt.key.as_deref()),
            meta: receipt.and_then(|receipt| serde_json::from_str(receipt.meta.as_deref()?).ok()),
            url: None,
        },
    }
}

fn error(seen: &Seen) -> Option<Error<'_>> {
    match (seen.phase, &seen.row.error) {
        (Phase::Failed | Phase::Expired, Some(error)) => Some(failure(error)),
        (Phase::Expired, None) => {
            Some(plain("deadline_exceeded", "the job's deadline passed before it ended"))
        }
        (Phase::Failed, None) => Some(plain("failed", "the job failed")),
        _ => None,
    }
}

fn plain(code: &'static str, message: &'static str) -> Error<'static> {
    Error { code, message, node_id: None, class_type: None, traceback: None, node_errors: None }
}

fn failure(error: &JobError) -> Error<'_> {
    Error {
        code: &error.code,
        message: &error.message,
        node_id: error.node_id.as_deref(),
        class_type: error.class_type.as_deref(),
        traceback: error.traceback.as_deref(),
        node_errors: error.node_errors.as_deref().and_then(|text| serde_json::from_str(text).ok()),
    }
}
