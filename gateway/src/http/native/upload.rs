//! `/upload/image` and `/upload/mask`: files that the caller's workflows read by name, on whichever instance they run.

use std::sync::Arc;

use axum::Extension;
use axum::extract::Multipart;
use axum::extract::multipart::MultipartRejection;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_LENGTH, HeaderMap};
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use super::super::error::{ApiError, ErrorKind};
use super::super::multipart::{drop_bytes, in_time, refused, take_file, text};
use super::super::respond;
use super::super::state::{App, Shared};
use super::super::{body, quota};
use super::view::{self, Folder, Named, inside, upload_path};
use crate::artifacts::Uploaded;
use crate::pictures;
use crate::store::{AssetAnswer, AssetCall, NewAsset, NewRecord};
use crate::tenant::Caller;

type Who = Extension<Arc<Caller>>;
type Given = Result<Multipart, MultipartRejection>;

/// Parts of one body.
const MAX_PARTS: usize = 32;
/// Longest name with its folders, bytes.
const MAX_PATH_BYTES: usize = 512;
/// Names that are tried for a file whose own is taken.
const MAX_TRIES: u32 = 10_000;

/// What was read of a body.
#[derive(Default)]
struct Parts {
    file: Option<Stored>,
    overwrite: bool,
    folder: Option<String>,
    subfolder: String,
    original: Option<Original>,
}

/// A file that lies in the artifact store.
struct Stored {
    blob: Uuid,
    name: String,
    content_type: String,
    facts: Uploaded,
}

/// The picture that a mask is for.
#[derive(Deserialize)]
struct Original {
    filename: String,
    #[serde(default)]
    subfolder: String,
    #[serde(default)]
    r#type: String,
}

/// `POST /upload/image`.
pub(super) async fn image(
    app: App,
    caller: Who,
    headers: HeaderMap,
    body: Given,
) -> Result<Response, ApiError> {
    take(&app, &caller, &headers, body, false).await
}

/// `POST /upload/mask`: the named picture with the transparency of the one that is sent.
pub(super) async fn mask(
    app: App,
    caller: Who,
    headers: HeaderMap,
    body: Given,
) -> Result<Response, ApiError> {
    take(&app, &caller, &headers, body, true).await
}

async fn take(
    app: &Arc<Shared>,
    caller: &Caller,
    headers: &HeaderMap,
    body: Given,
    is_mask: bool,
) -> Result<Response, ApiError> {
    let multipart = body.map_err(|_| ApiError::invalid("the body must be multipart/form-data"))?;
    body::require_plain(headers)?;
    let _place = app.uploads.enter(caller, app.limits.max_uploads_per_key).ok_or_else(|| {
        ApiError::new(ErrorKind::Busy, "too_many_uploads", "too many uploads at once with this key")
            .retry_after(1)
    })?;
    let largest = app.limits.max_asset_bytes;
    let declared = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let _room = quota::room(app, caller, declared.unwrap_or(largest).min(largest)).await?;
    let mut parts = Parts::default();
    let read = read_all(app, multipart, &mut parts).await.map_err(malformed);
    let mut stored: Vec<String> = parts.file.iter().map(|file| file.facts.object_key.clone()).collect();
    let done = match read {
        Ok(()) => finish(app, caller, parts, is_mask, &mut stored).await,
        Err(error) => Err(error),
    };
    // Unknown whether the record is there: the bytes stay, and what nobody names is swept.
    if done.as_ref().err().is_none_or(|error| error.kind() != ErrorKind::Unavailable) {
        for key in stored {
            drop_bytes(&app.artifacts, &key).await;
        }
    }
    done
}

/// ComfyUI calls a form that it cannot use a bad request.
fn malformed(error: ApiError) -> ApiError {
    if error.kind() == ErrorKind::Refused { ApiError::invalid(error.message().to_owned()) } else { error }
}

async fn read_all(app: &Shared, mut multipart: Multipart, parts: &mut Parts) -> Result<(), ApiError> {
    let idle = app.limits.upload_idle_timeout;
    for _ in 0..MAX_PARTS {
        let Some(field) = in_time(idle, multipart.next_field()).await? else { return Ok(()) };
        match field.name().unwrap_or_default().to_owned().as_str() {
            "image" if parts.file.is_some() => return Err(refused("there is more than one file")),
            "image" => {
                let name = field.file_name().unwrap_or_default().to_owned();
                let content_type = field.content_type().unwrap_or_default().to_owned();
                let (blob, facts) = take_file(app, field).await?;
                parts.file = Some(Stored { blob, name, content_type, facts });
            }
            "overwrite" => parts.overwrite = matches!(text(field, idle).await?.trim(), "true" | "1"),
            "type" => parts.folder = Some(text(field, idle).await?),
            "subfolder" => parts.subfolder = text(field, idle).await?,
            "original_ref" => {
                let said = serde_json::from_str(&text(field, idle).await?);
                parts.original = Some(said.map_err(|_| ApiError::invalid("original_ref cannot be read"))?);
            }
            _ => drop(text(field, idle).await?),
        }
    }
    Err(refused("there are too many parts"))
}

/// `unneeded` are the objects to be deleted afterwards.
async fn finish(
    app: &Arc<Shared>,
    caller: &Caller,
    parts: Parts,
    is_mask: bool,
    unneeded: &mut Vec<String>,
) -> Result<Response, ApiError> {
    let file = parts.file.ok_or_else(|| ApiError::invalid("image is missing"))?;
    let folder = parts.folder.as_deref().filter(|word| !word.is_empty()).unwrap_or("input");
    let folder = Folder::read(folder).ok_or_else(|| ApiError::invalid("type is not known"))?;
    let named = name(&file.name, &parts.subfolder, folder)?;
    let file = match (is_mask, parts.original) {
        (false, _) => file,
        (true, None) => return Err(ApiError::invalid("original_ref is missing")),
        (true, Some(original)) => {
            let Some(masked) = masked(app, caller, &file, &original).await? else {
                return answer(&named); // As ComfyUI does, which writes nothing then.
            };
            unneeded.push(masked.facts.object_key.clone());
            masked
        }
    };
    let stripe = app.naming.get(caller.tenant.id as usize % app.naming.len());
    let _turn = match stripe {
        Some(lock) => Some(lock.lock().await),
        None => None,
    };
    let named = free_name(app, caller, named, &file.facts.hash, parts.overwrite).await?;
    let key = file.facts.object_key.clone();
    if mint(app, caller, &named, file).await? {
        unneeded.retain(|unneeded| *unneeded != key);
    }
    answer(&named)
}

fn answer(named: &Named) -> Result<Response, ApiError> {
    let (subfolder, name) = named.path.rsplit_once('/').unwrap_or(("", &named.path));
    let body = json!({"name": name, "subfolder": subfolder, "type": named.folder.word()});
    respond::json(StatusCode::OK, &body)
}

fn name(filename: &str, subfolder: &str, folder: Folder) -> Result<Named, ApiError> {
    let bad = || ApiError::invalid("the name or the folder of the file cannot be used");
    let is_plain = !filename.is_empty()
        && !matches!(filename, "." | "..")
        && !filename.contains(['/', '\\'])
        && !filename.chars().any(char::is_control);
    let below = inside(subfolder).filter(|_| is_plain).ok_or_else(bad)?;
    let path = if below.is_empty() { filename.to_owned() } else { format!("{below}/{filename}") };
    let is_good = path.len() <= MAX_PATH_BYTES && !below.chars().any(char::is_control);
    if is_good && !path.starts_with("darkroom/") { Ok(Named { path, folder }) } else { Err(bad()) }
}

/// The name itself, or `name (1).png` where other bytes have it (CLIENTS §4.11).
async fn free_name(
    app: &Shared,
    caller: &Caller,
    named: Named,
    hash: &str,
    overwrite: bool,
) -> Result<Named, ApiError> {
    if overwrite {
        return Ok(named);
    }
    let file_at = named.path.rfind('/').map_or(0, |slash| slash + 1);
    let dot = named.path[file_at..].rfind('.').map_or(named.path.len(), |dot| file_at + dot);
    let (stem, extension) = named.path.split_at(dot);
    let store = app.engine.store().native();
    for number in 0..MAX_TRIES {
        let path = match number {
            0 => named.path.clone(),
            number => format!("{stem} ({number}){extension}"),
        };
        let tried = Named { path, folder: named.folder };
        let there = store.upload_by_name(caller.tenant.id, upload_path(&tried)).await?;
        if there.is_none_or(|there| there.hash == hash) {
            return Ok(tried);
        }
    }
    Err(ApiError::invalid("too many files have this name"))
}

/// Makes the record; whether the uploaded object is the one that is kept.
async fn mint(app: &Shared, caller: &Caller, named: &Named, file: Stored) -> Result<bool, ApiError> {
    let guessed = mime_of(&named.path);
    let content_type = if file.content_type.is_empty() { guessed.to_owned() } else { file.content_type };
    let is_harmless = content_type.len() <= 128 && content_type.bytes().all(|b| (0x20..0x7f).contains(&b));
    let record = NewRecord {
        id: Uuid::now_v7(),
        tenant: caller.tenant.id,
        file_path: upload_path(named),
        content_type: if is_harmless { content_type } else { guessed.to_owned() },
        tags: Vec::new(),
        created_at: app.engine.now(),
        expires_at: None,
    };
    let Uploaded { hash, size_bytes, object_key, .. } = file.facts;
    let asset = NewAsset { record, hash, size_bytes, blob: file.blob, object_key };
    match app.engine.assets(AssetCall::Mint(asset)).await? {
        AssetAnswer::Minted { asset, keep, .. } => {
            app.metrics.asset_uploaded(asset.size_bytes);
            Ok(keep)
        }
        _ => Err(ApiError::internal(&"an upload was answered as something else")),
    }
}

fn mime_of(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension).to_ascii_lowercase().as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "gif" => "image/gif",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        "wav" => "audio/wav",
        "mp3" => "audio/mpeg",
        "flac" => "audio/flac",
        _ => "application/octet-stream",
    }
}

/// The picture with the mask's transparency, stored; `None` where there is no such picture.
async fn masked(
    app: &Arc<Shared>,
    caller: &Caller,
    mask: &Stored,
    original: &Original,
) -> Result<Option<Stored>, ApiError> {
    let named = Named::read(&original.filename, &original.r#type, &original.subfolder)?;
    let Some(original) = view::find(app, caller, &named).await? else { return Ok(None) };
    let _turn = app.conversions.acquire().await.map_err(|error| ApiError::internal(&error))?;
    let limits = app.limits.pictures.clone();
    if mask.facts.size_bytes > limits.max_input_bytes {
        return Err(ApiError::too_large(limits.max_input_bytes));
    }
    let picture = view::whole(app, &original).await?;
    let over = view::read_object(app, &mask.facts.object_key).await?;
    let made = tokio::task::spawn_blocking(move || pictures::with_mask(&picture, &over, &limits)).await;
    let made = made.map_err(|error| ApiError::internal(&error))?;
    let made = made.map_err(|error| ApiError::refused(error.code(), error.to_string()))?;
    let blob = Uuid::now_v7();
    let mut upload = app.artifacts.upload(&format!("uploads/{blob}"), app.limits.max_asset_bytes).await?;
    upload.write(made.into()).await?;
    let facts = upload.finish().await?;
    Ok(Some(Stored { blob, name: mask.name.clone(), content_type: "image/png".into(), facts }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_inside_and_is_plain() {
        let path = |filename: &str, subfolder: &str| {
            name(filename, subfolder, Folder::Input).map(|named| named.path).ok()
        };
        assert_eq!(path("a b.png", "x/y").as_deref(), Some("x/y/a b.png"));
        for (filename, subfolder) in [
            ("", ""),
            ("..", ""),
            ("a/b.png", ""),
            ("a\\b.png", ""),
            ("a.png", "../x"),
            ("a.png", "/srv"),
            ("a.png", "darkroom"),
        ] {
            assert_eq!(path(filename, subfolder), None, "{filename} in {subfolder}");
        }
    }
}
