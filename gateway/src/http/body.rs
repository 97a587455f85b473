//! JSON bodies, read within bounds: of one body, and of all bodies that are being worked on.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use futures_util::StreamExt as _;
use tokio::sync::OwnedSemaphorePermit;

use super::error::{ApiError, ErrorKind};
use super::state::Shared;

/// Bodies up to this size are judged on the spot; larger ones would hold up other requests of the same thread.
pub(super) const INLINE_BYTES: usize = 256 << 10;

/// Bodies up to this size are not worth counting.
const UNCOUNTED_BYTES: usize = 64 << 10;

/// A body, and its share of the memory for bodies.
pub(super) struct Read {
    pub(super) bytes: Bytes,
    _share: Option<OwnedSemaphorePermit>,
}

/// Reads a JSON body.
pub(super) async fn read(app: &Shared, request: Request) -> Result<Read, ApiError> {
    let (parts, body) = request.into_parts();
    require_json(&parts.headers)?;
    let limit = app.limits.max_body_bytes;
    let declared = declared_length(&parts.headers);
    if declared.is_some_and(|length| length > limit) {
        return Err(ApiError::too_large(limit as u64));
    }
    let share = match declared.unwrap_or(limit) {
        small if small <= UNCOUNTED_BYTES => None,
        large => Some(share_of(app, large).await?),
    };
    Ok(Read { bytes: collect(body, limit).await?, _share: share })
}

/// Reads a JSON body and makes something of it.
pub(super) async fn read_as<T: Send + 'static>(
    app: &Arc<Shared>,
    request: Request,
    with: fn(&Shared, &[u8]) -> Result<T, ApiError>,
) -> Result<T, ApiError> {
    let read = read(app, request).await?;
    make(app, read, with).await
}

/// Makes something of a body, off the request threads when it is large.
pub(super) async fn make<T: Send + 'static>(
    app: &Arc<Shared>,
    read: Read,
    with: fn(&Shared, &[u8]) -> Result<T, ApiError>,
) -> Result<T, ApiError> {
    if read.bytes.len() <= INLINE_BYTES {
        return with(app, &read.bytes);
    }
    let app = app.clone();
    let made = tokio::task::spawn_blocking(move || with(&app, &read.bytes)).await;
    made.map_err(|error| ApiError::internal(&error))?
}

fn require_json(headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(given) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let essence = given.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(ApiError::new(
        ErrorKind::UnsupportedMedia,
        "unsupported_media_type",
        "the body must be application/json",
    ))
}

fn declared_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn share_of(app: &Shared, bytes: usize) -> Result<OwnedSemaphorePermit, ApiError> {
    let all = app.limits.max_bodies_bytes >> 10;
    let permits = u32::try_from((bytes >> 10).min(all)).unwrap_or(u32::MAX);
    let share = app.bodies.clone().acquire_many_owned(permits).await;
    share.map_err(|error| ApiError::internal(&error))
}

async fn collect(body: Body, limit: usize) -> Result<Bytes, ApiError> {
    let mut stream = body.into_data_stream();
    let mut first = Bytes::new();
    let mut rest: Vec<u8> = Vec::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| ApiError::invalid("the body broke off"))?;
        if first.len().max(rest.len()) + chunk.len() > limit {
            return Err(ApiError::too_large(limit as u64));
        }
        if rest.is_empty() && first.is_empty() {
            first = chunk; // Most bodies are one chunk: no copy.
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&chunk);
        }
    }
    Ok(if rest.is_empty() { first } else { rest.into() })
}
