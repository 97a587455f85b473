//! `POST /prompt` (PROTOCOL §2).

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{App, crash, json, read_json};
use crate::listener::Connection;
use crate::observed::{ObservedPrompt, PromptState};
use crate::process::{Process, now_ms};
use crate::queue::Item;
use crate::validate::{self, Refused};
use crate::wire;

/// Members of `extra_data` that only nodes get to see.
const SENSITIVE: [&str; 2] = ["auth_token_comfy_org", "api_key_comfy_org"];

/// `GET /prompt`: the cheapest poll.
pub(super) async fn remaining(State(process): App) -> Response {
    let remaining = process.queue().remaining();
    json(StatusCode::OK, &json!({"exec_info": {"queue_remaining": remaining}}))
}

/// `POST /prompt`.
pub(super) async fn submit(
    State(process): App,
    ConnectInfo(connection): ConnectInfo<Connection>,
    body: Body,
) -> Response {
    process.record.count(|counts| counts.posts += 1);
    if process.faults.take(|state| &mut state.fail_posts) {
        return crash();
    }
    let body = match read_json(body).await {
        Ok(body) => body,
        Err(refused) => return refused,
    };
    let lost = process.faults.take(|state| &mut state.lose_replies);
    let reply = accept(&process, body).unwrap_or_else(|refused| *refused);
    if lost {
        connection.vanish().await;
    }
    let delay = Duration::from_millis(process.faults.state().reply_delay_ms);
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    reply
}

/// A reply that says no; boxed, as it is large and rare.
type Refusal = Box<Response>;

fn raise() -> Refusal {
    Box::new(crash())
}

fn bad_request(body: &Value) -> Refusal {
    Box::new(json(StatusCode::BAD_REQUEST, body))
}

/// Checks and queues a submission; both sides are replies.
fn accept(process: &Arc<Process>, body: Value) -> Result<Response, Refusal> {
    let Value::Object(mut body) = body else { return Err(raise()) };
    let (number, number_json) = number(process, &body)?;
    let Some(graph) = body.remove("prompt") else {
        let text = "No prompt provided";
        let refusal = validate::refusal("no_prompt", text, text, json!({}), json!({}));
        return Err(bad_request(&refusal));
    };
    let prompt_id = prompt_id(process, body.get("prompt_id"))?;
    let Value::Object(mut graph) = graph else { return Err(raise()) };
    let targets = body.get("partial_execution_targets").and_then(Value::as_array).map(Vec::as_slice);
    let folders = process.folders();
    let checked = validate::validate(&mut graph, targets, &process.classes, &folders, &process.files());
    let accepted = checked.map_err(|refused| match refused {
        Refused::Invalid(refusal) => bad_request(&refusal),
        Refused::Crash => raise(),
    })?;
    let extra_data = extra_data(&body)?;
    let graph = Arc::new(Value::Object(graph));
    let observed = process.record.add(ObservedPrompt {
        prompt_id: prompt_id.clone(),
        client_id: body.get("client_id").cloned().unwrap_or_default(),
        extra_data: body.get("extra_data").cloned().unwrap_or_default(),
        graph: Arc::clone(&graph),
        number,
        state: PromptState::Pending,
        started: None,
        finished: None,
        files: Vec::new(),
    });
    let item = Item {
        number,
        number_json: number_json.clone(),
        prompt_id: prompt_id.clone(),
        graph,
        extra_data,
        outputs: accepted.outputs,
        observed,
    };
    let untied = process.queue().push(Arc::new(item));
    process.pushed.notify_one();
    if !untied {
        return Err(raise());
    }
    process.broadcast_status();
    let reply = json!({"prompt_id": prompt_id, "number": number_json, "node_errors": accepted.node_errors});
    Ok(json(StatusCode::OK, &reply))
}

/// The priority: the caller's as a float, else the server's counter, negated for `front`.
fn number(process: &Process, body: &Map<String, Value>) -> Result<(f64, Value), Refusal> {
    if let Some(given) = body.get("number") {
        if wire::is_not_finite(given) {
            return Ok((f64::NAN, given.clone()));
        }
        let number = match given {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        let number = number.ok_or_else(raise)?;
        return Ok((number, json!(number)));
    }
    let counted = process.queue().next_number();
    let front = body.get("front").is_some_and(|front| front != false && !front.is_null());
    let number = if front { -counted } else { counted };
    #[expect(clippy::cast_precision_loss, reason = "a counter of submissions stays far below 2^52")]
    Ok((number as f64, json!(number)))
}

/// The caller's id if it is a canonical UUID, else a new one.
fn prompt_id(process: &Process, given: Option<&Value>) -> Result<String, Refusal> {
    let fresh = || Uuid::new_v4().to_string();
    let given = match given {
        None | Some(Value::Null) => return Ok(fresh()),
        Some(_) if process.faults.state().ignore_prompt_id => return Ok(fresh()),
        Some(given) => given,
    };
    let canonical = given
        .as_str()
        .filter(|text| Uuid::parse_str(text).is_ok_and(|uuid| uuid.hyphenated().to_string() == *text));
    canonical.map(str::to_owned).ok_or_else(|| {
        let details =
            "prompt_id must be a UUID string in canonical lowercase hyphenated form; omit it to let the server \
             generate one";
        let message = "prompt_id must be a valid UUID";
        let refusal = validate::refusal("invalid_prompt_id", message, details, json!({}), json!({}));
        bad_request(&refusal)
    })
}

/// What queue and history keep: without secrets, with owner and time.
fn extra_data(body: &Map<String, Value>) -> Result<Value, Refusal> {
    let mut extra = match body.get("extra_data") {
        None => Map::new(),
        Some(Value::Object(extra)) => extra.clone(),
        Some(_) => return Err(raise()),
    };
    for secret in SENSITIVE {
        extra.remove(secret);
    }
    if let Some(client_id) = body.get("client_id") {
        extra.insert("client_id".to_owned(), client_id.clone());
    }
    extra.insert("create_time".to_owned(), json!(now_ms()));
    Ok(Value::Object(extra))
}
