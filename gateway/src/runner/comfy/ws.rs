//! The socket to one ComfyUI server: opened with an id of its own, always drained, pinged from our side (PROTOCOL §3).

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use reqwest::header;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};

use super::wire::{self, Picture, TextFrame};
use super::{Comfy, ComfyError};

/// The very first message (PROTOCOL §3): without it previews come without their prompt's id.
const FEATURE_FLAGS: &str = r#"{"type":"feature_flags","data":{"supports_preview_metadata":true}}"#;

/// Buffer per socket; the default would be 128 KiB.
const READ_BUFFER_BYTES: usize = 8 << 10;

/// Why a socket is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closed {
    /// It broke or was closed.
    Gone,
    /// A message was over its bound; nothing more can be read.
    Oversize,
}

/// What arrived.
#[derive(Debug)]
pub(crate) enum Frame {
    /// What it tells, and the whole of it as it came.
    Text(TextFrame, Bytes),
    Picture(Picture),
    /// Something that does not concern us; the socket lives.
    Other,
}

/// An open socket.
pub(crate) struct Socket {
    stream: WebSocketStream<reqwest::Upgraded>,
    client_id: String,
    ping_every: Duration,
    dead_after: Duration,
    heard_at: Instant,
}

impl Socket {
    /// Opens a socket under a fresh id and announces what we understand.
    pub(crate) async fn open(
        comfy: &Comfy,
        max_frame_bytes: usize,
        ping_every: Duration,
        dead_after: Duration,
    ) -> Result<Self, ComfyError> {
        let client_id = uuid::Uuid::new_v4().simple().to_string();
        let opening = upgrade(comfy, &client_id);
        let Ok(upgraded) = tokio::time::timeout(dead_after, opening).await else {
            return Err(ComfyError::Unreadable("no answer to /ws in time".into()));
        };
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_message_size(Some(max_frame_bytes))
            .max_frame_size(Some(max_frame_bytes));
        let mut stream = WebSocketStream::from_raw_socket(upgraded?, Role::Client, Some(config)).await;
        let hello = Message::text(FEATURE_FLAGS);
        stream.send(hello).await.map_err(|error| ComfyError::Unreadable(error.to_string()))?;
        Ok(Self { stream, client_id, ping_every, dead_after, heard_at: Instant::now() })
    }

    /// The id that events of our prompts are sent to.
    pub(crate) fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The next frame. Not to be raced: a call that is dropped may lose a ping, never a frame.
    pub(crate) async fn next(&mut self) -> Result<Frame, Closed> {
        loop {
            let Ok(message) = tokio::time::timeout(self.ping_every, self.stream.next()).await else {
                self.ping().await?;
                continue;
            };
            self.heard_at = Instant::now();
            match message {
                Some(Ok(Message::Text(text))) => {
                    let frame = wire::text_frame(text.as_bytes());
                    return Ok(frame.map_or(Frame::Other, |frame| Frame::Text(frame, text.into())));
                }
                Some(Ok(Message::Binary(bytes))) => {
                    return Ok(wire::picture(&bytes).map_or(Frame::Other, Frame::Picture));
                }
                Some(Ok(_)) => {}
                Some(Err(tungstenite::Error::Capacity(_))) => return Err(Closed::Oversize),
                Some(Err(_)) | None => return Err(Closed::Gone),
            }
        }
    }

    async fn ping(&mut self) -> Result<(), Closed> {
        if self.heard_at.elapsed() > self.dead_after {
            return Err(Closed::Gone);
        }
        let sent = self.stream.send(Message::Ping(Bytes::new()));
        match tokio::time::timeout(self.dead_after, sent).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Closed::Gone),
        }
    }
}

/// The HTTP upgrade, over the same client as everything else (so `https` works, and no `Origin` is sent).
async fn upgrade(comfy: &Comfy, client_id: &str) -> Result<reqwest::Upgraded, ComfyError> {
    let key = tungstenite::handshake::client::generate_key();
    let response = comfy
        .request("/ws")
        .query(&[("clientId", client_id)])
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, &key)
        .send()
        .await?;
    let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
    let accepted = response.headers().get(header::SEC_WEBSOCKET_ACCEPT);
    if response.status() != reqwest::StatusCode::SWITCHING_PROTOCOLS
        || accepted.is_none_or(|value| value.as_bytes() != accept.as_bytes())
    {
        return Err(ComfyError::Status { status: response.status(), text: "no WebSocket".into() });
    }
    Ok(response.upgrade().await?)
}
