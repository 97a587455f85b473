//! The lines of an export.

use serde_json::{Value, json};

use super::super::time;
use crate::delivery::Place;
use crate::link::message::Receipt;
use crate::store::{
    AssetRow, Event, JobBody, JobRow, OriginalRow, OutputRow, TemplateRow, Undelivered, UsageRow, VariantRow,
    Webhook,
};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// What belongs to a job beside its row.
pub(super) struct Belongings {
    pub(super) body: Option<JobBody>,
    pub(super) outputs: Vec<Value>,
    pub(super) originals: Vec<Value>,
    pub(super) webhook: Option<Webhook>,
    pub(super) events: Vec<Event>,
    pub(super) undelivered: Vec<Undelivered>,
}

pub(super) fn upload(asset: &AssetRow, url: Option<&str>) -> Value {
    json!({
        "type": "asset",
        "id": asset.id,
        "name": asset.file_path,
        "content_type": asset.content_type,
        "size_bytes": asset.size_bytes,
        "hash": format!("blake3:{}", asset.hash),
        "created_at": time::at(asset.created_at),
        "expires_at": asset.expires_at.map(time::at),
        "url": url,
    })
}

pub(super) fn template(row: &TemplateRow) -> Value {
    json!({
        "type": "template",
        "name": row.name,
        "version": row.version,
        "definition": parsed(&row.definition),
        "meta": parsed(&row.meta),
        "created_at": time::at(row.created_at),
        "disabled_at": row.disabled_at.map(time::at),
    })
}

pub(super) fn output(output: &OutputRow, url: Option<&str>, variants: Vec<Value>) -> Value {
    json!({
        "id": output.id,
        "node_id": output.node_id,
        "name": output.name,
        "content_type": output.content_type,
        "size_bytes": output.size_bytes,
        "hash": format!("blake3:{}", output.hash),
        "placeholder": output.placeholder,
        "at": whereabouts(&output.place, output.receipt.as_ref(), url),
        "url": url,
        "variants": variants,
    })
}

pub(super) fn variant(variant: &VariantRow, url: Option<&str>) -> Value {
    json!({
        "id": variant.id,
        "name": variant.name,
        "content_type": variant.content_type,
        "size_bytes": variant.size_bytes,
        "hash": format!("blake3:{}", variant.hash),
        "at": whereabouts(&variant.place, variant.receipt.as_ref(), url),
        "url": url,
    })
}

/// An original that is not shown. Without a URL of its own it is fetched by way of its hash (`from-hash` of v2).
pub(super) fn original(original: &OriginalRow, url: Option<&str>) -> Value {
    json!({
        "output_id": original.output,
        "name": original.name,
        "content_type": original.content_type,
        "size_bytes": original.size_bytes,
        "hash": format!("blake3:{}", original.hash),
        "url": url,
    })
}

/// What its owner calls an object of a bucket of the caller's, else which sink has it.
fn whereabouts(place: &Place, receipt: Option<&Receipt>, url: Option<&str>) -> Value {
    let meta = receipt.and_then(|receipt| receipt.meta.as_deref()).map(parsed);
    json!({
        "sink": place.sink(),
        "object_key": receipt.and_then(|receipt| receipt.key.as_deref()),
        "meta": meta,
        "available": url.is_some(),
    })
}

pub(super) fn job(row: &JobRow, belongings: Belongings) -> Value {
    let Belongings { body, outputs, originals, webhook, events, undelivered } = belongings;
    let template = row.template.as_ref();
    json!({
        "type": "job",
        "id": row.public_id,
        "state": row.state,
        "class": row.class,
        "user": row.user,
        "labels": row.labels,
        "batch": row.batch,
        "retry_of": row.retry_of,
        "template": template.map(|used| json!({"name": used.name, "version": used.version, "seeds": used.seeds})),
        "accepted_at": time::at(row.accepted_at),
        "started_at": row.started_at.map(time::at),
        "ended_at": row.ended_at.map(time::at),
        "error": row.error,
        "workflow": body.as_ref().map(|body| parsed(&body.workflow)),
        "extra_pnginfo": body.as_ref().and_then(|body| body.extra_pnginfo.as_deref()).map(parsed),
        "outputs": outputs,
        "originals": originals,
        "webhook": webhook.map(|webhook| json!({"url": &*webhook.receiver})),
        "events": events.iter().map(event).collect::<Vec<_>>(),
        "undelivered": undelivered.iter().map(letter).collect::<Vec<_>>(),
    })
}

fn event(event: &Event) -> Value {
    json!({"id": event.id(), "type": event.kind, "created_at": time::at(event.at)})
}

fn letter(undelivered: &Undelivered) -> Value {
    json!({
        "id": undelivered.event.id(),
        "type": undelivered.event.kind,
        "url": undelivered.receiver,
        "tries": undelivered.tries,
        "dead_at": undelivered.dead_at.map(time::at),
        "reason": undelivered.reason,
    })
}

pub(super) fn usage(row: &UsageRow) -> Value {
    let day = row.key.parse::<i64>().unwrap_or_default();
    json!({
        "type": "usage",
        "day": time::at(day.saturating_mul(DAY_MS)).strftime("%F").to_string(),
        "device_class": row.device_class,
        "jobs": row.jobs,
        "unbilled_jobs": row.unbilled_jobs,
        "images": row.images,
        "bytes": row.bytes,
        "gpu_ms": row.gpu_ms,
        "price_micros": row.price_micros,
    })
}

/// What was kept as text, verbatim where it still is JSON.
fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(Value::Null)
}
