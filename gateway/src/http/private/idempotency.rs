//! Keys that replay: a repeat gets the first answer byte for byte, for 24 h; another body under the key is refused
//! (DESIGN §4.3).

use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;

use super::super::error::{ApiError, ErrorKind};
use super::super::respond::json_text;
use super::super::state::Shared;
use crate::store::{Face, NewJob, StoredResponse};
use crate::tenant::Caller;

const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

const CONFLICT: &str = "idempotency_conflict";

/// Keeps the answer with the key of a new job, if it has one.
pub(super) fn keep(job: &mut NewJob, body: &str) {
    if let Some(key) = &mut job.idempotency {
        key.response = Some(StoredResponse { status: StatusCode::CREATED.as_u16(), body: body.to_owned() });
    }
}

/// Whether a submission keeps its pace: without a key one that does not ends here, unread; with one it may be a repeat,
/// whose first answer is owed whatever the pace.
pub(super) fn pace(rate: Result<(), ApiError>, key: Option<&str>) -> Result<Result<(), ApiError>, ApiError> {
    match key {
        Some(_) => Ok(rate),
        None => rate.map(Ok),
    }
}

/// The first answer under the key rather than a failure: a repeat gets it even where the fleet or the queue would
/// refuse the job by now.
pub(super) async fn or_first(
    app: &Shared,
    caller: &Caller,
    submitted: Result<Response, ApiError>,
    key: Option<String>,
    hash: [u8; 32],
) -> Result<Response, ApiError> {
    match (submitted, key) {
        (Err(failure), Some(key)) if failure.code() != CONFLICT => {
            earlier(app, caller, key, hash).await.unwrap_or(Err(failure))
        }
        (submitted, _) => submitted,
    }
}

/// The answer to an earlier submission under this key, if there was one.
async fn earlier(
    app: &Shared,
    caller: &Caller,
    key: String,
    hash: [u8; 32],
) -> Option<Result<Response, ApiError>> {
    let replayed = app.engine.store().replay(caller.tenant.id, Face::Private, key).await.ok()??;
    if replayed.body_hash != hash {
        let message = "the idempotency key was used before, with another body";
        return Some(Err(ApiError::new(ErrorKind::Conflict, CONFLICT, message)));
    }
    Some(replay(replayed.response?))
}

/// Gives a stored answer again.
pub(super) fn replay(first: StoredResponse) -> Result<Response, ApiError> {
    let status = StatusCode::from_u16(first.status).map_err(|error| ApiError::internal(&error))?;
    let mut response = json_text(status, first.body);
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}
