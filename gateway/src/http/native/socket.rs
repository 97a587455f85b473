//! `/ws`: one socket of a client (PROTOCOL §3). It is greeted, told of its jobs, and reminded now and then that we are
//! there; one that does not read is closed and finds all it missed in queue and history.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::Query;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::super::error::ApiError;
use super::super::state::{App, StreamPermit};
use super::desk::{Desk, Outgoing, Owner, Seat, text};
use super::frames;
use crate::tenant::Caller;

/// Longest message of a client, bytes: all that is understood is `feature_flags`.
const MAX_MESSAGE_BYTES: usize = 64 << 10;
/// Buffers of a socket, bytes: there may be thousands.
const READ_BUFFER_BYTES: usize = 4 << 10;
/// Longest `clientId`, bytes.
const MAX_CLIENT_BYTES: usize = 256;

/// `GET /ws?clientId=…`.
pub(super) async fn open(
    app: App,
    caller: Extension<Arc<Caller>>,
    Query(query): Query<BTreeMap<String, String>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    let upgrade = upgrade.map_err(|_| ApiError::invalid("this route wants a WebSocket"))?;
    let permit = app.enter_stream(&caller)?;
    let given = query.get("clientId").filter(|id| (1..=MAX_CLIENT_BYTES).contains(&id.len())).cloned();
    let client = given.unwrap_or_else(|| Uuid::new_v4().simple().to_string());
    let talk = Talk {
        desk: app.native.clone(),
        owner: (caller.tenant.id, client.into()),
        features: frames::features(app.limits.max_asset_bytes),
        closing: app.closing.clone(),
        _permit: permit,
    };
    let upgrade = upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_message_size(MAX_MESSAGE_BYTES)
        .max_frame_size(MAX_MESSAGE_BYTES);
    Ok(upgrade.on_upgrade(move |socket| talk.run(socket)))
}

/// One socket while it is open.
struct Talk {
    desk: Desk,
    owner: Owner,
    features: Value,
    closing: CancellationToken,
    _permit: StreamPermit,
}

impl Talk {
    async fn run(self, socket: WebSocket) {
        let mut seat = self.desk.sit_down(&self.owner);
        self.exchange(socket, &mut seat).await;
        self.desk.leave(&self.owner, seat.number);
        // Whoever waits to give it a frame need not wait any longer.
        seat.gone.cancel();
    }

    async fn exchange(&self, mut socket: WebSocket, seat: &mut Seat) {
        let settings = self.desk.settings();
        let every = Duration::from_secs(settings.heartbeat_seconds);
        let patience = Duration::from_secs(settings.socket_patience_seconds);
        let mut quiet_until = Instant::now() + every;
        let mut heard_json = false;
        loop {
            let outgoing: Outgoing = tokio::select! {
                biased;
                () = seat.gone.cancelled() => break,
                () = self.closing.cancelled() => break,
                Some(frame) = seat.frames.recv() => frame,
                heard = socket.next() => match heard {
                    None | Some(Err(_) | Ok(Message::Close(_))) => return,
                    Some(Ok(message)) => match self.answer(seat.number, &message, &mut heard_json) {
                        Some(answer) => (answer, None),
                        None => continue,
                    },
                },
                () = tokio::time::sleep_until(quiet_until) => {
                    (text(frames::status(self.desk.left_of(&self.owner), None)), None)
                }
            };
            let (frame, _share) = outgoing;
            let sent = tokio::select! {
                sent = tokio::time::timeout(patience, socket.send(frame)) => sent,
                () = seat.gone.cancelled() => break,
            };
            if !matches!(sent, Ok(Ok(()))) {
                return;
            }
            quiet_until = Instant::now() + every;
        }
        let _ = tokio::time::timeout(Duration::from_secs(1), socket.send(Message::Close(None))).await;
    }

    /// `feature_flags` counts as the first JSON message of a socket only; everything else is not understood.
    fn answer(&self, number: u64, message: &Message, heard_json: &mut bool) -> Option<Message> {
        let Message::Text(said) = message else { return None };
        let said: Value = serde_json::from_str(said).ok().filter(Value::is_object)?;
        if std::mem::replace(heard_json, true) || said["type"] != "feature_flags" {
            return None;
        }
        let metadata = said["data"]["supports_preview_metadata"] == true;
        self.desk.announce(&self.owner, number, metadata);
        Some(text(frames::text("feature_flags", &self.features)))
    }
}
