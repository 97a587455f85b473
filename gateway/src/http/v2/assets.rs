//! Assets without their bytes: mint from a hash, look up, get, delete (CONTRACT §5).

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, Request};
use axum::http::StatusCode;
use axum::http::header::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use uuid::Uuid;

use super::super::error::{ApiError, ErrorKind};
use super::super::respond::json;
use super::super::state::{App, Shared};
use super::super::{body, time, view};
use super::render;
use crate::store::{AssetAnswer, AssetCall, AssetRow, NewRecord};
use crate::tenant::Caller;

type Who = Extension<Arc<Caller>>;

/// Bounds of what a caller says of an asset.
const MAX_PATH_BYTES: usize = 512;
const MAX_MEDIA_TYPE_BYTES: usize = 128;
const MAX_TAGS: usize = 32;
const MAX_TAG_BYTES: usize = 64;
const EXPIRES_IN: std::ops::RangeInclusive<u64> = 60..=604_800;

/// What a caller says of an asset.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) file_path: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) tags: Vec<String>,
    pub(super) expires_in: Option<u64>,
}

impl Said {
    /// The record of it, once it is found to be within bounds.
    pub(super) fn into_record(self, caller: &Caller, now: i64) -> Result<NewRecord, ApiError> {
        let invalid = |message: &'static str| ApiError::refused("invalid_request", message);
        let file_path = self.file_path.unwrap_or_default();
        if !is_good_path(&file_path) {
            return Err(invalid("file_path must be a relative name of at most 512 bytes without `..`"));
        }
        if file_path.split('/').next() == Some("models") {
            return Err(invalid("model files cannot be uploaded"));
        }
        let content_type = self.content_type.unwrap_or_else(|| "application/octet-stream".into());
        if !is_media_type(&content_type) {
            return Err(invalid("content_type must be a media type"));
        }
        if self.tags.len() > MAX_TAGS || self.tags.iter().any(|tag| tag.len() > MAX_TAG_BYTES) {
            return Err(invalid("at most 32 tags of at most 64 bytes"));
        }
        if self.expires_in.is_some_and(|seconds| !EXPIRES_IN.contains(&seconds)) {
            return Err(invalid("expires_in must be 60 to 604800 seconds"));
        }
        let ends = |seconds| now.saturating_add(time::millis(Duration::from_secs(seconds)));
        Ok(NewRecord {
            id: Uuid::now_v7(),
            tenant: caller.tenant.id,
            file_path,
            content_type,
            tags: self.tags,
            created_at: now,
            expires_at: self.expires_in.map(ends),
        })
    }
}

fn is_good_path(path: &str) -> bool {
    let is_good_part = |part: &str| !matches!(part, "" | "." | "..");
    (1..=MAX_PATH_BYTES).contains(&path.len())
        && path.split('/').all(is_good_part)
        && !path.chars().any(|c| c.is_control() || c == '\\')
}

fn is_media_type(text: &str) -> bool {
    let is_token = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    let essence = text.split(';').next().unwrap_or_default().trim();
    text.len() <= MAX_MEDIA_TYPE_BYTES
        && text.bytes().all(|byte| (0x20..0x7f).contains(&byte))
        && essence.split_once('/').is_some_and(|(kind, sub)| is_token(kind) && is_token(sub))
}

/// The hex digits of `blake3:<64 hex digits>`, in lower case.
pub(super) fn read_hash(text: &str) -> Option<String> {
    let (algorithm, digits) = text.trim().split_once(':')?;
    let is_good = algorithm.eq_ignore_ascii_case("blake3")
        && digits.len() == 64
        && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_good.then(|| digits.to_ascii_lowercase())
}

#[derive(Deserialize)]
struct FromHash {
    hash: String,
    file_path: Option<String>,
    content_type: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
    expires_in: Option<u64>,
}

/// `POST /assets/from-hash`: a record over bytes the tenant holds.
pub(super) async fn from_hash(app: App, caller: Who, request: Request) -> Result<Response, ApiError> {
    let base = view::base_url(&app, request.headers());
    let wanted: FromHash = body::read_as(&app, request, |_, bytes| {
        serde_json::from_slice(bytes)
            .map_err(|error| ApiError::invalid(format!("the body is not as expected: {error}")))
    })
    .await?;
    let hash = read_hash(&wanted.hash)
        .ok_or_else(|| ApiError::refused("invalid_request", "hash must be blake3: and 64 hex digits"))?;
    let said = Said {
        file_path: Some(wanted.file_path.unwrap_or_else(|| hash.clone())),
        content_type: wanted.content_type,
        tags: wanted.tags,
        expires_in: wanted.expires_in,
    };
    let asset = said.into_record(&caller, app.engine.now())?;
    match app.engine.assets(AssetCall::FromHash { asset, hash }).await? {
        AssetAnswer::Minted { asset, fresh, .. } => minted(&app, &asset, fresh, false, &base),
        _ => Err(blob_not_found()),
    }
}

fn blob_not_found() -> ApiError {
    ApiError::new(ErrorKind::NotFound, "blob_not_found", "there are no bytes of this hash")
}

/// 201 for something new, 200 for something that was there.
pub(super) fn minted(
    app: &Shared,
    asset: &AssetRow,
    is_new: bool,
    created: bool,
    base: &str,
) -> Result<Response, ApiError> {
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    json(status, &render::asset(asset, Some(created), base, app.engine.now()))
}

/// `HEAD /assets/by-hash/{hash}`: 200 exactly when a mint right after it would succeed.
pub(super) async fn by_hash(app: App, caller: Who, Path(hash): Path<String>) -> Result<StatusCode, ApiError> {
    let hash = read_hash(&hash).ok_or_else(blob_not_found)?;
    let holds = app.engine.store().holds(caller.tenant.id, hash).await?;
    if holds { Ok(StatusCode::OK) } else { Err(blob_not_found()) }
}

/// `GET /assets/{id}`.
pub(super) async fn get(
    app: App,
    caller: Who,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let asset = find(&app, &caller, &id).await?;
    let base = view::base_url(&app, &headers);
    json(StatusCode::OK, &render::asset(&asset, None, &base, app.engine.now()))
}

/// The caller's asset or output of this id.
pub(super) async fn find(app: &Shared, caller: &Caller, id: &str) -> Result<AssetRow, ApiError> {
    let id = Uuid::try_parse(id).map_err(|_| ApiError::not_found())?;
    app.engine.store().asset(caller.tenant.id, id).await?.ok_or_else(ApiError::not_found)
}

/// `DELETE /assets/{id}`: forgets the record, never bytes that somebody else uses.
pub(super) async fn delete(app: App, caller: Who, Path(id): Path<String>) -> Result<StatusCode, ApiError> {
    let id = Uuid::try_parse(&id).map_err(|_| ApiError::not_found())?;
    let call = AssetCall::Delete { tenant: caller.tenant.id, id, now: app.engine.now() };
    match app.engine.assets(call).await? {
        AssetAnswer::Deleted => Ok(StatusCode::NO_CONTENT),
        AssetAnswer::InUse => Err(ApiError::new(
            ErrorKind::Conflict,
            "asset_in_use",
            "the asset is in use and cannot be deleted",
        )),
        AssetAnswer::NotFound | AssetAnswer::BlobNotFound | AssetAnswer::Minted { .. } => {
            Err(ApiError::not_found())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_inside_and_is_plain() {
        for good in ["a.png", "folder/日本語.png", &"x".repeat(512)] {
            assert!(is_good_path(good), "{good}");
        }
        for bad in ["", "/a", "a/", "a//b", "../a", "a/../b", "./a", "a\\b", "a\nb", "a\0", &"x".repeat(513)]
        {
            assert!(!is_good_path(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_media_type_cannot_carry_a_header_of_its_own() {
        for good in ["image/png", "text/plain; charset=utf-8", "application/x-a.b+c"] {
            assert!(is_media_type(good), "{good}");
        }
        for bad in ["", "image", "image/", "/png", "image/png\r\nx: y", "image/p ng", "image/\u{e9}"] {
            assert!(!is_media_type(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_hash_is_taken_in_any_case_and_only_in_full() {
        let digits = "AB".repeat(32);
        assert_eq!(read_hash(&format!("blake3:{digits}")), Some(digits.to_lowercase()));
        for bad in
            ["", "blake3:", "blake3:ab", &digits, &format!("sha256:{digits}"), &format!("blake3:{digits}0")]
        {
            assert_eq!(read_hash(bad), None, "{bad}");
        }
    }
}
