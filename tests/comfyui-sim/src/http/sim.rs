//! `/_sim`: the simulator's own controls, no part of ComfyUI.
//!
//! `POST /_sim/faults` takes a [`Fault`] as JSON; `DELETE` ends all; `GET` lists the settings in force.
//! `GET /_sim/observed` tells what was seen by this process.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;

use super::{App, json, read};
use crate::faults::Fault;
use crate::process::Process;

pub(super) fn routes() -> Router<Arc<Process>> {
    Router::new()
        .route("/_sim/faults", get(list).post(apply).delete(clear))
        .route("/_sim/observed", get(observed))
}

async fn list(State(process): App) -> Response {
    json(StatusCode::OK, &json!(process.faults.state()))
}

async fn apply(State(process): App, body: Body) -> Response {
    let body = match read(body).await {
        Ok(body) => body,
        Err(refused) => return refused,
    };
    match serde_json::from_slice::<Fault>(&body) {
        Ok(fault) => {
            process.faults.apply(fault);
            list(State(process)).await
        }
        Err(error) => json(StatusCode::BAD_REQUEST, &json!({"error": error.to_string()})),
    }
}

async fn clear(State(process): App) -> Response {
    process.faults.clear();
    StatusCode::OK.into_response()
}

async fn observed(State(process): App) -> Response {
    json(StatusCode::OK, &json!(process.record.snapshot(process.sockets.open_count())))
}
