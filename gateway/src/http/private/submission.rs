//! The body of `POST /v1/jobs`. Unknown members are refused by name: a typo must not become a silent default.

use std::collections::BTreeMap;
use std::time::Duration;

use scheduler::Class;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::super::error::ApiError;
use super::super::state::Shared;
use super::super::submit::{self, Wanted};
use crate::tenant::Caller;

/// Longest wait that may be asked for.
const MAX_WITHIN_SECONDS: u64 = 30 * 24 * 3600;

/// Nesting of `extra_pnginfo`.
const MAX_PNGINFO_DEPTH: usize = 64;

const MAX_PNGINFO_BYTES: usize = 1 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<'a> {
    #[serde(borrow)]
    workflow: Option<&'a RawValue>,
    class: Option<Class>,
    start_within_seconds: Option<u64>,
    finish_within_seconds: Option<u64>,
    due_within_seconds: Option<u64>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    order: Option<i64>,
    #[serde(borrow)]
    extra_pnginfo: Option<&'a RawValue>,
    webhook_url: Option<IgnoredAny>,
    ticket_url: Option<IgnoredAny>,
}

/// Reads and judges a submission.
pub(super) fn read(app: &Shared, caller: &Caller, bytes: &[u8]) -> Result<Wanted, ApiError> {
    let body: Body<'_> = serde_json::from_slice(bytes)
        .map_err(|error| ApiError::invalid(format!("the body is not as expected: {error}")))?;
    for (name, given) in [("webhook_url", &body.webhook_url), ("ticket_url", &body.ticket_url)] {
        if given.is_some() {
            return Err(ApiError::refused("unsupported", format!("{name} is not supported yet")));
        }
    }
    let text = body.workflow.ok_or_else(|| ApiError::invalid("workflow is missing"))?.get();
    let labels = body.labels.unwrap_or_default();
    submit::check_labels(&labels).map_err(|reason| ApiError::refused("labels_invalid", reason))?;
    let start_within = within("start_within_seconds", body.start_within_seconds)?;
    let finish_within = within("finish_within_seconds", body.finish_within_seconds)?;
    let due_within = within("due_within_seconds", body.due_within_seconds)?;
    let extra_pnginfo = body.extra_pnginfo.map(pnginfo).transpose()?;
    let judged = submit::judge(app, caller, text)?;
    Ok(Wanted {
        workflow: text.into(),
        judged,
        extra_pnginfo: extra_pnginfo.map(Into::into),
        class: body.class.unwrap_or_default(),
        order: body.order,
        start_within,
        finish_within,
        due_within,
        labels,
        partner_key: None,
        body_hash: *blake3::hash(bytes).as_bytes(),
    })
}

fn within(name: &str, seconds: Option<u64>) -> Result<Option<Duration>, ApiError> {
    match seconds {
        Some(seconds) if !(1..=MAX_WITHIN_SECONDS).contains(&seconds) => {
            Err(ApiError::invalid(format!("{name} must be 1 to {MAX_WITHIN_SECONDS}")))
        }
        seconds => Ok(seconds.map(Duration::from_secs)),
    }
}

fn pnginfo(info: &RawValue) -> Result<&str, ApiError> {
    let text = info.get();
    if !text.starts_with('{') {
        return Err(ApiError::invalid("extra_pnginfo must be an object"));
    }
    if text.len() > MAX_PNGINFO_BYTES {
        return Err(ApiError::refused(
            "invalid_request",
            format!("extra_pnginfo is larger than {MAX_PNGINFO_BYTES} bytes"),
        ));
    }
    // What ComfyUI cannot take of it breaks its job list for everybody (PROTOCOL §8.1).
    if crate::workflow::depth(text) > MAX_PNGINFO_DEPTH {
        return Err(ApiError::invalid(format!(
            "extra_pnginfo is nested deeper than {MAX_PNGINFO_DEPTH} levels"
        )));
    }
    let members: BTreeMap<String, &RawValue> =
        serde_json::from_str(text).map_err(|_| ApiError::invalid("extra_pnginfo must be an object"))?;
    if members.get("workflow").is_some_and(|workflow| !workflow.get().starts_with('{')) {
        return Err(ApiError::invalid("extra_pnginfo.workflow must be an object"));
    }
    Ok(text)
}
