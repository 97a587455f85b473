//! Jobs that are submitted together: all of them are accepted, or none, under one idempotency key.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use axum::extract::{Path, Request};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::super::error::{ApiError, ErrorKind};
use super::super::respond::{json as answer, json_text};
use super::super::state::{App, Shared};
use super::super::view::{self, Outlook, Seen};
use super::super::{body, quota, submit, time};
use super::jobs::Who;
use super::many::Standing;
use super::render::Setting;
use super::submission::{Asked, Body, malformed};
use super::{idempotency, jobs, render, submission};
use crate::engine::{SubmitAllError, SubmitError};
use crate::fleet::FleetView;
use crate::store::{ListQuery, NewJob};
use crate::tenant::Caller;

/// Jobs to be accepted together.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BatchSubmission)]
pub(super) struct Together<'a> {
    #[serde(borrow)]
    #[schema(min_items = 1, max_items = 100, inline)]
    jobs: Vec<Body<'a>>,
}

/// A batch that was accepted.
#[derive(Serialize, ToSchema)]
#[schema(as = AcceptedBatch)]
struct Accepted<'a> {
    id: Uuid,
    /// In the order of the submission.
    jobs: Vec<render::Job<'a>>,
}

/// A batch as it stands.
#[derive(Serialize, ToSchema)]
#[schema(as = Batch)]
struct Batch<'a> {
    id: Uuid,
    /// Whether all of its jobs have ended.
    ended: bool,
    /// How many of its jobs have each status; statuses that none has are left out.
    counts: BTreeMap<&'static str, u32>,
    /// In the order of the submission; those past their retention are gone.
    jobs: Vec<Standing<'a>>,
}

fn read(app: &Shared, bytes: &[u8]) -> Result<Vec<Asked>, ApiError> {
    let Together { jobs } = serde_json::from_slice(bytes).map_err(|error| malformed(&error))?;
    let most = app.limits.max_batch_jobs;
    if jobs.is_empty() || jobs.len() > most {
        return Err(ApiError::invalid(format!("jobs must be 1 to {most}")));
    }
    let hash = *blake3::hash(bytes).as_bytes();
    let asked = jobs.into_iter().map(|body| submission::ask(body, hash));
    asked.enumerate().map(|(index, asked)| asked.map_err(|failure| at(index, &failure))).collect()
}

/// The failure of one job as the failure of all; `details.jobs` names it.
fn at(index: usize, failure: &ApiError) -> ApiError {
    of_faults(vec![(index, failure.clone())])
}

/// The kind and code of the first fault, and all of them in the details.
fn of_faults(faults: Vec<(usize, ApiError)>) -> ApiError {
    let Some((index, first)) = faults.first() else { return ApiError::invalid("the batch is malformed") };
    let message = format!("jobs[{index}]: {}", first.message());
    let (kind, code) = (first.kind(), first.code().to_owned());
    let told: Vec<Value> = faults.iter().map(|(index, fault)| told(*index, fault)).collect();
    ApiError::new(kind, code, message).details(json!({"jobs": told}))
}

fn told(index: usize, fault: &ApiError) -> Value {
    let mut told = json!({"index": index, "code": fault.code(), "detail": fault.message()});
    if let (Some(details), Some(members)) = (fault.particulars(), told.as_object_mut()) {
        members.insert("details".into(), details.clone());
    }
    told
}

/// Submit jobs together.
///
/// All of them are accepted in one transaction, or none: then `details.jobs` names those at fault. One
/// `Idempotency-Key` stands for the whole batch, with the rules of `POST /v1/jobs`. Each job counts for the tenant's rate
/// and for its bound of waiting jobs.
#[utoipa::path(post, path = "/v1/batches", tag = "batches", request_body = Together<'static>,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 printable ASCII characters")),
    responses(
        (status = 201, description = "Accepted, all of them.", body = Accepted<'static>),
        (status = 409, description = "`idempotency_conflict`."),
        (status = 422, description = "At least one of them is never to be carried out."),
        (status = 429, description = "`queue_full`, `rate_limited`: there is no room for all of them; come again after `Retry-After`.")))]
pub(super) async fn submit(app: App, caller: Who, request: Request) -> Result<Response, ApiError> {
    let key = submit::idempotency_key(request.headers())?;
    let base = view::base_url(&app, request.headers());
    let read_body = body::read(&app, request).await?;
    let hash = *blake3::hash(&read_body.bytes).as_bytes();
    let submitted = match body::make(&app, read_body, read).await {
        Ok(asked) => try_submit(&app, &caller, asked, key.clone(), &base).await,
        Err(failure) => Err(failure),
    };
    idempotency::or_first(&app, &caller, submitted, key, hash).await
}

async fn try_submit(
    app: &Arc<Shared>,
    caller: &Caller,
    asked: Vec<Asked>,
    key: Option<String>,
    base: &str,
) -> Result<Response, ApiError> {
    let count = u32::try_from(asked.len()).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
    quota::rate(app, caller, count)?;
    quota::storage(app, caller).await?;
    let mut jobs = make(app, caller, asked, key).await?;
    let id = jobs.first().and_then(|job| job.batch).unwrap_or_default();
    let seen: Vec<Seen> = jobs.iter().map(view::accepted).collect();
    let fleet = FleetView::default();
    let setting = Setting { base, fleet: &fleet, prices: &app.prices };
    let shown = seen.iter().map(|seen| render::job(seen, Outlook::default(), &[], &setting)).collect();
    let text = serde_json::to_string(&Accepted { id, jobs: shown });
    let text = text.map_err(|error| ApiError::internal(&error))?;
    if let Some(first) = jobs.first_mut() {
        idempotency::keep(first, &text);
    }
    match app.engine.submit_all(jobs).await {
        Ok(()) => Ok(json_text(StatusCode::CREATED, text)),
        Err(SubmitAllError::All(SubmitError::DuplicateKey {
            same_body: true,
            response: Some(first),
            ..
        })) => idempotency::replay(first),
        Err(SubmitAllError::All(error)) => Err(submit::of_submit_error(error)),
        Err(SubmitAllError::Jobs(faults)) => {
            let fault = |(index, error)| (index, submit::of_submit_error(error));
            Err(of_faults(faults.into_iter().map(fault).collect()))
        }
    }
}

/// Judges all of them and makes the jobs; the first carries the key.
async fn make(
    app: &Arc<Shared>,
    caller: &Caller,
    asked: Vec<Asked>,
    mut key: Option<String>,
) -> Result<Vec<NewJob>, ApiError> {
    let batch = time::job_id(app.engine.now());
    let (mut made, mut faults) = (Vec::with_capacity(asked.len()), Vec::new());
    for (index, asked) in asked.into_iter().enumerate() {
        match jobs::make(app, caller, asked, key.take()).await {
            Ok(job) => made.push(NewJob { batch: Some(batch), ..job }),
            Err(failure) if failure.kind() == ErrorKind::Internal => return Err(failure),
            Err(failure) => faults.push((index, failure)),
        }
    }
    if faults.is_empty() { Ok(made) } else { Err(of_faults(faults)) }
}

/// Get a batch: how many of its jobs have which status, and where each stands.
#[utoipa::path(get, path = "/v1/batches/{id}", tag = "batches", responses(
    (status = 200, description = "The batch.", body = Batch<'static>),
    (status = 404, description = "`not_found`.")))]
pub(super) async fn get(app: App, caller: Who, Path(id): Path<String>) -> Result<Response, ApiError> {
    let id = Uuid::try_parse(&id).map_err(|_| ApiError::not_found())?;
    let limit = u32::try_from(app.limits.max_batch_jobs).unwrap_or(u32::MAX);
    let query = ListQuery { tenant: caller.tenant.id, batch: Some(id), limit, ..ListQuery::default() };
    let mut rows = app.engine.store().list(query).await?.rows;
    if rows.is_empty() {
        return Err(ApiError::not_found());
    }
    rows.reverse();
    let ids: Vec<String> = rows.into_iter().map(|row| row.public_id).collect();
    let seen = super::many::look_up(&app, &caller, &ids).await?;
    let mut counts = BTreeMap::new();
    for one in &seen {
        *counts.entry(render::status(one.phase)).or_insert(0) += 1;
    }
    let ended = seen.iter().all(|seen| seen.phase.is_terminal());
    answer(StatusCode::OK, &Batch { id, ended, counts, jobs: seen.iter().map(Standing::of).collect() })
}
