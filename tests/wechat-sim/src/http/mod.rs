//! The sockets: requests come in, are written down, go wrong where told to, and are answered.

mod call;
mod reply;
mod sim;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;

pub(crate) use call::{Call, decoded};
pub(crate) use reply::Reply;
pub(crate) use sim::setup;

use crate::faults::Trouble;
use crate::platform::Platform;
use crate::{pay, wx};

/// Longest body taken: the platform's own bound for binary requests.
const BODY_MAX_BYTES: usize = 20 << 20;
/// Size of the pieces of an answer that does not end.
const ENDLESS_BYTES: usize = 64 << 10;

/// Which door a request came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// The public hosts: a token or a signature is wanted.
    Public,
    /// The side-car inside the container: it vouches for the caller.
    Container,
}

/// All of one door.
pub(crate) fn router(platform: Arc<Platform>, door: Door) -> Router {
    Router::new()
        .fallback(move |State(platform): State<Arc<Platform>>, request: Request| async move {
            serve(platform, door, request).await
        })
        .with_state(platform)
}

async fn serve(platform: Arc<Platform>, door: Door, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_MAX_BYTES).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let call = Call::new(head, body, door);
    if call.path.starts_with("/sim/") {
        return sim::answer(&platform, &call).await;
    }
    if let Some(path) = call.path.strip_prefix("/cdn/") {
        return platform.cos.download(&call.method, path, &call.query);
    }
    let trouble = platform.faults.of_request(&call.line());
    let reply = match instead(&platform, &call, trouble.as_ref()) {
        Some(response) => {
            platform.record.saw(call.line(), &call.body, response.0, "told".to_owned());
            return response.1;
        }
        None => carry_out(&platform, &call, trouble.as_ref()),
    };
    platform.record.saw(call.line(), &call.body, reply.status, reply.code.clone());
    after(reply, trouble).await
}

fn carry_out(platform: &Arc<Platform>, call: &Call, trouble: Option<&Trouble>) -> Reply {
    if call.path.starts_with("/v3/") {
        pay::answer(platform, call, trouble)
    } else {
        wx::answer(platform, call)
    }
}

/// What a fault answers in place of carrying the request out, with the status to write down.
fn instead(platform: &Arc<Platform>, call: &Call, trouble: Option<&Trouble>) -> Option<(u16, Response)> {
    match trouble? {
        Trouble::DropBefore => Some((0, broken())),
        Trouble::Status { status } => {
            let code = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            Some((*status, code.into_response()))
        }
        Trouble::Endless => Some((200, endless())),
        Trouble::Wx { errcode } => Some((200, wx::told(*errcode).into_response())),
        Trouble::Pay { status, code } if call.path.starts_with("/v3/") => {
            Some((*status, pay::told(platform, *status, code).into_response()))
        }
        _ => None,
    }
}

async fn after(reply: Reply, trouble: Option<Trouble>) -> Response {
    match trouble {
        Some(Trouble::Slow { ms }) => tokio::time::sleep(Duration::from_millis(ms)).await,
        Some(Trouble::DropAfter) => return broken(),
        Some(Trouble::Garbage) => return "<html>it works!</html>".into_response(),
        _ => {}
    }
    reply.into_response()
}

/// A body that breaks off at once takes the connection with it.
fn broken() -> Response {
    let broken = stream::iter([Err::<Bytes, _>(std::io::Error::other("the connection broke"))]);
    ([("content-length", "9")], Body::from_stream(broken)).into_response()
}

fn endless() -> Response {
    let piece = Bytes::from_static(&[b' '; ENDLESS_BYTES]);
    let pieces = stream::repeat_with(move || Ok::<_, std::io::Error>(piece.clone()));
    ([("content-type", "application/json")], Body::from_stream(pieces)).into_response()
}
