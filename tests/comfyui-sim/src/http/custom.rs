//! Routes as custom nodes add them, under `/sim_node`: for those who pass requests on. Like every route they are there under
//! `/api` as well. What is put here lives in the memory of the process.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{OriginalUri, Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, put};
use futures_util::{StreamExt as _, stream};
use serde::Deserialize;
use serde_json::json;

use super::{App, json};
use crate::observed::Record;
use crate::process::Process;

/// One piece of an answer that is made up.
const PIECE: usize = 64 << 10;

pub(super) fn routes() -> Router<Arc<Process>> {
    Router::new()
        .route("/sim_node/echo", any(echo))
        .route("/sim_node/echo/{*rest}", any(echo))
        .route("/sim_node/digest", any(digest))
        .route("/sim_node/memory/{name}", put(remember).get(recall))
        .route("/sim_node/bytes", get(bytes))
        .route("/sim_node/slow", get(slow))
        .route("/sim_node/endless", get(endless))
        .route("/sim_node/page", get(page))
        .route("/sim_node/moved", get(moved))
        .route("/sim_node/refuse", any(refuse))
        .route("/sim_node/deaf", any(deaf))
}

/// What was asked.
async fn echo(method: Method, OriginalUri(uri): OriginalUri, headers: HeaderMap) -> Response {
    let headers: Vec<_> =
        headers.iter().map(|(name, value)| json!([name.as_str(), value.to_str().unwrap_or("?")])).collect();
    json(StatusCode::OK, &json!({"method": method.as_str(), "uri": uri.to_string(), "headers": headers}))
}

/// How long a body is and what it hashes to; it is never held whole.
async fn digest(request: Request) -> Response {
    let mut body = request.into_body().into_data_stream();
    let (mut hasher, mut length) = (blake3::Hasher::new(), 0_u64);
    while let Some(piece) = body.next().await {
        let Ok(piece) = piece else { return StatusCode::BAD_REQUEST.into_response() };
        hasher.update(&piece);
        length += piece.len() as u64;
    }
    json(StatusCode::OK, &json!({"bytes": length, "blake3": hasher.finalize().to_hex().as_str()}))
}

async fn remember(State(process): App, Path(name): Path<String>, body: Bytes) -> StatusCode {
    process.memory().insert(name, body);
    StatusCode::NO_CONTENT
}

async fn recall(State(process): App, Path(name): Path<String>) -> Response {
    let known = process.memory().get(&name).cloned();
    known.map_or_else(|| StatusCode::NOT_FOUND.into_response(), IntoResponse::into_response)
}

#[derive(Deserialize)]
struct Amount {
    #[serde(default)]
    bytes: usize,
    #[serde(default)]
    ms: u64,
}

/// So many bytes, made as they are read.
async fn bytes(State(process): App, Query(amount): Query<Amount>) -> Response {
    let record = Arc::clone(&process.record);
    let pieces = stream::unfold((amount.bytes, record), |(left, record)| async move {
        let size = left.min(PIECE);
        record.count(|seen| seen.made_bytes += size as u64);
        (size > 0).then(|| (Ok::<_, Infallible>(Bytes::from(vec![b'.'; size])), (left - size, record)))
    });
    let length = [(header::CONTENT_LENGTH, HeaderValue::from(amount.bytes as u64))];
    (length, Body::from_stream(pieces)).into_response()
}

/// An answer after a while.
async fn slow(Query(amount): Query<Amount>) -> &'static str {
    tokio::time::sleep(Duration::from_millis(amount.ms)).await;
    "at last"
}

/// An answer without end; it is counted as long as it lasts.
async fn endless(State(process): App, Query(amount): Query<Amount>) -> Response {
    let pause = Duration::from_millis(amount.ms.max(1));
    let held = Held::new(Arc::clone(&process.record));
    let ticks = stream::unfold(held, move |held| async move {
        tokio::time::sleep(pause).await;
        Some((Ok::<_, Infallible>("data: tick\n\n"), held))
    });
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(ticks)).into_response()
}

/// An answer that lasts.
struct Held(Arc<Record>);

impl Held {
    fn new(record: Arc<Record>) -> Self {
        record.count(|seen| seen.endless += 1);
        Held(record)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.count(|seen| seen.endless -= 1);
    }
}

/// A page that acts, and claims the visitor.
async fn page() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html"),
        (header::SET_COOKIE, "darkroom_key=stolen; Path=/"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::LOCATION, "http://127.0.0.1:1/"),
    ];
    (headers, "<script>alert(1)</script>").into_response()
}

/// The way to another route.
async fn moved() -> Response {
    (StatusCode::FOUND, [(header::LOCATION, "/sim_node/echo")]).into_response()
}

/// A refusal in words of its own.
async fn refuse() -> Response {
    json(StatusCode::UNPROCESSABLE_ENTITY, &json!({"mine": "no"}))
}

/// Never an answer; the body is not read.
async fn deaf(State(process): App) -> Response {
    let _held = Held::new(Arc::clone(&process.record));
    std::future::pending().await
}
