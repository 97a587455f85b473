//! Works over HTTP: the internal first form, for bearers of the service token only.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::doors::{Access, Door, Table};
use super::{ApiError, AppState, codes};
use crate::domain::{Millis, Output, Work, WorkId, WorkStatus};
use crate::gateway_client::{Class, SubmitJob};

/// Longest user key, in bytes.
const USER_KEY_MAX: usize = 128;

pub(super) fn doors(table: &mut Table) {
    table.add(Door::machine(Access::Service), routes!(create));
    table.add(Door::machine(Access::Service), routes!(read));
}

/// Body of `POST /works`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewWork {
    /// ComfyUI graph in API format; judged by the gateway.
    #[schema(value_type = Object)]
    workflow: Box<RawValue>,
    /// Service level.
    #[serde(default)]
    #[schema(value_type = String, example = "normal")]
    class: Class,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    /// Whose work it is, opaque to us.
    user_key: Option<String>,
}

/// Query of `GET /works/{id}`.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadWork {
    /// Wait this long for the end; capped by configuration.
    #[serde(default)]
    wait_seconds: u32,
}

/// A work as its caller sees it.
#[derive(Serialize, ToSchema)]
pub(super) struct WorkView {
    #[schema(value_type = uuid::Uuid)]
    id: WorkId,
    #[schema(value_type = String, example = "queued")]
    status: WorkStatus,
    job_id: Option<String>,
    user_key: Option<String>,
    revision: i64,
    #[schema(value_type = Option<String>, format = DateTime)]
    created_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    updated_at: Option<Timestamp>,
    #[schema(value_type = Vec<Object>)]
    outputs: Vec<Output>,
    error_code: Option<String>,
    /// True when the gateway could not be asked just now; the rest is what we last knew.
    stale: bool,
}

impl WorkView {
    fn of(work: Work, stale: bool) -> Self {
        Self {
            id: work.id,
            status: work.status,
            job_id: work.job_id,
            user_key: work.user_key,
            revision: work.revision,
            created_at: timestamp(work.created_at),
            updated_at: timestamp(work.updated_at),
            outputs: work.outputs,
            error_code: work.error_code,
            stale,
        }
    }
}

/// Records a work and submits it to the gateway.
#[utoipa::path(post, path = "/works", tag = "works", request_body = NewWork, responses(
    (status = 201, description = "The gateway has it.", body = WorkView),
    (status = 202, description = "Whether the gateway has it is not known yet.", body = WorkView),
    (status = 422, description = "The gateway will never take it; code and message are its own."),
    (status = 429, description = "`queue_full`: the gateway has no room now."),
    (status = 502, description = "`gateway_unauthorized`: our key is wrong.")))]
async fn create(
    State(state): State<AppState>,
    body: Result<Json<NewWork>, JsonRejection>,
) -> Result<impl IntoResponse, ApiError> {
    let Json(new) = body?;
    check(&new)?;
    let job = SubmitJob { class: new.class, labels: new.labels, ..SubmitJob::new(new.workflow) };
    let work = state.works.create(new.user_key, &job).await?;
    let in_doubt = work.status == WorkStatus::Submitting;
    let status = if in_doubt { StatusCode::ACCEPTED } else { StatusCode::CREATED };
    Ok((status, Json(WorkView::of(work, in_doubt))))
}

/// The work, refreshed from the gateway; submits it again if that was in doubt.
#[utoipa::path(get, path = "/works/{id}", tag = "works", params(("id" = uuid::Uuid, Path), ReadWork), responses(
    (status = 200, description = "The work.", body = WorkView),
    (status = 404, description = "There is no such work.")))]
async fn read(
    State(state): State<AppState>,
    id: Result<Path<WorkId>, PathRejection>,
    query: Result<Query<ReadWork>, QueryRejection>,
) -> Result<Json<WorkView>, ApiError> {
    let (Path(id), Query(query)) = (id?, query?);
    let wait = Duration::from_secs(query.wait_seconds.into()).min(state.options.max_wait);
    match state.works.read(id, wait).await? {
        Some(seen) => Ok(Json(WorkView::of(seen.work, seen.is_stale))),
        None => Err(ApiError::of(codes::NOT_FOUND, "there is no such work")),
    }
}

fn check(new: &NewWork) -> Result<(), ApiError> {
    let invalid = |message| Err(ApiError::of(codes::INVALID_REQUEST, message));
    if !new.workflow.get().starts_with('{') {
        return invalid("workflow: an object is expected");
    }
    match &new.user_key {
        Some(key) if key.is_empty() || key.len() > USER_KEY_MAX => {
            invalid("user_key: 1 to 128 bytes are expected")
        }
        _ => Ok(()),
    }
}

/// `None` only for a row with a time no calendar has.
fn timestamp(at: Millis) -> Option<Timestamp> {
    Timestamp::from_millisecond(at).ok()
}
