//! Server-sent events, frame by frame.

use std::time::Duration;

use anyhow::{Context as _, bail};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use serde_json::Value;

/// Longest silence on a stream; keep-alives come every 15 s (CONTRACT §4).
const SILENCE: Duration = Duration::from_secs(45);

/// One frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its name.
    pub name: String,
    /// Its data.
    pub data: Value,
}

/// An open stream.
pub struct Events {
    chunks: BoxStream<'static, reqwest::Result<Vec<u8>>>,
    buffer: Vec<u8>,
}

impl Events {
    /// Reads the body of an answer.
    pub fn new(response: reqwest::Response) -> Self {
        let chunks = response.bytes_stream().map(|chunk| chunk.map(|bytes| bytes.to_vec())).boxed();
        Self { chunks, buffer: Vec::new() }
    }

    /// The next event; `None` when the server ended the stream between two frames.
    ///
    /// # Errors
    /// When the stream breaks, is silent for too long, or holds anything that is not an event.
    pub async fn next(&mut self) -> anyhow::Result<Option<Event>> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
                let frame: Vec<u8> = self.buffer.drain(..end + 2).collect();
                match parse(std::str::from_utf8(&frame)?)? {
                    Some(event) => return Ok(Some(event)),
                    None => continue,
                }
            }
            match tokio::time::timeout(SILENCE, self.chunks.next()).await.context("a silent stream")? {
                Some(chunk) => self.buffer.extend(chunk.context("a broken stream")?),
                None if self.buffer.is_empty() => return Ok(None),
                None => bail!("the stream ended within a frame"),
            }
        }
    }

    /// All events until the server ends the stream.
    ///
    /// # Errors
    /// As [`Events::next`].
    pub async fn rest(mut self) -> anyhow::Result<Vec<Event>> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await? {
            events.push(event);
        }
        Ok(events)
    }
}

/// Reads one frame; `None` for a comment.
fn parse(frame: &str) -> anyhow::Result<Option<Event>> {
    let (mut name, mut data) = (None, None);
    for line in frame.lines().filter(|line| !line.is_empty() && !line.starts_with(':')) {
        match line.split_once(": ") {
            Some(("event", text)) => name = Some(text.to_owned()),
            Some(("data", text)) => data = Some(serde_json::from_str(text)?),
            _ => bail!("unexpected line {line:?} on an event stream"),
        }
    }
    match (name, data) {
        (Some(name), Some(data)) => Ok(Some(Event { name, data })),
        (None, None) => Ok(None),
        _ => bail!("half an event: {frame:?}"),
    }
}
