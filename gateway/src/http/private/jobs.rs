//! Jobs: submit with a replaying idempotency key, get, list, cancel.

use std::num::NonZeroU32;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Query, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use serde::Serialize;

use super::super::error::{ApiError, ErrorKind};
use super::super::listing::{self, Page};
use super::super::respond::{json, json_text};
use super::super::state::{App, Shared};
use super::super::view::{self, Seen};
use super::super::{body, quota, submit, time};
use super::{render, submission};
use crate::engine::SubmitError;
use crate::fleet::FleetView;
use crate::store::{Face, StoredResponse, StoredState};
use crate::tenant::Caller;

type Who = Extension<Arc<Caller>>;

const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// `POST /v1/jobs`: 201 once the job is on disk and admitted. A repeat under the same key gets the first answer, byte
/// for byte, for 24 h, even where the fleet or the queue would refuse the job by now (DESIGN §4.3).
pub(super) async fn submit(app: App, caller: Who, request: Request) -> Result<Response, ApiError> {
    quota::rate(&app, &caller, NonZeroU32::MIN)?;
    let key = submit::idempotency_key(request.headers())?;
    let base = view::base_url(&app, request.headers());
    let read = body::read(&app, request).await?;
    let hash = *blake3::hash(&read.bytes).as_bytes();
    let who = caller.0.clone();
    let made = body::make(&app, read, move |app, bytes| submission::read(app, &who, bytes));
    let submitted = match made.await {
        Ok(wanted) => try_submit(&app, &caller, wanted, key.clone(), &base).await,
        Err(failure) => Err(failure),
    };
    match (submitted, key) {
        (Err(failure), Some(key)) if failure.code() != CONFLICT => {
            earlier(&app, &caller, key, hash).await.unwrap_or(Err(failure))
        }
        (submitted, _) => submitted,
    }
}

const CONFLICT: &str = "idempotency_conflict";

async fn try_submit(
    app: &Shared,
    caller: &Caller,
    wanted: submit::Wanted,
    key: Option<String>,
    base: &str,
) -> Result<Response, ApiError> {
    quota::storage(app, caller).await?;
    let now = app.engine.now();
    let mut job =
        submit::job(app, caller, Face::Private, wanted, key.map(|key| (key, None)), (time::job_id(now), now));
    let seen = view::accepted(&job);
    let body = serde_json::to_string(&render::job(&seen, None, &[], base, &FleetView::default()));
    let body = body.map_err(|error| ApiError::internal(&error))?;
    if let Some(key) = &mut job.idempotency {
        key.response = Some(StoredResponse { status: StatusCode::CREATED.as_u16(), body: body.clone() });
    }
    match app.engine.submit(job, None).await {
        Ok(()) => Ok(json_text(StatusCode::CREATED, body)),
        Err(SubmitError::DuplicateKey { same_body: true, response: Some(first), .. }) => replay(first),
        Err(error) => Err(submit::of_submit_error(error)),
    }
}

/// The answer to an earlier submission under this key, if there was one.
async fn earlier(
    app: &Shared,
    caller: &Caller,
    key: String,
    hash: [u8; 32],
) -> Option<Result<Response, ApiError>> {
    let replayed = app.engine.store().replay(caller.tenant.id, Face::Private, key).await.ok()??;
    if replayed.body_hash != hash {
        return Some(Err(conflict()));
    }
    Some(replay(replayed.response?))
}

fn replay(first: StoredResponse) -> Result<Response, ApiError> {
    let status = StatusCode::from_u16(first.status).map_err(|error| ApiError::internal(&error))?;
    let mut response = json_text(status, first.body);
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}

fn conflict() -> ApiError {
    ApiError::new(ErrorKind::Conflict, CONFLICT, "the idempotency key was used before, with another body")
}

/// `GET /v1/jobs/{id}`.
pub(super) async fn get(
    app: App,
    caller: Who,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let seen = view::find(&app, &caller, id).await?;
    show(&app, &seen, &headers).await
}

/// `POST /v1/jobs/{id}/cancel`.
pub(super) async fn cancel(
    app: App,
    caller: Who,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let seen = view::cancel(&app, &caller, id).await?;
    show(&app, &seen, &headers).await
}

async fn show(app: &Shared, seen: &Seen, headers: &HeaderMap) -> Result<Response, ApiError> {
    let outputs = view::outputs(app, &seen.row).await?;
    let position = view::jobs_before(app, seen).await;
    let fleet = app.engine.fleet();
    json(StatusCode::OK, &render::job(seen, position, &outputs, &view::base_url(app, headers), &fleet))
}

#[derive(Serialize)]
struct List<'a> {
    jobs: Vec<render::Job<'a>>,
    next_cursor: Option<String>,
}

/// `GET /v1/jobs?limit=&cursor=&status=&labels[name]=value`, newest first.
pub(super) async fn list(
    app: App,
    caller: Who,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let wanted = listing::read(query, "labels", |name| {
        Some(match name {
            "queued" => &[StoredState::Queued],
            "dispatching" | "running" | "in_doubt" | "collecting" => &[StoredState::Placed],
            "canceling" => &[StoredState::Canceling],
            "succeeded" => &[StoredState::Succeeded],
            "failed" => &[StoredState::Failed],
            "canceled" => &[StoredState::Canceled],
            "expired" => &[StoredState::Expired],
            _ => return None,
        })
    })?;
    let Page { jobs, next_cursor } =
        listing::page(&app, &caller, &wanted, |seen| wanted.has_status(render::status(seen.phase))).await?;
    let base = view::base_url(&app, &headers);
    let fleet = app.engine.fleet();
    let jobs = jobs.iter().map(|(seen, outputs)| render::job(seen, None, outputs, &base, &fleet)).collect();
    json(StatusCode::OK, &List { jobs, next_cursor })
}
