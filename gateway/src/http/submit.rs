//! A submission in the words that all faces share: judged, made a job, handed to the engine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName};
use scheduler::{Class, RefusalReason};
use serde_json::{Map, Value, json};
use tracing::warn;
use uuid::Uuid;

use super::body::INLINE_BYTES;
use super::delivery::{self, Asked};
use super::error::{ApiError, ErrorKind};
use super::quota;
use super::state::Shared;
use super::time::millis;
use crate::engine::SubmitError;
use crate::link::message::Secret;
use crate::store::{
    EventKind, Face, IdempotencyKey, JobBody, JobPlan, KeepFor, NewJob, Rules, StoredResponse, TemplateUse,
    Webhook,
};
use crate::tenant::Caller;
use crate::workflow::{self, Graph, Judged, Malformed, NodeProblem, Refused};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// How long a key is remembered (CONTRACT §4).
const KEY_LIFE: Duration = Duration::from_secs(24 * 3600);

/// Bounds of labels.
const MAX_LABELS: usize = 16;
const MAX_LABEL_KEY_BYTES: usize = 64;
const MAX_LABEL_VALUE_BYTES: usize = 512;

/// What a caller wants, whatever the face.
#[derive(Debug)]
pub(super) struct Wanted {
    /// The graph, verbatim.
    pub(super) workflow: Arc<str>,
    pub(super) judged: Judged,
    pub(super) extra_pnginfo: Option<Arc<str>>,
    pub(super) class: Class,
    pub(super) order: Option<i64>,
    pub(super) start_within: Option<Duration>,
    /// When it is wanted; a late job still runs.
    pub(super) due_within: Option<Duration>,
    pub(super) finish_within: Option<Duration>,
    pub(super) labels: BTreeMap<String, String>,
    /// Opaque key of the person it is done for.
    pub(super) user: Option<Arc<str>>,
    pub(super) template: Option<TemplateUse>,
    pub(super) partner_key: Option<Secret>,
    /// What is asked of its deliveries.
    pub(super) delivery: Asked,
    /// Who is told of its events, and of which; `None`: whoever the tenant has for all its jobs.
    pub(super) webhook: Option<(String, Vec<EventKind>)>,
    /// BLAKE3 of what a repeat under the same idempotency key must equal.
    pub(super) body_hash: [u8; 32],
}

/// Reads a workflow, refuses what its tenant may not ask for, and judges it against the fleet.
pub(super) fn judge(app: &Shared, caller: &Caller, text: &str) -> Result<Judged, ApiError> {
    let graph = Graph::parse(text, &app.limits.workflow).map_err(|malformed| of_malformed(&malformed))?;
    quota::graph(app, caller, &graph)?;
    let judged = judge_graph(app, caller, &graph).map_err(|refused| of_refused(&refused))?;
    if !judged.malformed_references.is_empty() {
        return Err(missing_assets(&judged.malformed_references));
    }
    Ok(judged)
}

/// Judges a graph that its tenant may ask for against the fleet.
pub(super) fn judge_graph(app: &Shared, caller: &Caller, graph: &Graph) -> Result<Judged, Refused> {
    let fleet = app.engine.fleet();
    let judged = match workflow::judge(graph, &fleet.catalogues, &app.shared_inputs) {
        Ok(judged) => Ok(judged),
        // An instance whose catalogue is about to be read may offer what the others lack: accepted, and judged then.
        Err(_) if !fleet.settled => workflow::judge(graph, &[], &app.shared_inputs),
        Err(refused) => Err(refused),
    };
    // Whoever may use some models only is not told the names of the others.
    let may_know = caller.tenant.settings.allow.models == Rules::default();
    judged.map_err(|refused| if may_know { refused } else { refused.without_choices() })
}

/// Judges a workflow, off the request threads when it is large.
pub(super) async fn judge_apart(
    app: &Arc<Shared>,
    caller: &Caller,
    text: &Arc<str>,
) -> Result<Judged, ApiError> {
    if text.len() <= INLINE_BYTES {
        return judge(app, caller, text);
    }
    let (app, caller, text) = (app.clone(), caller.clone(), text.clone());
    let judged = tokio::task::spawn_blocking(move || judge(&app, &caller, &text)).await;
    judged.map_err(|error| ApiError::internal(&error))?
}

/// Makes the job.
///
/// # Errors
/// What it asks of its deliveries is not allowed.
pub(super) fn job(
    app: &Shared,
    caller: &Caller,
    face: Face,
    wanted: Wanted,
    key: Option<(String, Option<StoredResponse>)>,
    (id, now): (Uuid, i64),
) -> Result<NewJob, ApiError> {
    let delivery = delivery::settle(app, caller, face, wanted.delivery)?;
    let webhook = webhook(app, caller, wanted.webhook)?;
    let after = |wait: Duration| now.saturating_add(millis(wait));
    let seconds_ms = |seconds: u64| millis(Duration::from_secs(seconds));
    let limits = &caller.tenant.settings.limits;
    let idempotency = key.map(|(key, response)| IdempotencyKey {
        key,
        body_hash: wanted.body_hash,
        expires_at: after(KEY_LIFE),
        response,
    });
    Ok(NewJob {
        id,
        public_id: id.to_string(),
        tenant: caller.tenant.id,
        face,
        idempotency,
        plan: JobPlan {
            class: wanted.class,
            weight: caller.tenant.weight,
            concurrency: caller.tenant.concurrency,
            order: wanted.order,
            start_deadline: wanted.start_within.map(after),
            due_at: wanted.due_within.map(after),
            deadline: after(wanted.finish_within.unwrap_or(app.limits.default_deadline)),
            requirement: wanted.judged.requirement,
            provisional: wanted.judged.provisional,
            shape: wanted.judged.shape,
            graph: wanted.judged.graph,
        },
        body: JobBody {
            workflow: wanted.workflow,
            extra_pnginfo: wanted.extra_pnginfo,
            inputs: Vec::new(),
            strict: true,
            needs_partner_key: wanted.partner_key.is_some(),
            delivery,
            native: None,
        },
        references: wanted.judged.references,
        labels: wanted.labels,
        user: wanted.user,
        template: wanted.template,
        retry_of: None,
        batch: None,
        accepted_at: now,
        retention_ms: limits.retention.jobs_seconds.map_or(millis(app.retention), seconds_ms),
        keep_for: KeepFor {
            body_ms: limits.retention.bodies_seconds.map(seconds_ms),
            originals_ms: limits.retention.originals_seconds.map(seconds_ms),
            deliverables_ms: limits.retention.deliverables_seconds.map(seconds_ms),
        },
        queue: limits.queued.unwrap_or(u32::MAX),
        webhook,
    })
}

fn webhook(
    app: &Shared,
    caller: &Caller,
    wanted: Option<(String, Vec<EventKind>)>,
) -> Result<Option<Webhook>, ApiError> {
    let named = wanted.is_some();
    let settings = caller.tenant.settings.webhook.clone().unwrap_or_default();
    match settings.of_job(wanted, &app.outside) {
        Ok(webhook) => Ok(webhook),
        Err(why) if named => Err(ApiError::refused("webhook_refused", why.to_string())),
        // The caller cannot help what the operator configured; events of the feed are written all the same.
        Err(why) => {
            warn!(tenant = caller.tenant.name, reason = %why, "the webhook of a tenant is not used");
            Ok(None)
        }
    }
}

/// The `Idempotency-Key`, 1 to 255 printable ASCII characters.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let mut given = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(first) = given.next() else { return Ok(None) };
    let is_printable = |byte: &u8| (0x20..=0x7e).contains(byte);
    let is_good = (1..=255).contains(&first.len()) && first.as_bytes().iter().all(is_printable);
    if given.next().is_some() || !is_good {
        return Err(ApiError::invalid(
            "Idempotency-Key must be one value of 1 to 255 printable ASCII characters",
        ));
    }
    Ok(first.to_str().ok().map(str::to_owned))
}

/// Labels within their bounds, or what is wrong with them.
pub(super) fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), String> {
    if labels.len() > MAX_LABELS {
        return Err(format!("more than {MAX_LABELS} labels"));
    }
    for (key, value) in labels {
        if key.is_empty() || key.len() > MAX_LABEL_KEY_BYTES || key.chars().any(char::is_control) {
            return Err(format!(
                "a label's name must be 1 to {MAX_LABEL_KEY_BYTES} bytes without control characters"
            ));
        }
        if value.len() > MAX_LABEL_VALUE_BYTES || value.contains('\0') {
            return Err(format!("a label's value must be at most {MAX_LABEL_VALUE_BYTES} bytes without NUL"));
        }
    }
    Ok(())
}

/// A submission the engine did not take. Duplicate keys are the face's own business.
pub(super) fn of_submit_error(error: SubmitError) -> ApiError {
    match error {
        SubmitError::Refused(refusal) => {
            let seconds = u64::try_from(refusal.retry_after.0).unwrap_or(0).div_ceil(1000);
            let failure = match refusal.reason {
                RefusalReason::QueueFull => busy("the queue is full"),
                RefusalReason::TenantQueueFull => busy("your queue is full"),
                RefusalReason::SpoolFull => busy("no host can take more outputs"),
                RefusalReason::Draining => {
                    ApiError::new(ErrorKind::Unavailable, "draining", "the gateway is going away")
                }
            };
            failure.retry_after(seconds)
        }
        SubmitError::DuplicateKey { .. } => {
            ApiError::new(ErrorKind::Conflict, "idempotency_conflict", "the idempotency key was used before")
        }
        SubmitError::DuplicateId => {
            ApiError::new(ErrorKind::Conflict, "duplicate_id", "a live job has this id")
        }
        SubmitError::MissingAssets(ids) => missing_assets(&ids),
        SubmitError::Unavailable(unavailable) => unavailable.into(),
    }
}

fn missing_assets(ids: &[String]) -> ApiError {
    ApiError::refused("missing_asset", "the workflow names assets that do not exist")
        .details(json!({"missing_ids": ids}))
}

fn busy(message: &'static str) -> ApiError {
    ApiError::new(ErrorKind::Busy, "queue_full", message)
}

pub(super) fn of_malformed(malformed: &Malformed) -> ApiError {
    let code = match malformed {
        Malformed::UiFormat => "workflow_format_ui",
        _ => "invalid_workflow",
    };
    let message = malformed.to_string();
    ApiError::refused(code, message.clone()).details(details(
        malformed.kind(),
        &message,
        &[],
        &malformed.problems(),
    ))
}

fn of_refused(refused: &Refused) -> ApiError {
    let details = details(refused.kind, &refused.message, &refused.missing, &refused.problems);
    ApiError::refused("invalid_workflow", refused.message.clone()).details(details)
}

/// The specification's `[{field, reason}]` by node, ComfyUI's own answer under `comfyui` (DESIGN §13).
fn details(kind: &str, message: &str, missing: &[String], problems: &[NodeProblem]) -> Value {
    let mut node_errors = Map::new();
    for problem in problems {
        let list = node_errors.entry(&problem.node_id).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(list) = list {
            list.push(json!({"field": problem.field, "reason": problem.kind, "message": problem.message}));
        }
    }
    let comfyui = json!({
        "error": {"type": kind, "message": message, "details": "", "extra_info": {}},
        "node_errors": comfyui_node_errors(problems),
    });
    json!({"reason": kind, "missing": missing, "node_errors": node_errors, "comfyui": comfyui})
}

/// In the shape of ComfyUI's own refusal (PROTOCOL §2).
fn comfyui_node_errors(problems: &[NodeProblem]) -> Value {
    let mut nodes = Map::new();
    for problem in problems {
        let node = nodes.entry(&problem.node_id).or_insert_with(
            || json!({"errors": [], "dependent_outputs": problem.dependent_outputs, "class_type": problem.class_type}),
        );
        if let Some(Value::Array(errors)) = node.get_mut("errors") {
            let extra = problem.field.as_ref().map_or(json!({}), |field| json!({"input_name": field}));
            errors.push(json!({
                "type": problem.kind,
                "message": problem.message,
                "details": problem.details,
                "extra_info": extra,
            }));
        }
    }
    Value::Object(nodes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn an_idempotency_key_is_one_value_of_printable_ascii() {
        let with = |values: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(IDEMPOTENCY_KEY, HeaderValue::from_bytes(value).unwrap());
            }
            idempotency_key(&headers)
        };
        assert_eq!(with(&[]).unwrap(), None);
        assert_eq!(with(&[b"a key"]).unwrap().as_deref(), Some("a key"));
        assert!(with(&[&[b'x'; 255]]).is_ok());
        for bad in [&[&b""[..]][..], &[&[b'x'; 256]], &[b"tab\there"], &["ключ".as_bytes()], &[b"a", b"b"]]
        {
            assert_eq!(with(bad).unwrap_err().code(), "invalid_request");
        }
    }

    #[test]
    fn labels_are_bounded_in_number_and_length() {
        let labels = |n: usize, key: usize, value: usize| {
            (0..n).map(|i| (format!("{i:0>key$}"), "v".repeat(value))).collect::<BTreeMap<_, _>>()
        };
        assert!(check_labels(&labels(16, 64, 512)).is_ok());
        assert!(check_labels(&labels(17, 2, 1)).is_err());
        assert!(check_labels(&labels(1, 65, 1)).is_err());
        assert!(check_labels(&labels(1, 1, 513)).is_err());
        assert!(check_labels(&BTreeMap::from([(String::new(), String::new())])).is_err());
    }

    #[test]
    fn a_refused_workflow_tells_the_fault_by_node_in_both_languages() {
        let refused = Refused {
            kind: "value_not_in_list",
            message: "no".into(),
            missing: vec!["sd.safetensors".into()],
            problems: vec![NodeProblem {
                node_id: "4".into(),
                class_type: "CheckpointLoaderSimple".into(),
                field: Some("ckpt_name".into()),
                kind: "value_not_in_list",
                message: "Value not in list".into(),
                details: "ckpt_name: 'sd.safetensors' not in []".into(),
                dependent_outputs: vec!["9".into()],
            }],
            in_part: None,
        };
        let failure = of_refused(&refused);
        assert_eq!(failure.code(), "invalid_workflow");
        let details = serde_json::to_value(failure.particulars().unwrap()).unwrap();
        assert_eq!(details["node_errors"]["4"][0]["field"], "ckpt_name");
        assert_eq!(details["node_errors"]["4"][0]["reason"], "value_not_in_list");
        assert_eq!(
            details["comfyui"]["node_errors"]["4"]["errors"][0]["extra_info"]["input_name"],
            "ckpt_name"
        );
        assert_eq!(details["missing"][0], "sd.safetensors");
    }
}
