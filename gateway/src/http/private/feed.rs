//! `GET /v1/events`: the events of a tenant's jobs in the order of their commits, by long poll or as a stream.
//!
//! Nothing is kept for a reader but its cursor, which is the reader's own: it goes on where it was after any restart,
//! on either side. There is one writer, so a cursor that was read has no gap before it.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::Query;
use axum::http::StatusCode;
use axum::http::header::{ACCEPT, HeaderMap, HeaderName};
use axum::response::Response;
use futures_util::StreamExt as _;
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::ToSchema;

use super::super::error::{ApiError, ErrorKind};
use super::super::respond::{event_stream, json_text};
use super::super::state::{App, Shared, StreamPermit};
use super::super::view;
use super::event::{self, Renderer};
use crate::store::{Event, EventKind, EventKinds, EventPage, EventQuery, StoreError};
use crate::tenant::Caller;

/// Events of a page: unless asked otherwise, and at most.
const PAGE: (u32, u32) = (100, 500);
/// A stream says something at least this often; some proxies end silent ones after a minute.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How long a reader of a stream may leave a page unread before it is dropped.
const STALL: Duration = Duration::from_secs(60);

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What a reader asks for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    after: After,
    limit: u32,
    wait: Duration,
    kinds: EventKinds,
}

#[derive(Debug, PartialEq, Eq)]
enum After {
    /// From the oldest that is kept.
    Start,
    /// Only what comes from now on.
    Latest,
    Cursor(i64),
}

/// A page of the feed.
#[derive(ToSchema)]
#[schema(as = EventPage)]
#[expect(dead_code, reason = "its shape is documented; `Reader::page` writes it")]
pub(super) struct Feed<'a> {
    events: Vec<event::Body<'a>>,
    /// What to give as `after` next.
    next: String,
}

/// Events of the tenant's jobs
///
/// In the order of their commits, as a page or, with `Accept: text/event-stream`, as a stream whose ids are cursors.
#[utoipa::path(get, path = "/v1/events", tag = "events",
    params(
        ("after" = Option<String>, Query, description = "`next` of the answer before; `latest`: only what comes from now on; left out: from the oldest that is kept"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 500, description = "Events of a page"),
        ("wait_seconds" = Option<u32>, Query, description = "How long to wait for the first event, within the configured bound"),
        ("types" = Option<String>, Query, description = "Only these, separated by commas"),
        ("Last-Event-ID" = Option<String>, Header, description = "Of a stream: the cursor told last")),
    responses(
        (status = 200, description = "The events.", content((Feed<'static> = "application/json"), (String = "text/event-stream"))),
        (status = 410, description = "`cursor_expired`."),
        (status = 429, description = "`too_many_streams`.")))]
pub(super) async fn events(
    app: App,
    caller: Extension<Arc<Caller>>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let is_stream = wants_stream(&headers);
    let mut wanted = read(query)?;
    if let Some(last) = headers.get(LAST_EVENT_ID).filter(|_| is_stream) {
        wanted.after = cursor(last.to_str().unwrap_or_default())?;
    }
    if wanted.wait > app.limits.feed_wait {
        return Err(ApiError::invalid(format!(
            "wait_seconds must be 0 to {}",
            app.limits.feed_wait.as_secs()
        )));
    }
    let permit = if is_stream || !wanted.wait.is_zero() { Some(app.enter_stream(&caller)?) } else { None };
    let mut reader = Reader::new(&app, &caller, &headers, &wanted).await?;
    match permit {
        Some(permit) if is_stream => stream(reader, permit).await,
        permit => {
            let page = reader.page(Instant::now() + wanted.wait).await?;
            drop(permit);
            Ok(json_text(StatusCode::OK, page))
        }
    }
}

fn wants_stream(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|one| one.split(';').next().is_some_and(|one| one.trim() == "text/event-stream"))
}

fn read(query: Vec<(String, String)>) -> Result<Wanted, ApiError> {
    let mut wanted =
        Wanted { after: After::Start, limit: PAGE.0, wait: Duration::ZERO, kinds: EventKinds::ALL };
    for (name, value) in query {
        match name.as_str() {
            "after" => wanted.after = cursor(&value)?,
            "limit" => {
                wanted.limit = value
                    .parse()
                    .ok()
                    .filter(|limit| (1..=PAGE.1).contains(limit))
                    .ok_or_else(|| ApiError::invalid(format!("limit must be 1 to {}", PAGE.1)))?;
            }
            "wait_seconds" => {
                let seconds = value.parse::<u32>();
                let seconds = seconds.map_err(|_| ApiError::invalid("wait_seconds must be a number"))?;
                wanted.wait = Duration::from_secs(seconds.into());
            }
            "types" => wanted.kinds = kinds(&value)?,
            other => return Err(ApiError::invalid(format!("unknown parameter {other}"))),
        }
    }
    Ok(wanted)
}

fn cursor(text: &str) -> Result<After, ApiError> {
    if text == "latest" {
        return Ok(After::Latest);
    }
    let number = text.parse().ok().filter(|number| *number >= 0);
    number.map(After::Cursor).ok_or_else(|| {
        ApiError::new(ErrorKind::Invalid, "invalid_cursor", "after is not a cursor of this feed")
    })
}

fn kinds(text: &str) -> Result<EventKinds, ApiError> {
    let kind = |name: &str| {
        EventKind::of_name(name.trim())
            .ok_or_else(|| ApiError::invalid(format!("{name:?} is not a type of event")))
    };
    text.split(',').map(kind).collect()
}

/// One reader and where it is.
struct Reader {
    app: Arc<Shared>,
    query: EventQuery,
    base: String,
    bell: watch::Receiver<i64>,
}

/// What is next for a reader.
enum Next {
    Events(Vec<Event>),
    /// Nothing was committed since.
    Nothing,
    /// What followed its cursor is forgotten.
    Expired(i64),
}

impl Reader {
    async fn new(
        app: &Arc<Shared>,
        caller: &Caller,
        headers: &HeaderMap,
        wanted: &Wanted,
    ) -> Result<Self, ApiError> {
        let outbox = app.engine.store().outbox();
        let after = match wanted.after {
            After::Start => None,
            After::Latest => Some(outbox.newest_event().await?),
            After::Cursor(cursor) => Some(cursor),
        };
        let tenant = caller.tenant.id;
        Ok(Self {
            query: EventQuery { tenant, after, kinds: wanted.kinds, limit: wanted.limit },
            base: view::base_url(app, headers),
            bell: outbox.bells().listen(tenant),
            app: app.clone(),
        })
    }

    /// Reads on; the cursor moves over events that are not the reader's as well.
    async fn next(&mut self) -> Result<Next, StoreError> {
        loop {
            // Before the look: what is committed during it rings again.
            self.bell.borrow_and_update();
            match self.app.engine.store().outbox().events(self.query).await? {
                EventPage::Expired { oldest } => return Ok(Next::Expired(oldest)),
                EventPage::Events { events, next, at_head } => {
                    self.query.after = Some(next);
                    if !events.is_empty() {
                        return Ok(Next::Events(events));
                    }
                    if at_head {
                        return Ok(Next::Nothing);
                    }
                }
            }
        }
    }

    /// Waits for news until then; whether there may be any.
    async fn wait(&mut self, until: Instant) -> bool {
        tokio::select! {
            rung = self.bell.changed() => rung.is_ok(),
            () = tokio::time::sleep_until(until) => false,
            () = self.app.closing.cancelled() => false,
        }
    }

    /// A page of a long poll: as soon as there is an event, or empty at `until`.
    async fn page(&mut self, until: Instant) -> Result<String, ApiError> {
        let mut events = Vec::new();
        loop {
            match self.next().await? {
                Next::Expired(oldest) => return Err(expired(oldest)),
                Next::Events(found) => events = found,
                Next::Nothing if self.wait(until).await => continue,
                Next::Nothing => {}
            }
            break;
        }
        let mut renderer = Renderer::new(&self.app.engine, &self.base, &self.app.prices);
        let mut texts = Vec::with_capacity(events.len());
        for event in &events {
            texts.push(renderer.text(event).await?);
        }
        let next = self.query.after.unwrap_or(0);
        Ok(format!("{{\"events\":[{}],\"next\":\"{next}\"}}", texts.join(",")))
    }

    /// Frames of a stream until its reader, or this process, is gone.
    async fn run(mut self, first: Next, frames: mpsc::Sender<Bytes>, _permit: StreamPermit) {
        let mut next = Ok(first);
        loop {
            let (chunk, goes_on) = match next {
                Ok(Next::Events(events)) => match self.frames(&events).await {
                    Ok(chunk) => (chunk, true),
                    Err(error) => return tracing::warn!(%error, "events of a stream not read"),
                },
                // An id alone moves the reader's cursor on and tells it nothing.
                Ok(Next::Nothing) => {
                    (format!(": still here\nid: {}\n\n", self.query.after.unwrap_or(0)), true)
                }
                Ok(Next::Expired(oldest)) => {
                    let body = json!({"code": "cursor_expired", "oldest": oldest.to_string()});
                    (format!("event: error\ndata: {body}\n\n"), false)
                }
                Err(error) => return tracing::warn!(%error, "events of a stream not read"),
            };
            if frames.send_timeout(chunk.into(), STALL).await.is_err() || !goes_on {
                return;
            }
            let heartbeat = Instant::now() + HEARTBEAT;
            next = loop {
                match self.next().await {
                    Ok(Next::Nothing) => {}
                    found => break found,
                }
                tokio::select! {
                    rung = self.wait(heartbeat) => if !rung { break Ok(Next::Nothing) },
                    () = frames.closed() => return,
                }
            };
            if self.app.closing.is_cancelled() {
                return;
            }
        }
    }

    async fn frames(&self, events: &[Event]) -> Result<String, StoreError> {
        let mut renderer = Renderer::new(&self.app.engine, &self.base, &self.app.prices);
        let mut frames = String::new();
        for event in events {
            let text = renderer.text(event).await?;
            // Writing to a string cannot fail.
            let _ = write!(frames, "id: {}\nevent: {}\ndata: {text}\n\n", event.cursor, event.kind.name());
        }
        Ok(frames)
    }
}

/// Opens a stream. One page at most is on its way; a reader that leaves it there for [`STALL`] is dropped, and goes on
/// from its cursor when it comes again.
async fn stream(mut reader: Reader, permit: StreamPermit) -> Result<Response, ApiError> {
    let first = reader.next().await?;
    if let Next::Expired(oldest) = first {
        return Err(expired(oldest));
    }
    let (frames, waiting) = mpsc::channel(1);
    tokio::spawn(reader.run(first, frames, permit));
    Ok(event_stream(Body::from_stream(ReceiverStream::new(waiting).map(Ok::<_, Infallible>))))
}

fn expired(oldest: i64) -> ApiError {
    ApiError::new(ErrorKind::Gone, "cursor_expired", "events after this cursor are forgotten")
        .details(json!({"oldest": oldest.to_string()}))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may")]
    use super::*;

    fn query(text: &str) -> Result<Wanted, ApiError> {
        let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
        read(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    #[test]
    fn a_query_is_read_or_its_fault_is_named() {
        let all = Wanted { after: After::Start, limit: 100, wait: Duration::ZERO, kinds: EventKinds::ALL };
        assert_eq!(query("").unwrap(), all);
        let kinds = [EventKind::Failed, EventKind::Placed].into_iter().collect();
        let wait = Duration::from_secs(5);
        let wanted = Wanted { after: After::Cursor(7), limit: 1, wait, kinds };
        assert_eq!(query("after=7&limit=1&wait_seconds=5&types=job.failed,job.placed").unwrap(), wanted);
        assert_eq!(query("after=latest").unwrap().after, After::Latest);
        for (bad, code) in [
            ("after=-1", "invalid_cursor"),
            ("after=x", "invalid_cursor"),
            ("limit=0", "invalid_request"),
            ("limit=501", "invalid_request"),
            ("wait_seconds=-1", "invalid_request"),
            ("types=job.exploded", "invalid_request"),
            ("types=", "invalid_request"),
            ("colour=red", "invalid_request"),
        ] {
            assert_eq!(query(bad).unwrap_err().code(), code, "{bad}");
        }
    }
}
