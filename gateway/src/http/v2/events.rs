//! `GET /jobs/{id}/events`: the snapshot, then what changes, until the end (CONTRACT §6).
//!
//! A stream is a response body and nothing more: no task, no queue. It watches first and reads the row afterwards, so
//! nothing that happens in between is missed; now and then it reads the row again, so that not even a lost word can
//! keep it open.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::http::HeaderMap;
use axum::response::Response;
use futures_util::stream;
use tokio::time::Instant;
use tracing::warn;
use uuid::Uuid;

use super::super::error::ApiError;
use super::super::respond::event_stream;
use super::super::state::{App, Shared, StreamPermit};
use super::super::view::{self, Seen};
use super::frames::{Next, Told, frame};
use super::render;
use crate::engine::Watch;
use crate::store::OutputRow;
use crate::tenant::Caller;

/// Clients give a stream up after 45 s without a byte (CONTRACT §4).
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// The row of a job is read again after so many quiet keep-alives.
const RECHECK_EVERY: u32 = 3;

/// A position is asked for only when a job really waits: most streams are opened on jobs about to start.
const ASK_AFTER: Duration = Duration::from_millis(100);

/// How soon a row that cannot be read is tried again.
const RETRY: Duration = Duration::from_millis(250);

/// Opens a stream.
pub(super) async fn stream(
    app: App,
    caller: Extension<Arc<Caller>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (watch, seen) = watch(&app, &caller, id).await?;
    let permit = app.enter_stream(&caller)?;
    let stream = Stream {
        base: view::base_url(&app, &headers),
        app: app.0.clone(),
        watch,
        job: seen.row.id,
        told: Told::default(),
        first: Some(seen),
        ask_at: Instant::now() + ASK_AFTER,
        quiet: 0,
        is_over: false,
        _permit: permit,
    };
    let frames = stream::unfold(Box::new(stream), |mut stream| async move {
        let chunk = stream.next().await?;
        Some((Ok::<_, Infallible>(chunk), stream))
    });
    Ok(event_stream(Body::from_stream(frames)))
}

/// Watches, then reads.
async fn watch(app: &Shared, caller: &Caller, public_id: String) -> Result<(Watch, Seen), ApiError> {
    let store = app.engine.store();
    let mut row =
        store.job_by_public_id(caller.tenant.id, public_id).await?.ok_or_else(ApiError::not_found)?;
    // Only now is it known to be the caller's; an entry made for a foreign id would cost memory. An entry that was
    // there already tells of every change; where there was none, the job may have ended since its row was read.
    let mut watch = app.engine.watch(row.id);
    let is_followed = watch.state().phase.is_some();
    if !row.state.is_terminal() && !is_followed {
        row = store.job(row.id).await?.ok_or_else(ApiError::not_found)?;
    }
    Ok((watch, Seen::new(row, None)))
}

struct Stream {
    app: Arc<Shared>,
    base: String,
    watch: Watch,
    job: Uuid,
    told: Told,
    /// What the row said when the stream was opened; taken by the first look.
    first: Option<Seen>,
    /// When the position in the queue is asked for next.
    ask_at: Instant,
    /// Keep-alives since the row was read.
    quiet: u32,
    is_over: bool,
    _permit: StreamPermit,
}

impl Stream {
    /// The next frames together; `None` after the end.
    async fn next(&mut self) -> Option<Bytes> {
        let mut out = String::new();
        if let Some(seen) = self.first.take() {
            self.snapshot(&seen, &mut out).await;
        }
        let keep_alive = Instant::now() + KEEP_ALIVE;
        while !self.is_over {
            let due = match self.look(&mut out).await {
                Next::Later(due) => due,
                Next::Ended => Some(Instant::now() + RETRY),
            };
            if !out.is_empty() || self.is_over {
                break;
            }
            let wake = due.into_iter().fold(keep_alive.min(self.ask_at), Instant::min);
            tokio::select! {
                () = self.watch.changed() => {}
                () = tokio::time::sleep_until(wake) => {}
                () = self.app.closing.cancelled() => self.is_over = true,
            }
            let now = Instant::now();
            if now >= self.ask_at {
                self.ask_at = now + KEEP_ALIVE;
                self.ask_position(&mut out).await;
            }
            if now >= keep_alive {
                self.keep_alive(&mut out).await;
            }
        }
        (!out.is_empty()).then(|| out.into())
    }

    async fn snapshot(&mut self, seen: &Seen, out: &mut String) {
        if seen.phase.is_terminal() {
            self.read_end(out).await;
            // A stream ends without an end of the job when it cannot be read: its client comes again (CONTRACT §6).
            self.is_over = true;
            return;
        }
        let state = self.watch.state();
        let phase = state.phase.filter(|phase| !phase.is_terminal()).unwrap_or(seen.phase);
        self.told.begin(&state, render::status(phase, state.started_at.is_some()), out);
    }

    /// Tells what is new; at the end of the job its outputs and its last status.
    async fn look(&mut self, out: &mut String) -> Next {
        let next = self.told.live(&self.watch.state(), Instant::now(), out);
        if next == Next::Ended {
            self.read_end(out).await;
        }
        next
    }

    async fn read_end(&mut self, out: &mut String) {
        match self.app.engine.store().job_with_outputs(self.job).await {
            Ok(Some((row, outputs))) if row.state.is_terminal() => {
                self.finish(&Seen::new(row, None), &outputs, out);
            }
            Ok(Some(_)) => {}
            Ok(None) => {
                self.told.status("expired", out); // Past its retention.
                self.is_over = true;
            }
            Err(error) => warn!(error = %error, "job of an event stream not read"),
        }
    }

    fn finish(&mut self, seen: &Seen, outputs: &[OutputRow], out: &mut String) {
        for row in outputs {
            let output = render::output(row, &seen.row.public_id, &self.base, self.app.engine.now());
            frame("output", &output, out);
        }
        self.told.status(render::status_of(seen), out);
        self.is_over = true;
    }

    async fn keep_alive(&mut self, out: &mut String) {
        self.quiet += 1;
        if self.quiet >= RECHECK_EVERY {
            self.quiet = 0;
            self.read_end(out).await;
        }
        if out.is_empty() {
            out.push_str(": keep-alive\n\n");
        }
    }

    /// Positions are worth a question only as long as few ask.
    async fn ask_position(&mut self, out: &mut String) {
        if !self.told.waits() {
            return;
        }
        let app = self.app.clone();
        let Ok(_turn) = app.askers.try_acquire() else { return };
        if let Ok(Some(explanation)) = app.engine.explain(self.job).await
            && let Some(before) = explanation.position
        {
            self.told.position(before + 1, out);
        }
    }
}
