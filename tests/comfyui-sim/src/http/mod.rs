//! The HTTP surface: every core route also under `/api` (PROTOCOL §1).

mod custom;
mod history;
mod info;
mod jobs;
mod prompt;
mod queue;
mod sim;
mod upload;
mod view;
mod ws;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::Value;

use crate::process::Process;
use crate::wire;

/// ComfyUI's default `--max-upload-size`; it applies to every body.
pub(crate) const MAX_UPLOAD_BYTES: usize = 104_857_600;

type App = State<Arc<Process>>;

/// All routes of one process.
pub(crate) fn router(process: Arc<Process>) -> Router {
    let jobs = jobs::routes("/api").merge(jobs::routes("/api/api"));
    Router::new()
        .merge(core())
        .nest("/api", core())
        .merge(jobs.layer(middleware::from_fn_with_state(Arc::clone(&process), jobs::unless_absent)))
        .merge(info::unaliased())
        .merge(sim::routes())
        .fallback(|| async { StatusCode::NOT_FOUND })
        .layer(middleware::from_fn(guard))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(process)
}

fn core() -> Router<Arc<Process>> {
    Router::new()
        .route("/ws", get(ws::open))
        .route("/prompt", get(prompt::remaining).post(prompt::submit))
        .route("/queue", get(queue::list).post(queue::change))
        .route("/interrupt", post(queue::interrupt))
        .route("/free", post(queue::free))
        .route("/history", get(history::page).post(history::change))
        .route("/history/{prompt_id}", get(history::one))
        .route("/view", get(view::view))
        .route("/upload/image", post(upload::image))
        .route("/upload/mask", post(upload::mask))
        .merge(info::routes())
        .merge(custom::routes())
}

/// Browser protection and OPTIONS, ahead of every route (PROTOCOL §8.4).
async fn guard(request: Request, next: Next) -> Response {
    if is_foreign(request.headers()) {
        return StatusCode::FORBIDDEN.into_response();
    }
    if request.method() == Method::OPTIONS {
        return StatusCode::OK.into_response();
    }
    next.run(request).await
}

/// A cross-site request, or one to a loopback host from another origin.
fn is_foreign(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if text("sec-fetch-site") == Some("cross-site") {
        return true;
    }
    let (Some(host), Some(origin)) = (text("host"), text("origin")) else { return false };
    let origin = origin.split_once("://").map_or(origin, |(_, host)| host);
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let is_loopback = matches!(name, "localhost" | "127.0.0.1" | "[::1]");
    is_loopback && !origin.eq_ignore_ascii_case(host)
}

/// What aiohttp answers when a handler raises.
fn crash() -> Response {
    let body = "500 Internal Server Error\n\nServer got itself in trouble";
    let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    (StatusCode::INTERNAL_SERVER_ERROR, kind, body).into_response()
}

/// A JSON answer, with `NaN` where the real server has it.
fn json(status: StatusCode, value: &Value) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json; charset=utf-8")];
    (status, kind, wire::text(value)).into_response()
}

/// The whole body, or 413.
async fn read(body: Body) -> Result<Bytes, Response> {
    to_bytes(body, MAX_UPLOAD_BYTES).await.map_err(|_| {
        let text = format!("Maximum request body size {MAX_UPLOAD_BYTES} exceeded.");
        (StatusCode::PAYLOAD_TOO_LARGE, text).into_response()
    })
}

/// The body as JSON, whatever its declared type; 500 when it is none.
async fn read_json(body: Body) -> Result<Value, Response> {
    let bytes = read(body).await?;
    wire::parse(&bytes).ok_or_else(crash)
}
