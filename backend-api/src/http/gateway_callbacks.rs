//! What the gateway sends: events of jobs, and questions for places of files. Both count by their signature over the
//! bytes that came.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use tracing::warn;
use utoipa_axum::routes;

use super::door::{Access, Door};
use super::doors::Table;
use super::error::unauthorized;
use super::{ApiError, AppState, codes};
use crate::clock::now;
use crate::error_chain::chain;
use crate::gateway_client::{Event, TicketRequest, Tickets};
use crate::generation::Generation;

const SIGNATURE: &str = "darkroom-signature";

pub(super) fn doors(table: &mut Table) {
    table.add(Door::machine(Access::Signed), routes!(event));
    table.add(Door::machine(Access::Signed), routes!(tickets));
}

/// An event of a job. One that is not about anything of ours is taken down as well.
#[utoipa::path(post, path = "/callbacks/gateway", tag = "callbacks",
    request_body(content = Object, description = "`docs/WEBHOOKS.md`."), responses(
    (status = 204, description = "Taken down."),
    (status = 400, description = "It is no event."),
    (status = 401, description = "Not signed by the gateway, or not now.")))]
async fn event(
    State(state): State<AppState>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, ApiError> {
    let (generation, event) = believed::<Event>(&state, &headers, &body?)?;
    generation.told_by_gateway(&event).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Places for the files of an attempt. The same question has the same places.
#[utoipa::path(post, path = "/internal/upload-tickets", tag = "callbacks",
    request_body(content = Object, description = "`docs/DELIVERIES.md`."), responses(
    (status = 200, description = "One ticket for each file.", body = Object),
    (status = 400, description = "It is no such question."),
    (status = 401, description = "Not signed by the gateway, or not now."),
    (status = 503, description = "WeChat gives no tickets now: ask again.")))]
async fn tickets(
    State(state): State<AppState>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Tickets>, ApiError> {
    let (generation, request) = believed::<TicketRequest>(&state, &headers, &body?)?;
    Ok(Json(generation.places(&request).await?))
}

/// The body, if the gateway signed it. The signature is looked at before anything in it is read.
fn believed<'a, T: DeserializeOwned>(
    state: &'a AppState,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(&'a Generation, T), ApiError> {
    let generation = state.generation.as_ref().ok_or_else(unauthorized)?;
    let header = headers.get(SIGNATURE).and_then(|value| value.to_str().ok()).ok_or_else(unauthorized)?;
    generation.gateway_keys().check(header, body, now())?;
    let read = serde_json::from_slice(body).map_err(|error| {
        warn!(error = %chain(&error), "word of the gateway is unreadable");
        ApiError::of(codes::INVALID_REQUEST, "this is not what the gateway sends")
    });
    Ok((generation, read?))
}
