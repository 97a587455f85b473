//! Jobs: submit, get, list, workflow, cancel.

use axum::Extension;
use axum::extract::{Path, Query, Request};
use axum::http::StatusCode;
use axum::http::header::HeaderMap;
use axum::response::Response;
use serde::Serialize;
use std::num::NonZeroU32;
use std::sync::Arc;

use super::super::error::ApiError;
use super::super::listing::{self, Page};
use super::super::respond::{json, json_text};
use super::super::state::{App, Shared};
use super::super::view::{self, Seen};
use super::super::{body, quota, submit, time};
use super::{render, submission};
use crate::engine::SubmitError;
use crate::store::{Face, StoredState};
use crate::tenant::Caller;

type Who = Extension<Arc<Caller>>;

/// `POST /jobs`: 201 once the job is on disk and admitted.
pub(super) async fn submit(app: App, caller: Who, request: Request) -> Result<Response, ApiError> {
    quota::rate(&app, &caller, NonZeroU32::MIN)?;
    let key = submit::idempotency_key(request.headers())?;
    let base = view::base_url(&app, request.headers());
    let submitted = try_submit(&app, &caller, request, key.clone(), &base).await;
    match (submitted, key) {
        // Any later request with the key is a reuse, valid or not (CONTRACT §4).
        (Err(failure), Some(key)) if failure.code() != REUSE && is_used(&app, &caller, &key).await => {
            Err(reuse())
        }
        (submitted, _) => submitted,
    }
}

const REUSE: &str = "idempotency_key_reuse";

fn reuse() -> ApiError {
    ApiError::refused(REUSE, "this Idempotency-Key was used before; keys are single-use")
}

async fn is_used(app: &Shared, caller: &Caller, key: &str) -> bool {
    matches!(app.engine.store().replay(caller.tenant.id, Face::V2, key.to_owned()).await, Ok(Some(_)))
}

async fn try_submit(
    app: &Arc<Shared>,
    caller: &Arc<Caller>,
    request: Request,
    key: Option<String>,
    base: &str,
) -> Result<Response, ApiError> {
    let who = caller.clone();
    let wanted = body::read_as(app, request, move |app, bytes| submission::read(app, &who, bytes)).await?;
    quota::storage(app, caller).await?;
    let partner_key = wanted.partner_key.clone();
    let now = app.engine.now();
    let job =
        submit::job(app, caller, Face::V2, wanted, key.map(|key| (key, None)), (time::job_id(now), now))?;
    let response = json(StatusCode::CREATED, &render::job(&view::accepted(&job), None, &[], base, now))?;
    match app.engine.submit(job, partner_key).await {
        Ok(()) => Ok(response),
        Err(SubmitError::DuplicateKey { .. }) => Err(reuse()),
        Err(error) => Err(submit::of_submit_error(error)),
    }
}

/// `GET /jobs/{id}`.
pub(super) async fn get(
    app: App,
    caller: Who,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let seen = view::find(&app, &caller, id).await?;
    show(&app, &seen, &headers).await
}

/// `POST /jobs/{id}/cancel`: the intent is on disk when this answers; a job that ended stays as it is.
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
    let position = view::jobs_before(app, seen).await.map(|before| before + 1);
    let base = view::base_url(app, headers);
    json(StatusCode::OK, &render::job(seen, position, &outputs, &base, app.engine.now()))
}

/// `GET /jobs/{id}/workflow`: the caller's own graph, verbatim.
pub(super) async fn workflow(app: App, caller: Who, Path(id): Path<String>) -> Result<Response, ApiError> {
    let row =
        app.engine.store().job_by_public_id(caller.tenant.id, id).await?.ok_or_else(ApiError::not_found)?;
    let kept = app.engine.store().body(row.id).await?.ok_or_else(ApiError::not_found)?;
    Ok(json_text(StatusCode::OK, format!(r#"{{"workflow":{},"format":"api"}}"#, kept.workflow)))
}

/// `GET /jobs`, newest first (CONTRACT §7).
pub(super) async fn list(
    app: App,
    caller: Who,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let wanted = listing::read(query, "metadata", |name| {
        Some(match name {
            "queued" => &[StoredState::Queued, StoredState::Placed],
            "running" => &[StoredState::Placed],
            "canceling" => &[StoredState::Canceling],
            "succeeded" => &[StoredState::Succeeded],
            "failed" => &[StoredState::Failed, StoredState::Expired],
            "canceled" => &[StoredState::Canceled],
            "expired" => &[],
            _ => return None,
        })
    })?;
    let is_wanted = |seen: &Seen| wanted.has_status(render::status(seen.phase, seen.started_at().is_some()));
    let Page { jobs, next_cursor } = listing::page(&app, &caller, &wanted, is_wanted).await?;

    let base = view::base_url(&app, &headers);
    let now = app.engine.now();
    let items = jobs.iter().map(|(seen, outputs)| render::list_item(seen, outputs, &base, now)).collect();
    json(StatusCode::OK, &List { jobs: items, next_cursor })
}

#[derive(Serialize)]
struct List<'a> {
    jobs: Vec<render::Job<'a>>,
    next_cursor: Option<String>,
}
