//! Many jobs in one request: where they stand, and their cancellation.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use futures_util::future::try_join_all;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::super::error::ApiError;
use super::super::respond::json;
use super::super::state::{App, Shared};
use super::super::time::at;
use super::super::view::Seen;
use super::super::{body, submit};
use super::jobs::Who;
use super::render::{self, JobStatus};
use super::submission::malformed;
use crate::link::message::Progress;
use crate::store::{JobRow, ListQuery, StoredState};
use crate::tenant::Caller;

/// Where a job stands, in short.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Standing<'a> {
    id: &'a str,
    #[schema(value_type = JobStatus)]
    status: &'static str,
    revision: u64,
    attempt: u32,
    started_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    progress: Option<&'a Progress>,
    /// `error.code` of a job that failed.
    error_code: Option<&'a str>,
}

impl<'a> Standing<'a> {
    /// Of a job at one moment.
    pub(super) fn of(seen: &'a Seen) -> Self {
        let row = &seen.row;
        Self {
            id: &row.public_id,
            status: render::status(seen.phase),
            revision: row.revision,
            attempt: row.attempt,
            started_at: seen.started_at().map(at),
            ended_at: row.ended_at.map(at),
            progress: seen.progress(),
            error_code: row.error.as_ref().map(|error| error.code.as_str()),
        }
    }
}

/// Which jobs are asked about.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Ids {
    #[schema(max_items = 100)]
    ids: Vec<String>,
}

/// Where many jobs stand.
#[derive(Serialize, ToSchema)]
pub(super) struct Standings<'a> {
    jobs: Vec<Standing<'a>>,
    /// Ids that name no job of the caller's.
    unknown: Vec<&'a str>,
}

fn read_ids(app: &Shared, bytes: &[u8]) -> Result<Vec<String>, ApiError> {
    let Ids { ids } = serde_json::from_slice(bytes).map_err(|error| malformed(&error))?;
    bounded(app, ids)
}

/// Each id once, and not too many of them.
fn bounded(app: &Shared, ids: Vec<String>) -> Result<Vec<String>, ApiError> {
    let most = app.limits.max_batch_jobs;
    if ids.len() > most {
        return Err(ApiError::invalid(format!("ids must be at most {most}")));
    }
    let mut known = BTreeSet::new();
    Ok(ids.into_iter().filter(|id| known.insert(id.clone())).collect())
}

/// Where many jobs stand, in one request.
///
/// For backends that poll: one look at the store for all of them.
#[utoipa::path(post, path = "/v1/jobs/status", tag = "jobs", request_body = Ids, responses(
    (status = 200, description = "In the order asked for.", body = Standings<'static>)))]
pub(super) async fn status(app: App, caller: Who, request: Request) -> Result<Response, ApiError> {
    let ids = body::read_as(&app, request, read_ids).await?;
    let seen = look_up(&app, &caller, &ids).await?;
    let unknown = unknown(&ids, &seen);
    json(StatusCode::OK, &Standings { jobs: seen.iter().map(Standing::of).collect(), unknown })
}

/// The caller's jobs among these, in their order.
pub(super) async fn look_up(app: &Shared, caller: &Caller, ids: &[String]) -> Result<Vec<Seen>, ApiError> {
    // The board first, then the rows: see `Seen::new`.
    let live: Vec<_> = ids.iter().map(|id| app.engine.live(Uuid::try_parse(id).ok()?)).collect();
    let rows = app.engine.store().jobs_by_public_ids(caller.tenant.id, ids.to_vec()).await?;
    let mut rows: BTreeMap<String, JobRow> =
        rows.into_iter().map(|row| (row.public_id.clone(), row)).collect();
    let found = ids.iter().zip(live).filter_map(|(id, live)| Some(Seen::new(rows.remove(id)?, live)));
    Ok(found.collect())
}

fn unknown<'a>(ids: &'a [String], seen: &[Seen]) -> Vec<&'a str> {
    let known: BTreeSet<&str> = seen.iter().map(|seen| seen.row.public_id.as_str()).collect();
    ids.iter().map(String::as_str).filter(|id| !known.contains(id)).collect()
}

/// Which jobs are to be canceled: those of these ids, or the open ones that match all of the rest.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Cancellation {
    #[schema(max_items = 100)]
    ids: Option<Vec<String>>,
    labels: Option<BTreeMap<String, String>>,
    user: Option<String>,
    batch: Option<Uuid>,
}

/// What became of a cancellation.
#[derive(Serialize, ToSchema)]
pub(super) struct Canceled<'a> {
    /// As they are now; those that had ended stayed as they were.
    jobs: Vec<Standing<'a>>,
    /// Ids that name no job of the caller's.
    unknown: Vec<&'a str>,
    /// There may be more that match: ask again.
    more: bool,
}

fn read_cancellation(app: &Shared, bytes: &[u8]) -> Result<Cancellation, ApiError> {
    let mut asked: Cancellation = serde_json::from_slice(bytes).map_err(|error| malformed(&error))?;
    let is_filtered = asked.labels.as_ref().is_some_and(|labels| !labels.is_empty())
        || asked.user.is_some()
        || asked.batch.is_some();
    if asked.ids.is_some() == is_filtered {
        return Err(ApiError::invalid("either ids, or at least one of labels, user and batch"));
    }
    if let Some(labels) = &asked.labels {
        submit::check_labels(labels).map_err(|reason| ApiError::refused("labels_invalid", reason))?;
    }
    asked.ids = asked.ids.map(|ids| bounded(app, ids)).transpose()?;
    Ok(asked)
}

/// Cancel many jobs.
///
/// By ids, or by labels, user and batch: then the newest open ones of those that match, so many in one request
/// (`http.max_batch_jobs`); `more` says to ask again. All intents are on disk when this answers.
#[utoipa::path(post, path = "/v1/jobs/cancel", tag = "jobs", request_body = Cancellation, responses(
    (status = 200, description = "What became of them.", body = Canceled<'static>),
    (status = 422, description = "`labels_invalid`.")))]
pub(super) async fn cancel(app: App, caller: Who, request: Request) -> Result<Response, ApiError> {
    let asked = body::read_as(&app, request, read_cancellation).await?;
    let (ids, more) = match asked.ids {
        Some(ids) => (ids, false),
        None => matching(&app, &caller, asked).await?,
    };
    let open: Vec<Uuid> = look_up(&app, &caller, &ids)
        .await?
        .iter()
        .filter(|seen| !seen.phase.is_terminal())
        .map(|seen| seen.row.id)
        .collect();
    try_join_all(open.iter().map(|job| app.engine.cancel(*job))).await?;
    let seen = look_up(&app, &caller, &ids).await?;
    let unknown = unknown(&ids, &seen);
    json(StatusCode::OK, &Canceled { jobs: seen.iter().map(Standing::of).collect(), unknown, more })
}

/// Open jobs that match, and whether there may be more.
async fn matching(
    app: &Arc<Shared>,
    caller: &Caller,
    asked: Cancellation,
) -> Result<(Vec<String>, bool), ApiError> {
    let most = app.limits.max_batch_jobs;
    let query = ListQuery {
        tenant: caller.tenant.id,
        states: vec![StoredState::Queued, StoredState::Placed],
        labels: asked.labels.unwrap_or_default(),
        user: asked.user,
        batch: asked.batch,
        limit: u32::try_from(most).unwrap_or(u32::MAX).saturating_add(1),
        ..ListQuery::default()
    };
    let mut listed = app.engine.store().list(query).await?;
    let more = listed.rows.len() > most || listed.more_before.is_some();
    listed.rows.truncate(most);
    Ok((listed.rows.into_iter().map(|row| row.public_id).collect(), more))
}
