//! `GET /v1/jobs/{id}/events`: the job as it is, then each of its revisions, until the end. The id of an event is the
//! revision it tells; what is not on disk (running, progress, predictions) comes between without one.
//!
//! A stream is a response body and nothing more: no task, no queue.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::{HeaderMap, HeaderName};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::time::Instant;
use tracing::warn;

use super::super::error::ApiError;
use super::super::respond::event_stream;
use super::super::state::{App, Shared};
use super::super::view::{self, Outlook};
use super::follow::Follower;
use super::frames::Told;
use super::jobs::Who;
use super::render::Setting;
use crate::store::OutputRow;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Something is sent at least this often: proxies close what is silent.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// The row of a job is read again after so many quiet keep-alives, so that not even a lost word can keep a stream open.
const RECHECK_EVERY: u32 = 3;

/// How soon a row that cannot be read is tried again.
const RETRY: Duration = Duration::from_millis(250);

/// A prediction is asked for when a job is not over at once …
const ASK_AFTER: Duration = Duration::from_millis(100);

/// … and then this often, while few streams are open …
const ASK_EVERY: Duration = Duration::from_secs(1);

/// … with more of them, so much more rarely that the engine is asked this often a second by all together.
const ASKS_PER_SECOND: u32 = 50;

/// One event of a stream.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "its shape is documented; `frames` writes it")]
pub(super) struct StreamEvent {
    /// The revision that a `job` event tells; others have none.
    id: Option<String>,
    /// `job`, `status`, `progress` or `outlook`.
    event: String,
    /// JSON text: of a `job` event the whole job.
    data: String,
}

/// Follow a job.
///
/// Server-sent events. `job` carries the whole job and has its revision as id; `status` (running, in doubt,
/// collecting), `progress` and `outlook` (position, predicted start and end; at most one a second) have none. The
/// first event is the job as it is; after the `job` event that ends it the stream ends. A reconnect with
/// `Last-Event-ID` begins with the job as it is then; when that id was the job's last, the answer is 204 and there
/// is nothing more to come.
#[utoipa::path(get, path = "/v1/jobs/{id}/events", tag = "jobs",
    params(("Last-Event-ID" = Option<String>, Header, description = "The revision told last")),
    responses(
        (status = 200, description = "The stream.", content_type = "text/event-stream", body = StreamEvent),
        (status = 204, description = "The job's last event was told already."),
        (status = 404, description = "`not_found`."),
        (status = 429, description = "`too_many_streams`.")))]
pub(super) async fn stream(
    app: App,
    caller: Who,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let follower = Follower::open(&app, &caller, id).await?;
    let seen = follower.seen();
    if seen.phase.is_terminal() && last_event(&headers) == Some(seen.row.revision) {
        return Ok(StatusCode::NO_CONTENT.into_response()); // A browser's EventSource comes again after anything else.
    }
    let stream = Stream {
        base: view::base_url(&app, &headers),
        app: app.0.clone(),
        follower,
        told: Told::default(),
        is_new: true,
        ask_at: Instant::now() + ASK_AFTER,
        quiet: 0,
        is_over: false,
    };
    let frames = stream::unfold(Box::new(stream), |mut stream| async move {
        let chunk = stream.next().await?;
        Some((Ok::<_, Infallible>(chunk), stream))
    });
    Ok(event_stream(Body::from_stream(frames)))
}

fn last_event(headers: &HeaderMap) -> Option<u64> {
    headers.get(LAST_EVENT_ID)?.to_str().ok()?.trim().parse().ok()
}

struct Stream {
    app: Arc<Shared>,
    base: String,
    follower: Follower,
    told: Told,
    /// Nothing was sent yet.
    is_new: bool,
    /// When the engine is asked for a prediction next.
    ask_at: Instant,
    /// Keep-alives since the row was read.
    quiet: u32,
    is_over: bool,
}

impl Stream {
    /// The next frames together; `None` after the end.
    async fn next(&mut self) -> Option<Bytes> {
        let mut out = String::new();
        if std::mem::take(&mut self.is_new) {
            self.begin(&mut out).await;
        }
        let keep_alive = Instant::now() + KEEP_ALIVE;
        while !self.is_over {
            let due = self.look(&mut out).await;
            if !out.is_empty() || self.is_over {
                break;
            }
            let wake = due.into_iter().fold(keep_alive.min(self.ask_at), Instant::min);
            let app = self.app.clone();
            tokio::select! {
                () = self.follower.changed() => {}
                () = tokio::time::sleep_until(wake) => {}
                () = app.closing.cancelled() => self.is_over = true,
            }
            let now = Instant::now();
            if now >= self.ask_at {
                self.ask_at = now + self.pace();
                self.ask(&mut out).await;
            }
            if now >= keep_alive {
                self.keep_alive(&mut out).await;
            }
        }
        (!out.is_empty()).then(|| out.into())
    }

    /// The job as it is.
    async fn begin(&mut self, out: &mut String) {
        if self.follower.seen().phase.is_terminal() {
            self.read(out).await;
            // A stream ends without an end of the job when it cannot be read: its client comes again.
            self.is_over = true;
            return;
        }
        self.tell(&[], out);
    }

    /// Tells what is new; returns when to look again, where something is held back until then.
    async fn look(&mut self, out: &mut String) -> Option<Instant> {
        let state = self.follower.state();
        if self.follower.is_behind(&state) {
            self.read(out).await;
            if !self.is_over && out.is_empty() {
                return Some(Instant::now() + RETRY);
            }
        }
        if self.is_over {
            return None;
        }
        if !self.follower.is_of_row(&state) {
            return None; // It is about another attempt, or the row says more.
        }
        self.told.status(&state, out);
        self.told.progress(&state, Instant::now(), out)
    }

    /// Reads the row and tells its revision; the end of the job is the end of the stream.
    async fn read(&mut self, out: &mut String) {
        match self.follower.read().await {
            Ok(outputs) => {
                self.tell(&outputs, out);
                self.is_over |= self.follower.seen().phase.is_terminal();
            }
            Err(failure) => warn!(code = failure.code(), "job of an event stream not read"),
        }
    }

    fn tell(&mut self, outputs: &[OutputRow], out: &mut String) {
        let fleet = self.app.engine.fleet();
        let setting = Setting { base: &self.base, fleet: &fleet, prices: &self.app.prices };
        self.told.job(self.follower.seen(), outputs, &setting, out);
    }

    async fn keep_alive(&mut self, out: &mut String) {
        self.quiet += 1;
        if self.quiet >= RECHECK_EVERY {
            self.quiet = 0;
            self.read(out).await;
        }
        if out.is_empty() {
            out.push_str(": keep-alive\n\n");
        }
    }

    fn pace(&self) -> Duration {
        let open = u32::try_from(self.app.streams.count()).unwrap_or(u32::MAX);
        ASK_EVERY * open.div_ceil(ASKS_PER_SECOND).max(1)
    }

    /// Predictions are worth a question only as long as few ask.
    async fn ask(&mut self, out: &mut String) {
        let app = self.app.clone();
        let Ok(_turn) = app.askers.try_acquire() else { return };
        if let Ok(Some(explanation)) = app.engine.explain(self.follower.job()).await {
            self.told.outlook(Outlook::from(&explanation), out);
        }
    }
}
