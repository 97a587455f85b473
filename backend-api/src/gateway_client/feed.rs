//! The feed of events as a stream whose ids are cursors (`docs/WEBHOOKS.md`, "The feed").

use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Method, Response};
use tokio::time::timeout;

use super::sse::{Frame, Frames};
use super::transport::Opened;
use super::{AskError, Event, GatewayClient, TransportError};

/// A stream is read for this long, then opened again.
const FEED_FOR: Duration = Duration::from_secs(3_600);
/// The gateway says something every ten seconds; one that is silent for this long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// What moves a job on; that it was accepted is known from the reply to its submission.
const STEPS: &str = "job.placed,job.requeued,job.succeeded,job.failed,job.canceled,job.expired";
/// The media type of a stream.
const STREAM: &str = "text/event-stream";

/// An open stream. Dropping it closes it.
pub struct Feed {
    response: Response,
    frames: Frames,
    cursor: Option<String>,
}

/// What the stream says.
#[derive(Debug)]
pub enum Word {
    /// Something was committed.
    Event(Box<Event>),
    /// Nothing, up to the cursor.
    Still,
    /// What followed the cursor is forgotten; the stream is over.
    Expired,
}

impl GatewayClient {
    /// Opens the feed after `cursor`; without one it tells what happens from now on.
    ///
    /// # Errors
    /// [`AskError::Refused`] with `cursor_expired` when the cursor is too old; else see [`AskError`].
    pub async fn feed(&self, cursor: Option<&str>) -> Result<Feed, AskError> {
        let request = self.transport.request(Method::GET, &["v1", "events"]).header(ACCEPT, STREAM);
        let request = request.query(&[("types", STEPS)]);
        let request = match cursor {
            Some(cursor) => request.header("last-event-id", cursor),
            None => request.query(&[("after", "latest")]),
        };
        match self.transport.open(request.timeout(FEED_FOR)).await? {
            Opened::Stream(response) if is_stream(&response) => {
                let frames = Frames::new(self.transport.max_reply_bytes());
                Ok(Feed { response, frames, cursor: cursor.map(str::to_owned) })
            }
            Opened::Stream(_) => Err(TransportError::NoStream.into()),
            Opened::Refused(reply) => {
                Err(AskError::from_refusal(reply.status, reply.retry_after, reply.refusal()))
            }
        }
    }
}

impl Feed {
    /// From where to go on.
    pub fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    /// The next word; `None` when the gateway has closed the stream.
    ///
    /// # Errors
    /// When the stream breaks, falls silent or cannot be read; open another one.
    pub async fn next(&mut self) -> Result<Option<Word>, TransportError> {
        loop {
            if let Some(frame) = self.frames.next() {
                return self.read(frame).map(Some);
            }
            let chunk =
                timeout(SILENCE_MAX, self.response.chunk()).await.map_err(|_| TransportError::Silent)?;
            match chunk.map_err(reqwest::Error::without_url)? {
                Some(chunk) => self.frames.push(&chunk)?,
                None => return Ok(None),
            }
        }
    }

    fn read(&mut self, frame: Frame) -> Result<Word, TransportError> {
        let word = match frame.event.as_str() {
            "error" => Word::Expired,
            _ if frame.data.is_empty() => Word::Still,
            _ => Word::Event(serde_json::from_str(&frame.data).map_err(TransportError::Unreadable)?),
        };
        self.cursor = frame.id.or(self.cursor.take());
        Ok(word)
    }
}

fn is_stream(response: &Response) -> bool {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.split(';').next().is_some_and(|kind| kind.trim() == STREAM))
}
