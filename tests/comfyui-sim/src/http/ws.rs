//! `/ws` (PROTOCOL §3).

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{ConnectInfo, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use uuid::Uuid;

use super::App;
use crate::frames;
use crate::listener::Connection;
use crate::process::Process;
use crate::sockets::Opened;

/// Longer messages from the client close the socket with 1009.
const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// What is still read, so that the client gets to see why; beyond this the connection is reset.
const READ_BYTES_MAX: usize = 64 << 20;
const TOO_BIG: u16 = 1009;

/// Opens a socket.
pub(super) async fn open(
    State(process): App,
    ConnectInfo(connection): ConnectInfo<Connection>,
    Query(query): Query<HashMap<String, String>>,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Response {
    let Ok(upgrade) = upgrade else {
        let text = "No WebSocket UPGRADE hdr: None\n Can \"Upgrade\" only to \"WebSocket\".";
        return (StatusCode::BAD_REQUEST, text).into_response();
    };
    let given = query.get("clientId").filter(|id| !id.is_empty()).cloned();
    let sid = given.unwrap_or_else(|| Uuid::new_v4().simple().to_string());
    upgrade
        .max_message_size(READ_BYTES_MAX)
        .max_frame_size(READ_BYTES_MAX)
        .on_upgrade(move |socket| serve(process, connection, sid, socket))
}

async fn serve(process: Arc<Process>, connection: Connection, sid: String, socket: WebSocket) {
    process.record.count(|counts| counts.sockets += 1);
    let opened = process.sockets.open(&sid, connection, greeting(&process, &sid));
    let number = opened.number;
    exchange(&process, &sid, socket, opened).await;
    process.sockets.close(&sid, number);
}

/// The first frames: how much is queued, and the node running for this client if any.
fn greeting(process: &Process, sid: &str) -> Vec<Message> {
    let remaining = process.queue().remaining();
    let mut frames = vec![frames::event("status", &frames::status(remaining, Some(sid)))];
    let current = process.current();
    if let Some(node) = &current.node
        && current.client.as_deref() == Some(sid)
    {
        frames.push(frames::event("executing", &json!({"node": node})));
    }
    frames
}

/// Writes queued frames and reads the client until either side ends.
async fn exchange(process: &Process, sid: &str, socket: WebSocket, mut opened: Opened) {
    let (mut writer, mut reader) = socket.split();
    let mut first = true;
    loop {
        tokio::select! {
            frame = opened.frames.recv() => {
                let Some(frame) = frame else { return };
                if writer.send(frame).await.is_err() {
                    return;
                }
            }
            message = reader.next() => match message {
                Some(Ok(message)) if message_bytes(&message) > MESSAGE_BYTES_MAX => {
                    let close = CloseFrame { code: TOO_BIG, reason: "".into() };
                    let _ = writer.send(Message::Close(Some(close))).await;
                    return;
                }
                Some(Ok(Message::Text(text))) => {
                    if first && let Ok(message @ Value::Object(_)) = serde_json::from_str(&text) {
                        first = false;
                        negotiate(process, sid, &opened, &message);
                    }
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {}
            }
        }
    }
}

fn message_bytes(message: &Message) -> usize {
    match message {
        Message::Text(text) => text.len(),
        Message::Binary(bytes) => bytes.len(),
        _ => 0,
    }
}

/// Heeds `feature_flags`, which only counts as the first JSON message.
fn negotiate(process: &Process, sid: &str, opened: &Opened, message: &Value) {
    if message["type"] != "feature_flags" {
        return;
    }
    let supported = message["data"]["supports_preview_metadata"] == true;
    process.sockets.announce_metadata(sid, opened.number, supported);
    let _ = opened.direct.try_send(frames::event("feature_flags", &frames::features()));
}
