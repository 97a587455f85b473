//! `/queue`, `/interrupt`, `/free`: the caller's own jobs and nobody else's.

use std::sync::Arc;

use axum::Extension;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt as _, stream};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::super::body;
use super::super::error::ApiError;
use super::super::respond::json;
use super::super::state::{App, Shared};
use super::super::view::Seen;
use super::render::{self, Item};
use crate::store::{NativeJob, StoredState};
use crate::tenant::Caller;

type Who = Extension<Arc<Caller>>;

/// Cancels under way at once for one request.
const AT_ONCE: usize = 64;
/// An order in a body, bytes.
const MAX_ORDER_BYTES: usize = 1 << 20;

#[derive(serde::Serialize)]
struct Queue<'a> {
    queue_running: Vec<Item<'a>>,
    queue_pending: Vec<Item<'a>>,
}

/// `GET /queue`.
pub(super) async fn list(app: App, caller: Who) -> Result<Response, ApiError> {
    let jobs = open_jobs(&app, &caller).await?;
    let which = |wanted: bool| jobs.iter().filter(move |(_, runs)| *runs == wanted).map(|(job, _)| job);
    let mut pending: Vec<&NativeJob> = which(false).collect();
    pending.sort_by(|a, b| a.facts.number.total_cmp(&b.facts.number));
    let queue = Queue {
        queue_running: which(true).map(render::item).collect(),
        queue_pending: pending.into_iter().map(render::item).collect(),
    };
    json(StatusCode::OK, &queue)
}

/// The caller's open jobs, and whether each runs.
pub(super) async fn open_jobs(app: &Shared, caller: &Caller) -> Result<Vec<(NativeJob, bool)>, ApiError> {
    let most = app.native.settings().max_queue_listed;
    let jobs = app.engine.store().native().native_queue(caller.tenant.id, most).await?;
    let mut seen = Vec::with_capacity(jobs.len());
    for job in jobs {
        let live = match job.row.state {
            StoredState::Queued => None,
            _ => app.engine.live(job.row.id),
        };
        let runs = render::runs(&Seen::new(job.row.clone(), live));
        seen.push((job, runs));
    }
    Ok(seen)
}

/// What `POST /queue`, `/history` and `/interrupt` may say. Some clients send forms, some nothing (CLIENTS §4.1).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Order {
    #[serde(deserialize_with = "truth")]
    pub(super) clear: bool,
    #[serde(deserialize_with = "texts")]
    pub(super) delete: Vec<String>,
    #[serde(deserialize_with = "text")]
    prompt_id: Option<String>,
    #[serde(deserialize_with = "text")]
    client_id: Option<String>,
}

fn truth<'de, D: serde::Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    let value = Value::deserialize(from)?;
    Ok(value == Value::Bool(true) || value.as_i64() == Some(1))
}

fn text<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(Value::deserialize(from)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned))
}

fn texts<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Ok(match Value::deserialize(from)? {
        Value::Array(ids) => ids.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    })
}

impl Order {
    fn of_form(bytes: &[u8]) -> Self {
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        let url = reqwest::Url::parse(&format!("form:?{text}"));
        let mut order = Self::default();
        for (name, value) in url.iter().flat_map(|url| url.query_pairs()) {
            match &*name {
                "clear" => order.clear = matches!(&*value, "true" | "True" | "1"),
                "delete" => order.delete.push(value.into_owned()),
                "prompt_id" => order.prompt_id = Some(value.into_owned()),
                "client_id" => order.client_id = Some(value.into_owned()),
                _ => {}
            }
        }
        order
    }
}

/// Reads an order, whatever it is said to be.
pub(super) async fn read_order(app: &Shared, request: Request) -> Result<Order, ApiError> {
    let read = body::read_any(app, request, MAX_ORDER_BYTES).await?;
    if read.bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Order::default());
    }
    match serde_json::from_slice(&read.bytes) {
        Ok(order) => Ok(order),
        Err(_) if read.bytes.trim_ascii_start().starts_with(b"{") => {
            Err(ApiError::invalid("the body is not a JSON object as expected"))
        }
        Err(_) => Ok(Order::of_form(&read.bytes)),
    }
}

/// `POST /queue`: takes jobs that wait out of it, all or these. Those that run go on.
pub(super) async fn change(app: App, caller: Who, request: Request) -> Result<Response, ApiError> {
    let order = read_order(&app, request).await?;
    let tenant = caller.tenant.id;
    let mut jobs: Vec<Uuid> = order.delete.iter().filter_map(|id| app.native.find(tenant, id)).collect();
    if order.clear {
        jobs = app.native.open_jobs(tenant, None);
    }
    jobs.retain(|job| !is_running(&app, *job));
    cancel_all(&app, jobs).await?;
    Ok(StatusCode::OK.into_response())
}

/// `POST /interrupt`: stops what runs of the caller's; of one client, or one job, where it is named (CLIENTS §4.9).
pub(super) async fn interrupt(app: App, caller: Who, request: Request) -> Result<Response, ApiError> {
    let order = read_order(&app, request).await?;
    let tenant = caller.tenant.id;
    let mut jobs = match &order.prompt_id {
        Some(id) => app.native.find(tenant, id).into_iter().collect(),
        None => app.native.open_jobs(tenant, order.client_id.as_deref()),
    };
    jobs.retain(|job| is_running(&app, *job));
    cancel_all(&app, jobs).await?;
    Ok(StatusCode::OK.into_response())
}

/// `POST /free`: models belong to the fleet, not to one of its callers.
pub(super) async fn free() -> StatusCode {
    StatusCode::OK
}

fn is_running(app: &Shared, job: Uuid) -> bool {
    use scheduler::Phase;
    let Some(live) = app.engine.live(job) else { return false };
    match live.phase {
        Some(Phase::Running | Phase::Collecting | Phase::Canceling) => true,
        Some(Phase::InDoubt) => live.started_at.is_some(),
        _ => false,
    }
}

/// Asks for the end of jobs; returns after it is on disk that they are not wanted.
pub(super) async fn cancel_all(app: &Shared, jobs: Vec<Uuid>) -> Result<(), ApiError> {
    let cancels = stream::iter(jobs.into_iter().map(|job| app.engine.cancel(job)));
    let mut done = cancels.buffer_unordered(AT_ONCE);
    while let Some(canceled) = done.next().await {
        canceled?;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_read_from_json_and_from_a_form() {
        let order: Order =
            serde_json::from_str(r#"{"clear": true, "delete": ["a", 1], "prompt_id": null}"#).unwrap();
        assert!(order.clear && order.prompt_id.is_none());
        assert_eq!(order.delete, ["a"]);
        let order = Order::of_form(b"delete=a&delete=b%20c&clear=True");
        assert!(order.clear);
        assert_eq!(order.delete, ["a", "b c"]);
    }
}
