//! Jobs: submit with a replaying idempotency key, get (and wait for a change), list.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, Query, Request};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::super::error::ApiError;
use super::super::listing::{self, More, Page};
use super::super::respond::{json, json_text};
use super::super::state::{App, Shared};
use super::super::view::{self, Outlook, Seen};
use super::super::{body, quota, submit, time};
use super::follow::Follower;
use super::render::Setting;
use super::submission::Body;
use super::{cost, idempotency, render, submission};
use crate::engine::SubmitError;
use crate::fleet::FleetView;
use crate::store::{Face, NewJob, StoredState};
use crate::tenant::Caller;

pub(super) type Who = Extension<Arc<Caller>>;

/// A query as its pairs.
pub(super) type Pairs = Query<Vec<(String, String)>>;

/// Longest wait for a change.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// An answer must still find its way before the request's own time is over.
const WAIT_MARGIN: Duration = Duration::from_secs(1);

/// Submit a job.
///
/// 201 once the job is on disk and admitted. A repeat under the same `Idempotency-Key` gets the first answer byte for
/// byte for 24 h, marked by `Idempotency-Replayed: true`; the same key with another body is refused.
#[utoipa::path(post, path = "/v1/jobs", tag = "jobs", request_body = Body<'static>,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 printable ASCII characters")),
    responses(
        (status = 201, description = "Accepted.", body = render::Job<'static>),
        (status = 409, description = "`idempotency_conflict`."),
        (status = 422, description = "Well formed, but never to be carried out."),
        (status = 429, description = "`queue_full`, `rate_limited`: come again after `Retry-After`.")))]
pub(super) async fn submit(app: App, caller: Who, request: Request) -> Result<Response, ApiError> {
    let key = submit::idempotency_key(request.headers())?;
    let pace = idempotency::pace(quota::rate(&app, &caller, NonZeroU32::MIN), key.as_deref())?;
    let base = view::base_url(&app, request.headers());
    let read = body::read(&app, request).await?;
    let hash = *blake3::hash(&read.bytes).as_bytes();
    let submitted = match pace {
        Ok(()) => match body::make(&app, read, submission::read).await {
            Ok(asked) => try_submit(&app, &caller, asked, key.clone(), &base).await,
            Err(failure) => Err(failure),
        },
        Err(failure) => Err(failure),
    };
    idempotency::or_first(&app, &caller, submitted, key, hash).await
}

async fn try_submit(
    app: &Arc<Shared>,
    caller: &Caller,
    asked: submission::Asked,
    key: Option<String>,
    base: &str,
) -> Result<Response, ApiError> {
    quota::storage(app, caller).await?;
    let job = make(app, caller, asked, key).await?;
    accept(app, job, base).await
}

/// Judges what was asked for, and its price, and makes the job.
pub(super) async fn make(
    app: &Arc<Shared>,
    caller: &Caller,
    asked: submission::Asked,
    key: Option<String>,
) -> Result<NewJob, ApiError> {
    let submission::Judged { wanted, max_cost_micros } = submission::judge(app, caller, asked).await?;
    let now = app.engine.now();
    let key = key.map(|key| (key, None));
    let job = submit::job(app, caller, Face::Private, wanted, key, (time::job_id(now), now))?;
    cost::check_ceiling(app, &job, max_cost_micros).await?;
    Ok(job)
}

/// Hands a job to the engine and answers with it as it is then.
pub(super) async fn accept(app: &Shared, mut job: NewJob, base: &str) -> Result<Response, ApiError> {
    let seen = view::accepted(&job);
    let fleet = FleetView::default();
    let setting = Setting { base, fleet: &fleet, prices: &app.prices };
    let shown = render::job(&seen, Outlook::default(), &[], &setting);
    let body = serde_json::to_string(&shown).map_err(|error| ApiError::internal(&error))?;
    idempotency::keep(&mut job, &body);
    match app.engine.submit(job, None).await {
        Ok(()) => Ok(json_text(StatusCode::CREATED, body)),
        Err(SubmitError::DuplicateKey { same_body: true, response: Some(first), .. }) => {
            idempotency::replay(first)
        }
        Err(error) => Err(submit::of_submit_error(error)),
    }
}

/// How to wait for a change.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wait {
    /// Answer when the job has another revision or has ended, or after so long.
    #[param(minimum = 0, maximum = 30)]
    wait_seconds: Option<u64>,
    /// The revision that is known already; left out: the one it has when the request comes.
    #[param(maximum = 9_007_199_254_740_991_u64)]
    revision: Option<u64>,
}

/// Get a job.
///
/// With `wait_seconds` the answer waits for a change that is on disk: a placement, a change of class, a lost attempt,
/// the end. For callers that cannot hold an event stream.
#[utoipa::path(get, path = "/v1/jobs/{id}", tag = "jobs", params(Wait), responses(
    (status = 200, description = "The job.", body = render::Job<'static>),
    (status = 404, description = "`not_found`."),
    (status = 429, description = "`too_many_streams`: waiting requests count as event streams.")))]
pub(super) async fn get(
    app: App,
    caller: Who,
    Path(id): Path<String>,
    Query(wait): Query<Wait>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let known = wait.revision.map(|revision| submission::whole("revision", revision)).transpose()?;
    let seen = match wait.wait_seconds {
        None | Some(0) => view::find(&app, &caller, id).await?,
        Some(seconds) => {
            let patience = Duration::from_secs(seconds);
            if patience > MAX_WAIT {
                return Err(ApiError::invalid(format!("wait_seconds must be 0 to {}", MAX_WAIT.as_secs())));
            }
            let patience = patience.min(app.limits.request_timeout.saturating_sub(WAIT_MARGIN));
            Follower::open(&app, &caller, id).await?.wait(known, patience).await?
        }
    };
    show(&app, &seen, &headers).await
}

/// Answers with a job as it is now.
pub(super) async fn show(app: &Shared, seen: &Seen, headers: &HeaderMap) -> Result<Response, ApiError> {
    let outputs = view::outputs(app, &seen.row).await?;
    let outlook = view::outlook(app, seen).await;
    let fleet = app.engine.fleet();
    let base = view::base_url(app, headers);
    let setting = Setting { base: &base, fleet: &fleet, prices: &app.prices };
    json(StatusCode::OK, &render::job(seen, outlook, &outputs, &setting))
}

/// One page of jobs.
#[derive(Serialize, ToSchema)]
#[schema(as = JobList)]
pub(super) struct List<'a> {
    jobs: Vec<render::Job<'a>>,
    /// For the next page; null on the last one. A page may hold fewer jobs than its limit.
    next_cursor: Option<String>,
}

/// List jobs, newest first.
///
/// Filters combine. `labels[name]=value` may be given for several labels.
#[utoipa::path(get, path = "/v1/jobs", tag = "jobs", params(
        ("limit" = Option<u32>, Query, description = "50 where it is left out", minimum = 1, maximum = 100),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("status" = Option<String>, Query, description = "One or more statuses, separated by commas"),
        ("user" = Option<String>, Query, description = "Only of this person"),
        ("template" = Option<String>, Query, description = "Only of this template"),
        ("class" = inline(Option<render::ServiceClass>), Query, description = "Only of this service level"),
        ("batch" = Option<String>, Query, description = "Only of this batch", format = Uuid),
        ("accepted_after" = Option<String>, Query, description = "Only those accepted then or later", format = DateTime),
        ("accepted_before" = Option<String>, Query, description = "Only those accepted before", format = DateTime)),
    responses((status = 200, description = "One page.", body = List<'static>)))]
pub(super) async fn list(
    app: App,
    caller: Who,
    Query(query): Pairs,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let more = More::read(&query)?;
    let mut wanted = listing::read(query, "labels", stored_states)?;
    wanted.more = more;
    let Page { jobs, next_cursor } =
        listing::page(&app, &caller, &wanted, |seen| wanted.has_status(render::status(seen.phase))).await?;
    let base = view::base_url(&app, &headers);
    let fleet = app.engine.fleet();
    let setting = Setting { base: &base, fleet: &fleet, prices: &app.prices };
    let jobs =
        jobs.iter().map(|(seen, outputs)| render::job(seen, Outlook::default(), outputs, &setting)).collect();
    json(StatusCode::OK, &List { jobs, next_cursor })
}

/// What a status may be stored as.
fn stored_states(status: &str) -> Option<&'static [StoredState]> {
    Some(match status {
        "queued" => &[StoredState::Queued],
        "dispatching" | "running" | "in_doubt" | "collecting" => &[StoredState::Placed],
        "canceling" => &[StoredState::Canceling],
        "succeeded" => &[StoredState::Succeeded],
        "failed" => &[StoredState::Failed],
        "canceled" => &[StoredState::Canceled],
        "expired" => &[StoredState::Expired],
        _ => return None,
    })
}
