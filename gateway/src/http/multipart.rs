//! Multipart bodies, part by part: a file is streamed into the artifact store and hashed on its way, never held whole;
//! all other parts are short texts.

use std::time::{Duration, Instant};

use axum::extract::multipart::{Field, MultipartError};
use axum::http::StatusCode;
use tracing::warn;
use uuid::Uuid;

use super::error::{ApiError, ErrorKind};
use super::state::Shared;
use crate::artifacts::{Artifacts, Upload, Uploaded};

/// Bound of a part beside the file.
const MAX_TEXT_BYTES: usize = 4096;
/// Slower than this an upload is given up, after the time that it may pause.
const LEAST_BYTES_PER_SECOND: u64 = 16 << 10;

/// A body that is not as its route wants it.
pub(super) fn refused(message: &'static str) -> ApiError {
    ApiError::refused("invalid_request", message)
}

/// Stores a file under a fresh key; the row its bytes get, and what was found out about them.
pub(super) async fn take_file(app: &Shared, mut field: Field<'_>) -> Result<(Uuid, Uploaded), ApiError> {
    let blob = Uuid::now_v7();
    let mut upload = app.artifacts.upload(&format!("uploads/{blob}"), app.limits.max_asset_bytes).await?;
    match pour(&mut field, &mut upload, app.limits.upload_idle_timeout).await {
        Ok(()) => Ok((blob, upload.finish().await?)),
        Err(error) => {
            upload.abort().await;
            Err(error)
        }
    }
}

async fn pour(field: &mut Field<'_>, upload: &mut Upload, idle: Duration) -> Result<(), ApiError> {
    let began = Instant::now();
    let mut received = 0;
    while let Some(chunk) = in_time(idle, field.chunk()).await? {
        received += chunk.len() as u64;
        if began.elapsed() > idle + Duration::from_secs(received / LEAST_BYTES_PER_SECOND) {
            return Err(ApiError::timed_out());
        }
        upload.write(chunk).await?;
    }
    Ok(())
}

/// A part that is a short text.
pub(super) async fn text(mut field: Field<'_>, idle: Duration) -> Result<String, ApiError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = in_time(idle, field.chunk()).await? {
        if bytes.len() + chunk.len() > MAX_TEXT_BYTES {
            return Err(refused("a part beside the file is too large"));
        }
        bytes.extend_from_slice(&chunk);
    }
    String::from_utf8(bytes).map_err(|_| refused("a part beside the file is not UTF-8"))
}

/// What a body has to give, within the time it may pause.
pub(super) async fn in_time<T>(
    idle: Duration,
    waiting: impl Future<Output = Result<T, MultipartError>>,
) -> Result<T, ApiError> {
    let read = tokio::time::timeout(idle, waiting).await.map_err(|_| ApiError::timed_out())?;
    read.map_err(|error| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            ApiError::new(ErrorKind::TooLarge, "payload_too_large", "the body is too large")
        }
        _ => ApiError::invalid("the multipart body cannot be read"),
    })
}

/// Removes a file that is not needed after all.
pub(super) async fn drop_bytes(artifacts: &Artifacts, key: &str) {
    if let Err(error) = artifacts.delete(key).await {
        warn!(error = %error, "unused upload not deleted");
    }
}
