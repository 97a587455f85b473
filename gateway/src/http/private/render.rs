//! Jobs in the words of `/v1`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use scheduler::{Class, InstanceId, Phase};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use super::super::time::at;
use super::super::view::{Outlook, Seen};
use crate::delivery::Place;
use crate::fleet::FleetView;
use crate::link::message::{OutputKind, Progress, Receipt};
use crate::prices::Prices;
use crate::store::{JobError, OutputRow, TemplateUse, Used, VariantRow};

/// Where a job stands.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "its words are documented; `status` writes them")]
pub(super) enum JobStatus {
    /// It waits.
    Queued,
    /// It was given to an instance and has not started there.
    Dispatching,
    /// It runs.
    Running,
    /// Contact to its instance is lost; it is being looked up.
    InDoubt,
    /// It is done; its outputs are being stored.
    Collecting,
    /// It is being stopped.
    Canceling,
    /// It ended well.
    Succeeded,
    /// It ended with an error.
    Failed,
    /// It was canceled.
    Canceled,
    /// A deadline passed, or it is past its retention.
    Expired,
}

/// Service level.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "its words are documented; `scheduler::Class` writes them")]
pub(super) enum ServiceClass {
    /// Runs when nobody else wants the device.
    Batch,
    /// The default.
    Normal,
    /// Somebody is looking at the screen.
    Interactive,
}

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
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Job<'a> {
    id: &'a str,
    #[schema(value_type = JobStatus)]
    status: &'static str,
    #[schema(value_type = ServiceClass)]
    class: Class,
    /// Counts up with each change that is on disk.
    revision: u64,
    created_at: Timestamp,
    started_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    /// It must have been executed by then.
    deadline: Timestamp,
    /// When it is wanted; a late job still runs.
    due_at: Option<Timestamp>,
    /// The opaque key of the person it is done for.
    user: Option<&'a str>,
    template: Option<Template<'a>>,
    /// The ended job that it repeats.
    retry_of: Option<&'a str>,
    batch: Option<Uuid>,
    attempt: u32,
    /// Times its instance died, hung or ran out of memory under it.
    faults: u32,
    /// Attempts lost through no fault of its own.
    losses: u32,
    instance: Option<&'a str>,
    labels: &'a BTreeMap<String, String>,
    /// Jobs before it, while it waits and where that can be told quickly.
    position: Option<u64>,
    predicted_start: Option<Timestamp>,
    predicted_end: Option<Timestamp>,
    progress: Option<&'a Progress>,
    outputs: Vec<Output<'a>>,
    error: Option<Error<'a>>,
    /// What it used, once it has succeeded.
    usage: Option<Usage<'a>>,
    urls: Urls,
}

/// What a job used.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = JobUsage)]
struct Usage<'a> {
    device_class: &'a str,
    /// From its start at ComfyUI until it was executed; 0 where nobody saw the start.
    gpu_ms: u64,
    /// Millionths of the currency.
    price_micros: u64,
    currency: &'a str,
}

/// What is needed beside a job to show it.
pub(super) struct Setting<'a> {
    /// Base of absolute URLs.
    pub(super) base: &'a str,
    pub(super) fleet: &'a FleetView,
    pub(super) prices: &'a Prices,
}

/// The template a job was made from.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = JobTemplate)]
struct Template<'a> {
    name: &'a str,
    version: u32,
    /// The seeds it runs with, by parameter.
    seeds: &'a BTreeMap<String, u64>,
}

/// Paths of a job.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = JobUrls)]
struct Urls {
    #[serde(rename = "self")]
    itself: String,
    cancel: String,
    events: String,
    explain: String,
}

/// An output of a job.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = JobOutput)]
struct Output<'a> {
    id: Uuid,
    node_id: &'a str,
    name: &'a str,
    #[serde(rename = "type")]
    kind: OutputKind,
    content_type: &'a str,
    size_bytes: u64,
    /// `blake3:` and 64 hex digits.
    hash: String,
    #[serde(flatten)]
    at: At<'a>,
    width: Option<u32>,
    height: Option<u32>,
    placeholder: Option<&'a str>,
    variants: Vec<Variant<'a>>,
}

/// A further file of an output.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = JobVariant)]
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
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FilePlace)]
struct At<'a> {
    /// The named sink that holds it; null: the gateway's own store, or a bucket of the caller's.
    sink: Option<&'a str>,
    /// Its key there; in a bucket of the caller's as its ticket said, if it did.
    object_key: Option<&'a str>,
    /// What its ticket said beside.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    meta: Option<&'a RawValue>,
    /// Where to fetch it; null in a bucket of the caller's.
    url: Option<String>,
}

/// Why a job failed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = JobError)]
struct Error<'a> {
    /// Stable, for programs.
    code: &'a str,
    /// For people.
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    class_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceback: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    node_errors: Option<&'a RawValue>,
}

/// Renders a job.
pub(super) fn job<'a>(
    seen: &'a Seen,
    outlook: Outlook,
    outputs: &'a [OutputRow],
    setting: &Setting<'a>,
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
        due_at: row.due_at.map(at),
        user: row.user.as_deref(),
        template: row.template.as_ref().map(template),
        retry_of: row.retry_of.as_deref(),
        batch: row.batch,
        attempt: row.attempt,
        faults: row.faults,
        losses: row.losses,
        instance: seen.instance().or_else(|| placed_on(seen, setting.fleet)),
        labels: &row.labels,
        position: outlook.position,
        predicted_start: outlook.predicted_start.map(at),
        predicted_end: outlook.predicted_end.map(at),
        progress: seen.progress(),
        outputs: outputs.iter().map(|row| output(row, setting.base)).collect(),
        error: error(seen),
        usage: row.used.as_ref().map(|used| usage(used, setting.prices)),
        urls: Urls {
            cancel: format!("{itself}/cancel"),
            events: format!("{itself}/events"),
            explain: format!("{itself}/explain"),
            itself,
        },
    }
}

fn usage<'a>(used: &'a Used, prices: &'a Prices) -> Usage<'a> {
    Usage {
        device_class: &used.device_class,
        gpu_ms: used.gpu_ms,
        price_micros: used.price_micros,
        currency: &prices.currency,
    }
}

fn template(used: &TemplateUse) -> Template<'_> {
    Template { name: &used.name, version: used.version, seeds: &used.seeds }
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
