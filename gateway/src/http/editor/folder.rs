//! The editor's files in a folder. Whatever is there at start can be fetched, nothing else; it holds no data.

use std::collections::HashMap;
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use axum::body::Body;
use axum::http::header::{self, HeaderValue};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio_util::io::ReaderStream;

use super::super::error::ApiError;
use super::super::observe;
use super::{INDEX, describe, is_known, kind};

/// Most files of a folder; more are a folder that was not meant.
const MAX_FILES: usize = 20_000;
/// Bytes of a file that are read at once.
const READ_BYTES: usize = 64 << 10;

/// The files of the web editor, by path.
#[derive(Debug)]
pub(super) struct Folder(HashMap<String, File>);

#[derive(Debug)]
struct File {
    path: PathBuf,
    etag: HeaderValue,
    content_type: &'static str,
}

impl Folder {
    /// Learns what is in a folder.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
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
        Ok(Self(files))
    }

    /// Answers with a file, or with 404.
    pub(super) async fn serve(&self, name: &str, head: &Parts) -> Response {
        let Some(file) = self.0.get(name) else { return observe::unknown_route().await.into_response() };
        let answer = file.answer(name, head).await;
        answer.unwrap_or_else(|error| ApiError::internal(&error).into_response())
    }
}

impl File {
    fn new(path: PathBuf, name: &str, about: &Metadata) -> Self {
        let changed = about.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        let etag = format!("\"{:x}-{:x}\"", about.len(), changed.unwrap_or_default().as_nanos());
        Self {
            path,
            etag: HeaderValue::from_str(&etag).unwrap_or_else(|_| HeaderValue::from_static("\"\"")),
            content_type: kind::content_type(name).unwrap_or("application/octet-stream"),
        }
    }

    async fn answer(&self, name: &str, head: &Parts) -> io::Result<Response> {
        let mut response = if is_known(&head.headers, &self.etag) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            let file = tokio::fs::File::open(&self.path).await?;
            let length = file.metadata().await?.len();
            let body = match head.method {
                Method::HEAD => Body::empty(),
                _ => Body::from_stream(ReaderStream::with_capacity(file, READ_BYTES)),
            };
            ([(header::CONTENT_LENGTH, length)], body).into_response()
        };
        describe(response.headers_mut(), name, self.content_type, Some(&self.etag));
        Ok(response)
    }
}
