//! A job as its owner may see it: the row and the live entry put together, the same for all faces.

use std::time::Duration;

use axum::http::header::HOST;
use axum::http::{HeaderMap, HeaderValue};
use scheduler::{Explanation, Phase};
use uuid::Uuid;

use super::error::ApiError;
use super::forwarded;
use super::state::Shared;
use crate::engine::LiveState;
use crate::link::message::Progress;
use crate::store::{JobRow, NewJob, OutputRow, StoredState};
use crate::tenant::Caller;

/// A job as it is the moment it is accepted.
pub(super) fn accepted(job: &NewJob) -> Seen {
    let row = JobRow {
        id: job.id,
        public_id: job.public_id.clone(),
        tenant: job.tenant,
        face: job.face,
        state: StoredState::Queued,
        revision: 1,
        class: job.plan.class,
        attempt: 0,
        instance: None,
        faults: 0,
        losses: 0,
        labels: job.labels.clone(),
        user: job.user.clone(),
        template: job.template.clone(),
        retry_of: job.retry_of.clone(),
        batch: job.batch,
        due_at: job.plan.due_at,
        accepted_at: job.accepted_at,
        started_at: None,
        ended_at: None,
        start_deadline: job.plan.start_deadline,
        deadline: job.plan.deadline,
        expires_at: job.plan.deadline.saturating_add(job.retention_ms),
        error: None,
        used: None,
    };
    Seen { row, phase: Phase::Queued, live: None }
}

/// How long a poll may wait for the engine to count a position.
const POSITION_PATIENCE: Duration = Duration::from_millis(100);

/// What lies before an open job, as far as it can be told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Outlook {
    /// Jobs before it, while it waits.
    pub(super) position: Option<u64>,
    /// Milliseconds since the epoch.
    pub(super) predicted_start: Option<i64>,
    /// Milliseconds since the epoch.
    pub(super) predicted_end: Option<i64>,
}

impl From<&Explanation> for Outlook {
    fn from(explanation: &Explanation) -> Self {
        Self {
            position: explanation.position,
            predicted_start: explanation.predicted_start.map(|at| at.0),
            predicted_end: explanation.predicted_end.map(|at| at.0),
        }
    }
}

/// A job at one moment.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) row: JobRow,
    pub(super) phase: Phase,
    /// What is known beyond the row; of the row's own attempt only.
    pub(super) live: Option<LiveState>,
}

impl Seen {
    /// Puts together a live entry and a row that was read *after* it: what the row persists (queued, placed,
    /// canceling, the ends) is at least as new as the entry; what it does not (running and so on) only the entry
    /// knows.
    pub(super) fn new(row: JobRow, live: Option<LiveState>) -> Self {
        let live = live.filter(|live| live.attempt == row.attempt && live.attempt > 0);
        let (phase, live) = match row.state {
            StoredState::Queued => (Phase::Queued, None),
            StoredState::Succeeded => (Phase::Succeeded, None),
            StoredState::Failed => (Phase::Failed, None),
            StoredState::Canceled => (Phase::Canceled, None),
            StoredState::Expired => (Phase::Expired, None),
            StoredState::Canceling => (Phase::Canceling, live),
            StoredState::Placed => {
                let known = live.as_ref().and_then(|live| live.phase);
                let phase = known.filter(|phase| is_on_instance(*phase)).unwrap_or(Phase::Dispatching);
                (phase, live)
            }
        };
        Self { row, phase, live }
    }

    /// Past its retention: only a tombstone is left. A job whose deadline passed says so in its error.
    pub(super) fn is_forgotten(&self) -> bool {
        self.phase == Phase::Expired && self.row.error.is_none()
    }

    /// When it started to run.
    pub(super) fn started_at(&self) -> Option<i64> {
        self.row.started_at.or_else(|| self.live.as_ref().and_then(|live| live.started_at))
    }

    /// How far it is.
    pub(super) fn progress(&self) -> Option<&Progress> {
        self.live.as_ref().and_then(|live| live.progress.as_ref())
    }

    /// Where it is.
    pub(super) fn instance(&self) -> Option<&str> {
        self.live.as_ref().and_then(|live| live.instance.as_deref())
    }
}

fn is_on_instance(phase: Phase) -> bool {
    match phase {
        Phase::Dispatching | Phase::Running | Phase::InDoubt | Phase::Collecting | Phase::Canceling => true,
        Phase::Queued | Phase::Succeeded | Phase::Failed | Phase::Canceled | Phase::Expired => false,
    }
}

/// The caller's job of this public id; 404 for unknown and foreign ones alike.
pub(super) async fn find(app: &Shared, caller: &Caller, public_id: String) -> Result<Seen, ApiError> {
    // The board first, then the row: see `Seen::new`. Most public ids are the internal ones.
    let guess = Uuid::try_parse(&public_id).ok();
    let live = guess.and_then(|id| app.engine.live(id));
    let store = app.engine.store();
    let row = store.job_by_public_id(caller.tenant.id, public_id).await?.ok_or_else(ApiError::not_found)?;
    if guess == Some(row.id) || row.state.is_terminal() {
        return Ok(Seen::new(row, live));
    }
    let live = app.engine.live(row.id);
    let row = store.job(row.id).await?.ok_or_else(ApiError::not_found)?;
    Ok(Seen::new(row, live))
}

/// Asks for the end of the caller's job and shows how it stands then.
pub(super) async fn cancel(app: &Shared, caller: &Caller, public_id: String) -> Result<Seen, ApiError> {
    let seen = find(app, caller, public_id).await?;
    if seen.phase.is_terminal() {
        return Ok(seen);
    }
    let id = seen.row.id;
    app.engine.cancel(id).await?;
    let live = app.engine.live(id);
    let row = app.engine.store().job(id).await?.ok_or_else(ApiError::not_found)?;
    Ok(Seen::new(row, live))
}

/// The outputs of a job; there are none before its end.
pub(super) async fn outputs(app: &Shared, row: &JobRow) -> Result<Vec<OutputRow>, ApiError> {
    if row.state != StoredState::Succeeded {
        return Ok(Vec::new());
    }
    Ok(app.engine.store().outputs(row.id).await?)
}

/// Jobs before this one, where that can be told quickly.
pub(super) async fn jobs_before(app: &Shared, seen: &Seen) -> Option<u64> {
    if seen.phase != Phase::Queued {
        return None;
    }
    let asked = tokio::time::timeout(POSITION_PATIENCE, app.engine.explain(seen.row.id)).await;
    asked.ok()?.ok()??.position
}

/// What lies before an open job, where that can be told quickly.
pub(super) async fn outlook(app: &Shared, seen: &Seen) -> Outlook {
    if !matches!(seen.phase, Phase::Queued | Phase::Dispatching | Phase::Running) {
        return Outlook::default();
    }
    let asked = tokio::time::timeout(POSITION_PATIENCE, app.engine.explain(seen.row.id)).await;
    match asked {
        Ok(Ok(Some(explanation))) => Outlook::from(&explanation),
        _ => Outlook::default(),
    }
}

/// Base of absolute URLs: configured, or the request's own host and scheme. What proxies say of them is in the headers
/// only where the proxy is trusted.
pub(super) fn base_url(app: &Shared, headers: &HeaderMap) -> String {
    if let Some(url) = &app.public_url {
        return url.trim_end_matches('/').to_owned();
    }
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(byte);
    let plain = |host: &HeaderValue| !host.is_empty() && host.as_bytes().iter().all(is_plain);
    let host = headers.get(forwarded::HOST).or_else(|| headers.get(HOST)).filter(|host| plain(host));
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let scheme = match headers.get(forwarded::PROTO).map(HeaderValue::as_bytes) {
        Some(b"https") => "https",
        Some(b"http") => "http",
        _ if app.doors.tls => "https",
        _ => "http",
    };
    format!("{scheme}://{host}")
}

#[cfg(test)]
#[path = "view_tests.rs"]
pub(super) mod tests;
