//! The body of `POST /v1/jobs`. Unknown members are refused by name: a typo must not become a silent default.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use scheduler::Class;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::super::delivery::Asked as Delivery;
use super::super::error::ApiError;
use super::super::state::Shared;
use super::super::submit::{self, Wanted};
use super::render::ServiceClass;
use super::templates::{self, TemplateCall};
use crate::link::message::Secret;
use crate::pictures::Choice;
use crate::store::EventKind;
use crate::tenant::Caller;

/// Longest wait that may be asked for.
const MAX_WITHIN_SECONDS: u64 = 30 * 24 * 3600;

/// Nesting of `extra_pnginfo`.
const MAX_PNGINFO_DEPTH: usize = 64;

const MAX_PNGINFO_BYTES: usize = 1 << 20;

/// Greatest number that is the same in every JSON reader.
const MAX_WHOLE: u64 = (1 << 53) - 1;

/// Longest `user`.
const MAX_USER_BYTES: usize = 128;

/// A job as it is asked for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = JobSubmission, example = json!({
    "workflow": {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 255}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "example"}},
    },
    "class": "interactive", "user": "openid-7", "labels": {"order": "1234"}, "finish_within_seconds": 3600,
}))]
pub(super) struct Body<'a> {
    /// The graph in ComfyUI's API format; either this or `template`.
    #[serde(borrow)]
    #[schema(value_type = Option<Object>)]
    workflow: Option<&'a RawValue>,
    /// A stored workflow and the values of its parameters.
    template: Option<TemplateCall>,
    /// Service level; `normal` where it is left out.
    #[schema(value_type = Option<ServiceClass>)]
    class: Option<Class>,
    /// It must have started by then, or it expires.
    #[schema(minimum = 1, maximum = 2_592_000)]
    start_within_seconds: Option<u64>,
    /// It must have been executed by then, or it expires.
    #[schema(minimum = 1, maximum = 2_592_000)]
    finish_within_seconds: Option<u64>,
    /// When it is wanted: it runs sooner for it, and still runs when it is late.
    #[schema(minimum = 1, maximum = 2_592_000)]
    due_within_seconds: Option<u64>,
    /// The person it is done for: an opaque key, never sent to ComfyUI.
    #[schema(max_length = 128)]
    user: Option<String>,
    /// At most 16 names and values of the caller's own.
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    /// The caller's order among its own jobs; lower runs first.
    order: Option<i64>,
    /// The job is refused when the estimate of its price is above this, millionths of the currency.
    #[schema(maximum = 9_007_199_254_740_991_u64)]
    max_cost_micros: Option<u64>,
    /// What the editor puts into files, an object.
    #[serde(borrow)]
    #[schema(value_type = Option<Object>)]
    extra_pnginfo: Option<&'a RawValue>,
    /// Who is told of the job's events.
    webhook: Option<Webhook>,
    /// What its pictures become, within what the tenant's policy leaves (`docs/PICTURES.md`).
    #[serde(default, deserialize_with = "wishes")]
    pictures: Option<Choice>,
    /// The configured sink that takes its files, one of the tenant's.
    sink: Option<String>,
    /// Where the gateway asks for tickets to a bucket of the caller's own (`docs/DELIVERIES.md`).
    #[schema(value_type = Option<String>)]
    ticket_url: Option<Secret>,
}

/// Wishes by name only: derived readers would take a bare array of them, too.
fn wishes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Choice>, D::Error> {
    let wishes = Option::<serde_json::Map<String, Value>>::deserialize(deserializer)?;
    wishes.map(|wishes| Choice::deserialize(Value::Object(wishes)).map_err(D::Error::custom)).transpose()
}

/// Who is told of the job's events: `url`, and which events (none named: its end).
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Webhook {
    url: String,
    #[serde(default)]
    events: Vec<EventKind>,
}

/// A submission that was read, and whose workflow was not judged yet.
pub(super) struct Asked {
    work: Work,
    max_cost_micros: Option<u64>,
    class: Class,
    start_within: Option<Duration>,
    finish_within: Option<Duration>,
    due_within: Option<Duration>,
    user: Option<Arc<str>>,
    labels: BTreeMap<String, String>,
    order: Option<i64>,
    extra_pnginfo: Option<Arc<str>>,
    delivery: Delivery,
    webhook: Option<(String, Vec<EventKind>)>,
    body_hash: [u8; 32],
}

/// What is to be run.
enum Work {
    /// A graph, verbatim.
    Workflow(Arc<str>),
    /// A template with values.
    Template(TemplateCall),
}

/// What the fleet says to a submission.
pub(super) struct Judged {
    pub(super) wanted: Wanted,
    pub(super) max_cost_micros: Option<u64>,
}

/// Reads a submission.
pub(super) fn read(_: &Shared, bytes: &[u8]) -> Result<Asked, ApiError> {
    let body: Body<'_> = serde_json::from_slice(bytes).map_err(|error| malformed(&error))?;
    ask(body, *blake3::hash(bytes).as_bytes())
}

/// What serde says of a body that is not as expected.
pub(super) fn malformed(error: &serde_json::Error) -> ApiError {
    ApiError::invalid(format!("the body is not as expected: {error}"))
}

/// Checks all of a submission that can be checked without the fleet.
pub(super) fn ask(body: Body<'_>, body_hash: [u8; 32]) -> Result<Asked, ApiError> {
    let work = match (body.workflow, body.template) {
        (Some(workflow), None) => Work::Workflow(workflow.get().into()),
        (None, Some(template)) => Work::Template(template),
        (None, None) => return Err(ApiError::invalid("workflow or template is missing")),
        (Some(_), Some(_)) => return Err(ApiError::invalid("either workflow or template, not both")),
    };
    let labels = body.labels.unwrap_or_default();
    submit::check_labels(&labels).map_err(|reason| ApiError::refused("labels_invalid", reason))?;
    Ok(Asked {
        work,
        max_cost_micros: body.max_cost_micros.map(|cost| whole("max_cost_micros", cost)).transpose()?,
        class: body.class.unwrap_or_default(),
        start_within: within("start_within_seconds", body.start_within_seconds)?,
        finish_within: within("finish_within_seconds", body.finish_within_seconds)?,
        due_within: within("due_within_seconds", body.due_within_seconds)?,
        user: body.user.map(user).transpose()?,
        labels,
        delivery: Delivery { pictures: body.pictures, sink: body.sink, ticket_url: body.ticket_url },
        webhook: body.webhook.map(|webhook| (webhook.url, webhook.events)),
        order: body.order,
        extra_pnginfo: body.extra_pnginfo.map(pnginfo).transpose()?.map(Into::into),
        body_hash,
    })
}

/// Judges what was asked for against the fleet.
pub(super) async fn judge(app: &Arc<Shared>, caller: &Caller, asked: Asked) -> Result<Judged, ApiError> {
    let (workflow, template) = match asked.work {
        Work::Workflow(workflow) => (workflow, None),
        Work::Template(call) => {
            let (workflow, used) = templates::expand(app, caller, call).await?;
            (workflow, Some(used))
        }
    };
    let judged = submit::judge_apart(app, caller, &workflow).await?;
    let wanted = Wanted {
        workflow,
        judged,
        extra_pnginfo: asked.extra_pnginfo,
        class: asked.class,
        order: asked.order,
        start_within: asked.start_within,
        finish_within: asked.finish_within,
        due_within: asked.due_within,
        labels: asked.labels,
        user: asked.user,
        template,
        partner_key: None,
        delivery: asked.delivery,
        webhook: asked.webhook,
        body_hash: asked.body_hash,
    };
    Ok(Judged { wanted, max_cost_micros: asked.max_cost_micros })
}

fn within(name: &str, seconds: Option<u64>) -> Result<Option<Duration>, ApiError> {
    match seconds {
        Some(seconds) if !(1..=MAX_WITHIN_SECONDS).contains(&seconds) => {
            Err(ApiError::invalid(format!("{name} must be 1 to {MAX_WITHIN_SECONDS}")))
        }
        seconds => Ok(seconds.map(Duration::from_secs)),
    }
}

/// A number that every JSON reader takes as it is.
pub(super) fn whole(name: &str, number: u64) -> Result<u64, ApiError> {
    if number > MAX_WHOLE {
        return Err(ApiError::invalid(format!("{name} must be at most {MAX_WHOLE}")));
    }
    Ok(number)
}

fn user(user: String) -> Result<Arc<str>, ApiError> {
    if user.is_empty() || user.len() > MAX_USER_BYTES || user.chars().any(char::is_control) {
        return Err(ApiError::invalid(format!(
            "user must be 1 to {MAX_USER_BYTES} bytes without control characters"
        )));
    }
    Ok(user.into())
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
