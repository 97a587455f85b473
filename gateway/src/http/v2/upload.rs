//! `POST /assets`: a multipart body streamed into the artifact store, hashed on its way, never held whole
//! (CONTRACT §5). Parts may come in any order, so nothing is minted before the last one was read.

use std::sync::Arc;

use axum::Extension;
use axum::extract::multipart::{Multipart, MultipartRejection};
use axum::http::header::{CONTENT_LENGTH, HeaderMap};
use axum::response::Response;
use uuid::Uuid;

use super::super::error::{ApiError, ErrorKind};
use super::super::multipart::{drop_bytes, in_time, refused, take_file, text};
use super::super::state::{App, Shared};
use super::super::{body, quota, view};
use super::assets::{Said, minted, read_hash};
use crate::artifacts::Uploaded;
use crate::store::{AssetAnswer, AssetCall, NewAsset};
use crate::tenant::Caller;

/// Bounds of the parts beside the file.
const MAX_PARTS: usize = 64;

/// What has been read of a body.
#[derive(Default)]
struct Parts {
    said: Said,
    expected_hash: Option<String>,
    file: Option<(Uuid, Uploaded)>,
}

/// Takes a file.
pub(super) async fn upload(
    app: App,
    caller: Extension<Arc<Caller>>,
    headers: HeaderMap,
    multipart: Result<Multipart, MultipartRejection>,
) -> Result<Response, ApiError> {
    let base = view::base_url(&app, &headers);
    let multipart = multipart.map_err(|_| {
        ApiError::new(
            ErrorKind::UnsupportedMedia,
            "unsupported_media_type",
            "the body must be multipart/form-data",
        )
    })?;
    body::require_plain(&headers)?;
    let _place = app.uploads.enter(&caller, app.limits.max_uploads_per_key).ok_or_else(|| {
        ApiError::new(ErrorKind::Busy, "too_many_uploads", "too many uploads at once with this key")
            .retry_after(1)
    })?;
    let largest = app.limits.max_asset_bytes;
    let declared = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let _room = quota::room(&app, &caller, declared.unwrap_or(largest).min(largest)).await?;
    let mut parts = Parts::default();
    let read = read_all(&app, multipart, &mut parts).await;
    let stored = parts.file.as_ref().map(|(_, file)| file.object_key.clone());
    let outcome = match read {
        Ok(()) => mint(&app, &caller, parts, &base).await,
        Err(error) => Err(error),
    };
    let (response, is_kept) = match outcome {
        Ok((response, is_kept)) => (Ok(response), is_kept),
        // Unknown whether the record is there: the bytes stay, and what nobody names is swept.
        Err(error) if error.kind() == ErrorKind::Unavailable => (Err(error), true),
        Err(error) => (Err(error), false),
    };
    if let (Some(key), false) = (stored, is_kept) {
        drop_bytes(&app.artifacts, &key).await;
    }
    response
}

async fn read_all(app: &Shared, mut multipart: Multipart, parts: &mut Parts) -> Result<(), ApiError> {
    let idle = app.limits.upload_idle_timeout;
    for _ in 0..MAX_PARTS {
        let Some(field) = in_time(idle, multipart.next_field()).await? else { return Ok(()) };
        let name = field.name().unwrap_or_default().to_owned();
        match name.as_str() {
            "file" if parts.file.is_some() => return Err(refused("there is more than one file")),
            "file" => parts.file = Some(take_file(app, field).await?),
            "content_type" => parts.said.content_type = Some(text(field, idle).await?),
            "file_path" => parts.said.file_path = Some(text(field, idle).await?),
            "expected_hash" => parts.expected_hash = Some(text(field, idle).await?),
            "tags" => parts.said.tags.push(text(field, idle).await?),
            "expires_in" => {
                let seconds = text(field, idle).await?.trim().parse();
                parts.said.expires_in = Some(seconds.map_err(|_| refused("expires_in must be an integer"))?);
            }
            _ => {
                text(field, idle).await?;
            }
        }
    }
    Err(refused("there are too many parts"))
}

/// Makes the record; tells whether the uploaded object is the one that is kept.
async fn mint(app: &Shared, caller: &Caller, parts: Parts, base: &str) -> Result<(Response, bool), ApiError> {
    let (blob, file) = parts.file.ok_or_else(|| refused("file is missing"))?;
    if parts.said.file_path.is_none() || parts.said.content_type.is_none() {
        return Err(refused("content_type and file_path are required"));
    }
    let record = parts.said.into_record(caller, app.engine.now())?;
    if let Some(expected) = parts.expected_hash {
        let expected =
            read_hash(&expected).ok_or_else(|| refused("expected_hash must be blake3: and 64 hex digits"))?;
        if expected != file.hash {
            return Err(ApiError::new(ErrorKind::Conflict, "hash_mismatch", "the bytes have another hash"));
        }
    }
    let asset =
        NewAsset { record, hash: file.hash, size_bytes: file.size_bytes, blob, object_key: file.object_key };
    match app.engine.assets(AssetCall::Mint(asset)).await? {
        AssetAnswer::Minted { asset, keep, .. } => {
            app.metrics.asset_uploaded(asset.size_bytes);
            Ok((minted(app, &asset, keep, keep, base)?, keep))
        }
        _ => Err(ApiError::internal(&"an upload was answered as something else")),
    }
}
