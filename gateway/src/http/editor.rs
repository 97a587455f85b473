//! The web editor: files of a folder that the operator names, served as they are. They hold no data; what the page asks
//! for goes through ComfyUI's own API and its doors. Whatever is in the folder at start can be fetched, nothing else.

use std::collections::HashMap;
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio_util::io::ReaderStream;

use super::error::ApiError;
use super::state::{App, Shared};
use super::{credentials, door, observe};

/// Most files of a folder; more are a folder that was not meant.
const MAX_FILES: usize = 20_000;
/// Bytes of a file that are read at once.
const READ_BYTES: usize = 64 << 10;
const INDEX: &str = "/index.html";

/// The files of the web editor.
#[derive(Debug, Clone)]
pub struct Editor(Arc<HashMap<String, File>>);

#[derive(Debug)]
struct File {
    path: PathBuf,
    etag: HeaderValue,
    content_type: HeaderValue,
}

impl Editor {
    /// Learns what is in a folder; symbolic links are left out.
    ///
    /// # Errors
    /// When it cannot be read, has too many files or no `index.html`.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let mut files = HashMap::new();
        let mut folders = vec![(folder.to_owned(), String::new())];
        while let Some((folder, prefix)) = folders.pop() {
            for entry in std::fs::read_dir(folder)? {
                let entry = entry?;
                let Ok(name) = entry.file_name().into_string() else { continue };
                let name = format!("{prefix}/{name}");
                let kind = entry.file_type()?;
                if kind.is_dir() {
                    folders.push((entry.path(), name));
                } else if kind.is_file() {
                    files.insert(name.clone(), File::new(entry.path(), &name, &entry.metadata()?));
                }
                if files.len() + folders.len() > MAX_FILES {
                    return Err(io::Error::other("the folder of the web editor has too many files"));
                }
            }
        }
        if !files.contains_key(INDEX) {
            return Err(io::Error::other("the folder of the web editor has no index.html"));
        }
        Ok(Self(Arc::new(files)))
    }
}

impl File {
    fn new(path: PathBuf, name: &str, about: &Metadata) -> Self {
        let changed = about.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        let etag = format!("\"{:x}-{:x}\"", about.len(), changed.unwrap_or_default().as_nanos());
        Self {
            path,
            etag: HeaderValue::from_str(&etag).unwrap_or_else(|_| HeaderValue::from_static("\"\"")),
            content_type: HeaderValue::from_static(content_type(name)),
        }
    }

    async fn answer(&self, name: &str, method: &Method, headers: &HeaderMap) -> io::Result<Response> {
        let is_known = headers.get(header::IF_NONE_MATCH).is_some_and(|given| given == self.etag);
        let mut response = if is_known {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            let file = tokio::fs::File::open(&self.path).await?;
            let length = file.metadata().await?.len();
            let body = match *method {
                Method::HEAD => Body::empty(),
                _ => Body::from_stream(ReaderStream::with_capacity(file, READ_BYTES)),
            };
            ([(header::CONTENT_LENGTH, length)], body).into_response()
        };
        // Names below `assets` change with their content.
        let kept = if name.starts_with("/assets/") { "max-age=86400" } else { "no-cache" };
        let sent = response.headers_mut();
        sent.insert(header::CONTENT_TYPE, self.content_type.clone());
        sent.insert(header::ETAG, self.etag.clone());
        sent.insert(header::CACHE_CONTROL, HeaderValue::from_static(kept));
        sent.insert(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("frame-ancestors 'self'; object-src 'none'; base-uri 'self'"),
        );
        Ok(response)
    }
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "ttf" => "font/ttf",
        "wasm" => "application/wasm",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        "txt" | "md" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// `GET /` where there is an editor. Where it takes a key, people without one are led to the login page.
pub(super) async fn home(app: &Shared, request: Request) -> Response {
    let (head, _) = request.into_parts();
    let is_open = app.doors.loopback && !app.tenants.is_closed();
    let key = credentials::find(&head.headers, &head.extensions);
    if !is_open && key.is_none_or(|(key, _)| app.tenants.caller(&key.0).is_none()) {
        let mut response = StatusCode::SEE_OTHER.into_response();
        response.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/login"));
        return response;
    }
    serve(app, INDEX, &head).await
}

/// Any path without a route: a file of the editor's, or nothing.
pub(super) async fn file(app: App, request: Request) -> Response {
    let (head, _) = request.into_parts();
    if app.editor.is_none() || !matches!(head.method, Method::GET | Method::HEAD) {
        return observe::unknown_route().await.into_response();
    }
    if let Err(refusal) = door::let_see(&app, &head.headers) {
        return refusal.into_response();
    }
    serve(&app, head.uri.path(), &head).await
}

async fn serve(app: &Shared, name: &str, head: &Parts) -> Response {
    let Some(file) = app.editor.as_ref().and_then(|editor| editor.0.get(name)) else {
        return observe::unknown_route().await.into_response();
    };
    let answer = file.answer(name, &head.method, &head.headers).await;
    answer.unwrap_or_else(|error| ApiError::internal(&error).into_response())
}
