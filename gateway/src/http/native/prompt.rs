//! `/prompt`: what a client submits, taken as ComfyUI takes it, and how many of its jobs are left.

use std::num::NonZeroU32;
use std::sync::Arc;

use axum::Extension;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use scheduler::Class;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::super::delivery::Asked;
use super::super::error::ApiError;
use super::super::respond;
use super::super::state::{App, Shared};
use super::super::submit::{self, Wanted};
use super::super::{body, quota, time};
use super::forward::hold::keep_together;
use super::node_errors::{self, Unfit};
use super::{malformed, render};
use crate::engine::SubmitError;
use crate::link::message::Secret;
use crate::store::{Face, NativeFacts, NewJob, Reference};
use crate::tenant::Caller;
use crate::workflow::{self, Graph, Judged};

type Who = Extension<Arc<Caller>>;

/// Longest `client_id`, bytes.
const MAX_CLIENT_BYTES: usize = 256;
/// Members of `extra_data` that are secrets: kept out of everything that is shown.
const SECRETS: [&str; 2] = ["api_key_comfy_org", "auth_token_comfy_org"];

/// `GET /prompt`.
pub(super) async fn remaining(app: App, caller: Who) -> Result<Response, ApiError> {
    let remaining = app.native.remaining(caller.tenant.id);
    respond::json(StatusCode::OK, &json!({"exec_info": {"queue_remaining": remaining}}))
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    prompt: Option<&'a RawValue>,
    #[serde(default)]
    client_id: Value,
    #[serde(default)]
    prompt_id: Value,
    number: Option<Value>,
    #[serde(default)]
    front: Value,
    #[serde(default)]
    extra_data: Value,
    #[serde(default)]
    partial_execution_targets: Value,
}

/// A submission, read and judged.
struct Submission {
    wanted: Wanted,
    facts: NativeFacts,
    place: Place,
    graph: Graph,
    /// What is wrong with outputs that are left out (ComfyUI's 200 with `node_errors`).
    node_errors: Value,
}

/// Where a job goes among its caller's own.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    Last,
    First,
    At(f64),
}

/// `POST /prompt`.
pub(super) async fn submit(app: App, caller: Who, request: Request) -> Result<Response, ApiError> {
    quota::rate(&app, &caller, NonZeroU32::MIN)?;
    let read = body::read_any(&app, request, app.limits.max_body_bytes).await?;
    let who = caller.clone();
    let submission = body::make(&app, read, move |app, bytes| self::read(app, &who, bytes)).await?;
    quota::storage(&app, &caller).await?;
    let submission = leave_out_missing(&app, &caller, submission).await?;
    accept(&app, &caller, submission).await
}

fn invalid(message: &'static str) -> ApiError {
    node_errors::refuse("invalid_prompt", message)
}

fn read(app: &Shared, caller: &Caller, bytes: &[u8]) -> Result<Submission, ApiError> {
    let body: Body<'_> =
        serde_json::from_slice(bytes).map_err(|_| invalid("the body is not a JSON object as expected"))?;
    let text = body.prompt.ok_or_else(node_errors::no_prompt)?.get();
    let prompt_id = prompt_id(&body.prompt_id)?;
    let place = place(&body)?;
    let targets = targets(&body.partial_execution_targets)?;
    let (mut extra, partner_key) = extra_data(body.extra_data)?;
    let extra_pnginfo = match extra.shift_remove("extra_pnginfo") {
        Some(Value::Object(mut info)) => {
            info.retain(|_, value| !value.is_null()); // PROTOCOL §8.1
            Some(Value::Object(info).to_string().into())
        }
        _ => None,
    };
    let preview_method = extra.get("preview_method").and_then(Value::as_str).map(str::to_owned);

    let graph = Graph::parse(text, &app.limits.workflow)
        .map_err(|malformed| malformed::refused(&malformed, text, &app.engine.fleet().catalogues))?;
    quota::graph(app, caller, &graph)?;
    let outputs = workflow::output_nodes(&graph, &app.engine.fleet().catalogues);
    if targets.as_ref().is_some_and(|targets| !targets.iter().any(|target| outputs.contains(target))) {
        return Err(node_errors::no_outputs());
    }
    let words = node_errors::Words { nodes: app.nodes.known(), text };
    let (judged, node_errors) = match submit::judge_graph(app, caller, &graph) {
        Ok(judged) => (judged, json!({})),
        Err(refused) => match node_errors::of_refused(refused, &words) {
            Unfit::InPart(judged, node_errors) => (*judged, node_errors),
            Unfit::Whole(refusal) => return Err(refusal),
        },
    };
    if let Some(id) = judged.malformed_references.first() {
        return Err(node_errors::refuse("missing_asset", format!("there is no asset {id}")));
    }
    let wanted = wanted(text, judged, extra_pnginfo, partner_key);
    let facts = NativeFacts {
        prompt_id,
        client_id: client_id(&body.client_id),
        number: 0.0,
        extra,
        targets,
        outputs,
        preview_method,
    };
    Ok(Submission { wanted, facts, place, graph, node_errors })
}

fn wanted(
    text: &str,
    judged: Judged,
    extra_pnginfo: Option<Arc<str>>,
    partner_key: Option<Secret>,
) -> Wanted {
    Wanted {
        workflow: text.into(),
        judged,
        extra_pnginfo,
        class: Class::Normal,
        order: None,
        start_within: None,
        due_within: None,
        finish_within: None,
        labels: Default::default(),
        user: None,
        template: None,
        partner_key,
        delivery: Asked::default(),
        webhook: None,
        body_hash: [0; 32], // There are no idempotency keys here.
    }
}

/// The caller's own id, or none.
fn prompt_id(given: &Value) -> Result<String, ApiError> {
    let refused =
        || node_errors::refuse("invalid_prompt_id", "prompt_id must be a UUID in lower case with hyphens");
    match given {
        Value::Null => Ok(String::new()),
        Value::String(text) => {
            let is_canonical = Uuid::try_parse(text).is_ok_and(|id| id.to_string() == *text);
            if is_canonical { Ok(text.clone()) } else { Err(refused()) }
        }
        _ => Err(refused()),
    }
}

/// Whatever is no text names nobody (PROTOCOL §8.1).
fn client_id(given: &Value) -> Option<String> {
    let text = given.as_str().filter(|text| (1..=MAX_CLIENT_BYTES).contains(&text.len()));
    text.map(str::to_owned)
}

fn place(body: &Body<'_>) -> Result<Place, ApiError> {
    let number = match &body.number {
        None if body.front == Value::Bool(true) => return Ok(Place::First),
        None => return Ok(Place::Last),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(value) => value.as_f64(),
    };
    let number: Option<f64> = number.filter(|number: &f64| number.is_finite());
    number.map(Place::At).ok_or_else(|| invalid("number must be a finite number"))
}

fn targets(given: &Value) -> Result<Option<Vec<String>>, ApiError> {
    match given {
        Value::Null => Ok(None),
        Value::Array(ids) => Ok(Some(ids.iter().filter_map(Value::as_str).map(str::to_owned).collect())),
        _ => Err(invalid("partial_execution_targets must be a list")),
    }
}

/// `extra_data` without its secrets, and the one of them that is used.
fn extra_data(given: Value) -> Result<(Map<String, Value>, Option<Secret>), ApiError> {
    let mut extra = match given {
        Value::Null => Map::new(),
        Value::Object(extra) => extra,
        _ => return Err(invalid("extra_data must be an object")),
    };
    let [key, _] = SECRETS.map(|name| extra.shift_remove(name));
    // What this face says of a job itself.
    for own in ["client_id", "create_time", "darkroom"] {
        extra.shift_remove(own);
    }
    let key = key.as_ref().and_then(Value::as_str).map(|key| Secret(key.to_owned()));
    Ok((extra, key))
}

/// Leaves out the outputs that read files which the caller does not have, as ComfyUI would.
async fn leave_out_missing(
    app: &Shared,
    caller: &Caller,
    mut submission: Submission,
) -> Result<Submission, ApiError> {
    let references = &submission.wanted.judged.references;
    if references.is_empty() {
        return Ok(submission);
    }
    let mut missing: Vec<Reference> = Vec::new();
    for reference in references {
        let asked = vec![reference.clone()];
        let found = app.engine.store().missing(caller.tenant.id, asked, app.engine.now()).await?;
        if !found.is_empty() {
            missing.push(reference.clone());
        }
    }
    if missing.is_empty() {
        return Ok(submission);
    }
    let problems = node_errors::of_missing(&submission.graph, &missing, &submission.facts.outputs);
    let faulty: Vec<String> = problems.iter().map(|problem| problem.node_id.clone()).collect();
    let sound = workflow::sound_without(&submission.graph, &submission.facts.outputs, &faulty);
    let node_errors = node_errors::render(&problems, None);
    if sound.outputs.is_empty() {
        return Err(node_errors::outputs_failed(&problems, node_errors));
    }
    submission.wanted.judged.references.retain(|reference| {
        node_errors::node_of(&reference.pointer).is_some_and(|node| sound.nodes.contains(&node))
    });
    submission.facts.targets = Some(match submission.facts.targets.take() {
        None => sound.outputs,
        Some(targets) => targets.into_iter().filter(|target| sound.outputs.contains(target)).collect(),
    });
    submission.node_errors = node_errors;
    Ok(submission)
}

async fn accept(app: &Shared, caller: &Caller, submission: Submission) -> Result<Response, ApiError> {
    let Submission { wanted, mut facts, place, node_errors, .. } = submission;
    let tenant = caller.tenant.id;
    let partner_key = wanted.partner_key.clone();
    let now = app.engine.now();
    let mut job = submit::job(app, caller, Face::Native, wanted, None, (time::job_id(now), now))?;
    (facts.number, job.plan.order) = settle(place, || app.native.count(tenant), app.native.next(tenant));
    keep_together(app, caller, facts.client_id.as_deref(), &mut job.plan);
    if facts.prompt_id.is_empty() {
        facts.prompt_id = job.id.to_string();
    }
    job.public_id.clone_from(&facts.prompt_id);
    let answer = json!({
        "prompt_id": facts.prompt_id,
        "number": render::number(facts.number),
        "node_errors": node_errors,
    });
    let response = respond::json(StatusCode::OK, &answer)?;
    send(app, job, facts, partner_key).await?;
    Ok(response)
}

/// Its number, and its order for the scheduler: what has none of its own keeps the order of acceptance.
fn settle(place: Place, count: impl FnOnce() -> i64, next: i64) -> (f64, Option<i64>) {
    #[expect(clippy::cast_precision_loss, reason = "a count of submissions")]
    #[expect(clippy::cast_possible_truncation, reason = "a cast to an integer saturates")]
    match place {
        Place::Last => (count() as f64, None),
        Place::First => {
            let number = -(count() as f64);
            (number, Some(number as i64 - next - 1))
        }
        Place::At(number) => {
            (number, Some((number - next as f64).round() as i64).filter(|order| *order != 0))
        }
    }
}

async fn send(
    app: &Shared,
    mut job: NewJob,
    facts: NativeFacts,
    partner_key: Option<Secret>,
) -> Result<(), ApiError> {
    let id = job.id;
    app.native.enter(id, job.tenant, &facts);
    job.body.strict = false;
    job.body.native = Some(Arc::new(facts));
    let submitted = app.engine.submit(job, partner_key).await;
    match submitted {
        Ok(()) => Ok(()),
        // Whether it is in the store is unknown: if it is, its end will be heard.
        Err(error @ SubmitError::Unavailable(_)) => Err(submit::of_submit_error(error)),
        Err(error) => {
            app.native.withdraw(id);
            Err(match error {
                SubmitError::DuplicateId => {
                    node_errors::refuse("invalid_prompt_id", "a job with this prompt_id has not ended yet")
                }
                SubmitError::MissingAssets(names) => {
                    node_errors::refuse("missing_asset", format!("there is no file {}", names.join(", ")))
                }
                error => submit::of_submit_error(error),
            })
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::*;

    #[test]
    fn only_a_canonical_uuid_is_a_prompt_id() {
        assert_eq!(prompt_id(&Value::Null).unwrap(), "");
        assert!(prompt_id(&json!("0d71c5ef-8b3e-4514-9da3-ee9a8694b8b0")).is_ok());
        for bad in [
            json!("0D71C5EF-8B3E-4514-9DA3-EE9A8694B8B0"),
            json!("0d71c5ef8b3e45149da3ee9a8694b8b0"),
            json!(""),
            json!(1),
            json!(["x"]),
        ] {
            assert!(prompt_id(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_client_id_that_is_no_text_names_nobody() {
        assert_eq!(client_id(&json!("me")).as_deref(), Some("me"));
        for odd in [json!(""), json!(1), json!(["me"]), json!({"a": 1}), Value::Null] {
            assert_eq!(client_id(&odd), None, "{odd}");
        }
    }

    #[test]
    fn front_goes_before_all_and_a_number_where_it_belongs() {
        assert_eq!(settle(Place::Last, || 7, 7), (7.0, None));
        let (number, order) = settle(Place::First, || 7, 8);
        assert!(number == -7.0 && order.unwrap() < 0);
        assert!(settle(Place::At(-1000.0), || 0, 8).1.unwrap() < 0);
        assert!(settle(Place::At(1000.0), || 0, 8).1.unwrap() > 0);
    }

    #[test]
    fn secrets_never_stay_in_extra_data() {
        let given = json!({"api_key_comfy_org": "k", "auth_token_comfy_org": "t", "mine": 1});
        let (extra, key) = extra_data(given).unwrap();
        assert_eq!(Value::Object(extra), json!({"mine": 1}));
        assert_eq!(key.unwrap().0, "k");
    }
}
