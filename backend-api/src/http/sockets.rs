//! Live progress: `POST /sockets` gives a ticket, `GET /ws` takes it. The socket tells of each change of the person's
//! artworks; what the client sends is not looked at.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Query, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::warn;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::artworks::ArtworkView;
use super::door::{Access, Door, Rate, Side};
use super::doors::Table;
use super::error::unauthorized;
use super::{ApiError, AppState, Caller, codes};
use crate::error_chain::chain;
use crate::generation::{AdmitError, Live, Watch};

/// Longest message of a client, and buffers of a socket, in bytes.
const MAX_MESSAGE_BYTES: usize = 4 << 10;
/// A client that takes nothing for this long is gone.
const SEND_WITHIN: Duration = Duration::from_secs(10);
/// Something is sent at least this often, so that nobody between us takes the socket for dead.
const PING_EVERY: Duration = Duration::from_secs(20);

pub(super) fn doors(table: &mut Table) {
    table.add(Door::user(Rate::Write), routes!(ticket));
    table.add(Door { access: Access::Signed, side: Side::App, rate: Rate::Read }, routes!(open));
}

/// Opens one socket.
#[derive(Serialize, ToSchema)]
struct SocketTicket {
    /// For `GET /ws?ticket=…`, once.
    ticket: String,
    /// Seconds for which it is good.
    expires_in: u64,
}

/// What opens a socket.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Presented {
    /// Of `POST /sockets`.
    #[serde(default)]
    ticket: String,
}

/// What a socket tells.
#[derive(Serialize)]
struct News {
    artwork: ArtworkView,
}

/// A ticket for one socket.
#[utoipa::path(post, path = "/sockets", tag = "generation", responses(
    (status = 200, description = "The ticket.", body = SocketTicket),
    (status = 503, description = "`generation_not_configured`.")))]
async fn ticket(State(state): State<AppState>, caller: Caller) -> Result<Json<SocketTicket>, ApiError> {
    let (ticket, lifetime) = live(&state)?.ticket(caller.user);
    Ok(Json(SocketTicket { ticket, expires_in: lifetime.as_secs() }))
}

/// A socket that tells of your artworks as they change: `{"artwork": …}`, as `GET /artworks/{id}` shows it.
#[utoipa::path(get, path = "/ws", tag = "generation", params(Presented), responses(
    (status = 101, description = "It is open."),
    (status = 400, description = "No WebSocket was asked for."),
    (status = 401, description = "The ticket is not good, or not any more."),
    (status = 503, description = "`too_many_sockets`: poll instead.")))]
async fn open(
    State(state): State<AppState>,
    query: Result<Query<Presented>, QueryRejection>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    let Query(Presented { ticket }) = query?;
    let live = state.live.clone().filter(|_| !ticket.is_empty()).ok_or_else(unauthorized)?;
    // A platform's look at the port comes without an upgrade, and uses up no ticket.
    let upgrade = upgrade
        .map_err(|_| ApiError::of(codes::INVALID_REQUEST, "this route wants a WebSocket"))?
        .read_buffer_size(MAX_MESSAGE_BYTES)
        .write_buffer_size(0)
        .max_message_size(MAX_MESSAGE_BYTES)
        .max_frame_size(MAX_MESSAGE_BYTES);
    let watch = live.admit(&ticket).await.map_err(|error| match error {
        AdmitError::Ticket => unauthorized(),
        AdmitError::Full => ApiError::of(codes::TOO_MANY_SOCKETS, "too many sockets are open"),
        AdmitError::Database(error) => error.into(),
    })?;
    Ok(upgrade.on_upgrade(move |socket| talk(socket, live, watch)))
}

fn live(state: &AppState) -> Result<&Live, ApiError> {
    let missing = || ApiError::of(codes::GENERATION_NOT_CONFIGURED, "no pictures are made here");
    state.live.as_ref().ok_or_else(missing)
}

/// Until its time is over, the client goes, or we do.
async fn talk(mut socket: WebSocket, live: Live, mut watch: Watch) {
    let mut looks = interval(live.options().look_every);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let end = Instant::now() + live.options().socket_for;
    let mut last_sent = Instant::now();
    let mut bell = watch.bell();
    loop {
        tokio::select! {
            () = live.ended() => break,
            () = tokio::time::sleep_until(end) => break,
            received = socket.recv() => match received {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {}
            },
            Ok(()) = bell.changed() => looks.reset_immediately(),
            _ = looks.tick() => match tell(&mut socket, &mut watch).await {
                Some(0) if last_sent.elapsed() < PING_EVERY => {}
                Some(0) if send(&mut socket, Message::Ping(Vec::new().into())).await => last_sent = Instant::now(),
                Some(1..) => last_sent = Instant::now(),
                _ => return,
            },
        }
    }
    let _ = timeout(SEND_WITHIN, socket.send(Message::Close(None))).await; // who does not hear it is gone anyway
}

/// Sends what is new; `None` when the client is gone.
async fn tell(socket: &mut WebSocket, watch: &mut Watch) -> Option<usize> {
    let news = match watch.news().await {
        Ok(news) => news,
        Err(error) => {
            warn!(error = %chain(&error), "a socket has no news");
            return Some(0);
        }
    };
    let count = news.len();
    for seen in news {
        let text = serde_json::to_string(&News { artwork: ArtworkView::of(seen) }).ok()?;
        if !send(socket, Message::Text(text.into())).await {
            return None;
        }
    }
    Some(count)
}

async fn send(socket: &mut WebSocket, message: Message) -> bool {
    matches!(timeout(SEND_WITHIN, socket.send(message)).await, Ok(Ok(())))
}
