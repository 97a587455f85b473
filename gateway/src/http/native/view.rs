//! `/view`: the caller's own files by the names that this face gives them, whole, in part, or as something smaller.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::Query;
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::TryStreamExt as _;

use super::super::error::{ApiError, ErrorKind};
use super::super::state::{App, Shared};
use super::super::v2::content;
use crate::artifacts::Download;
use crate::pictures::{Channel, View};
use crate::store::AssetRow;
use crate::tenant::Caller;

/// The quality of a preview that names none.
const QUALITY: u8 = 90;

/// `GET /view`.
pub(super) async fn view(
    app: App,
    caller: Extension<Arc<Caller>>,
    Query(query): Query<BTreeMap<String, String>>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let Some(name) = query.get("filename") else { return Ok(StatusCode::NOT_FOUND.into_response()) };
    let text = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
    let named = Named::read(name, text("type"), text("subfolder"))?;
    let file = find(&app, &caller, &named).await?.ok_or_else(ApiError::not_found)?;
    match wanted(text("preview"), text("channel")) {
        None => content::serve(&app, &file, &method, &headers, false).await,
        Some(view) => show(&app, &file, view).await,
    }
}

/// A file as this face names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    /// Folders and name.
    pub(super) path: String,
    pub(super) folder: Folder,
}

/// Which of ComfyUI's folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Folder {
    Input,
    Output,
    Temp,
}

impl Folder {
    pub(super) fn read(word: &str) -> Option<Self> {
        match word {
            "input" => Some(Self::Input),
            "output" => Some(Self::Output),
            "temp" => Some(Self::Temp),
            _ => None,
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
            Self::Temp => "temp",
        }
    }
}

impl Named {
    /// Reads a name with ComfyUI's rules: a folder in the name beats `type`, dots never lead elsewhere (PROTOCOL §5).
    pub(super) fn read(filename: &str, kind: &str, subfolder: &str) -> Result<Self, ApiError> {
        let bad = || ApiError::invalid("the file name leads nowhere");
        let mut filename = filename;
        let mut folder = if kind.is_empty() { "output" } else { kind };
        for place in ["output", "input", "temp"] {
            if let Some(name) = filename.strip_suffix(&format!("[{place}]")) {
                (filename, folder) = (name.trim_end(), place);
            }
        }
        let folder = Folder::read(folder).ok_or_else(bad)?;
        if filename.is_empty() || filename.starts_with('/') || filename.contains("..") {
            return Err(bad());
        }
        let name = filename.rsplit(['/', '\\']).next().unwrap_or_default();
        let below = inside(subfolder)
            .ok_or_else(|| ApiError::new(ErrorKind::Forbidden, "forbidden", "the folder leads outside"))?;
        let path = if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") };
        Ok(Self { path, folder })
    }
}

/// A folder below ours in its plain form; `None` for one that leads outside.
pub(super) fn inside(folder: &str) -> Option<String> {
    if folder.starts_with('/') || folder.contains(['\\', '\0']) {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The caller's file of this name.
pub(super) async fn find(app: &Shared, caller: &Caller, named: &Named) -> Result<Option<AssetRow>, ApiError> {
    let (store, tenant) = (app.engine.store().native(), caller.tenant.id);
    if named.folder != Folder::Input
        && let Some(output) = store.output_by_name(tenant, named.path.clone()).await?
    {
        return Ok(Some(output));
    }
    Ok(store.upload_by_name(tenant, upload_path(named)).await?)
}

/// Under which name an upload is kept: what was not meant as an input cannot be mistaken for one.
pub(super) fn upload_path(named: &Named) -> String {
    match named.folder {
        Folder::Input => named.path.clone(),
        folder => format!("{}/{}", folder.word(), named.path),
    }
}

/// What is to be made of the file; `None`: it is wanted as it is. Formats that are not known mean WebP.
fn wanted(preview: &str, channel: &str) -> Option<View> {
    if !preview.is_empty() {
        let (format, quality) = preview.split_once(';').unwrap_or((preview, ""));
        let quality = quality.trim().parse().unwrap_or(QUALITY);
        let is_jpeg = format == "jpeg" && !channel.contains('a');
        return Some(if is_jpeg { View::Jpeg(quality) } else { View::Webp(quality) });
    }
    match channel {
        "rgb" => Some(View::Channel(Channel::Rgb)),
        "a" => Some(View::Channel(Channel::Alpha)),
        _ => None,
    }
}

async fn show(app: &Shared, file: &AssetRow, view: View) -> Result<Response, ApiError> {
    let _turn = app.conversions.acquire().await.map_err(|error| ApiError::internal(&error))?;
    let bytes = whole(app, file).await?;
    let limits = app.limits.pictures.clone();
    let made = tokio::task::spawn_blocking(move || view.of(&bytes, &limits)).await;
    let made = made.map_err(|error| ApiError::internal(&error))?;
    let made = made.map_err(|error| ApiError::refused(error.code(), error.to_string()))?;
    let mut response = made.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(view.content_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=3600"));
    Ok(response)
}

/// All bytes of a file that is small enough to be converted.
pub(super) async fn whole(app: &Shared, file: &AssetRow) -> Result<Vec<u8>, ApiError> {
    if file.size_bytes > app.limits.pictures.max_input_bytes {
        return Err(ApiError::too_large(app.limits.pictures.max_input_bytes));
    }
    let sink = app.sinks.get(&file.place).ok_or_else(ApiError::not_found)?;
    all_of(sink.artifacts.download(&file.object_key, None).await?).await
}

/// All bytes of an object of the gateway's own store.
pub(super) async fn read_object(app: &Shared, key: &str) -> Result<Vec<u8>, ApiError> {
    all_of(app.artifacts.download(key, None).await?).await
}

async fn all_of(download: Download) -> Result<Vec<u8>, ApiError> {
    let mut bytes = Vec::new();
    let mut stream = download.stream;
    while let Some(chunk) = stream.try_next().await? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(filename: &str, kind: &str, subfolder: &str) -> Result<(String, Folder), u16> {
        Named::read(filename, kind, subfolder)
            .map(|named| (named.path, named.folder))
            .map_err(|error| error.kind().status().as_u16())
    }

    #[test]
    fn a_name_is_read_as_comfyui_reads_it() {
        let ok = |path: &str, folder| Ok((path.to_owned(), folder));
        assert_eq!(read("a.png", "", ""), ok("a.png", Folder::Output));
        assert_eq!(read("a.png [input]", "output", "sub"), ok("sub/a.png", Folder::Input));
        assert_eq!(read("x/a.png", "temp", ""), ok("a.png", Folder::Temp));
        assert_eq!(read("a.png", "input", "x/../y/./z"), ok("y/z/a.png", Folder::Input));
        for (filename, kind, subfolder, status) in [
            ("", "", "", 400),
            ("../a.png", "", "", 400),
            ("/etc/hostname", "", "", 400),
            ("a..b.png", "", "", 400),
            ("a.png", "user", "", 400),
            ("a.png", "", "../input", 403),
            ("a.png", "", "/etc", 403),
        ] {
            assert_eq!(read(filename, kind, subfolder), Err(status), "{filename} {kind} {subfolder}");
        }
    }

    #[test]
    fn what_is_asked_for_is_jpeg_webp_or_channels() {
        assert_eq!(wanted("", ""), None);
        assert_eq!(wanted("", "rgba"), None);
        assert_eq!(wanted("webp;50", ""), Some(View::Webp(50)));
        assert_eq!(wanted("jpeg", ""), Some(View::Jpeg(90)));
        assert_eq!(wanted("jpeg;90", "a"), Some(View::Webp(90)));
        assert_eq!(wanted("png;50", ""), Some(View::Webp(50)));
        assert_eq!(wanted("", "a"), Some(View::Channel(Channel::Alpha)));
    }
}
