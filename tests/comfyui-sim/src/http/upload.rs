//! `POST /upload/image` and `/upload/mask` (PROTOCOL §5).

use axum::body::Bytes;
use axum::extract::multipart::MultipartRejection;
use axum::extract::{Multipart, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{App, MAX_UPLOAD_BYTES, crash, json};
use crate::files::{Content, Files, Kind, join};

/// The parts of a form.
#[derive(Default)]
struct Form {
    file: Option<(String, Bytes)>,
    overwrite: bool,
    kind: Option<String>,
    subfolder: String,
    original_ref: Option<String>,
}

impl Form {
    async fn read(form: Result<Multipart, MultipartRejection>) -> Result<Form, Response> {
        let mut parts = form.map_err(|_| StatusCode::BAD_REQUEST.into_response())?;
        let (mut read, mut total) = (Form::default(), 0);
        while let Ok(Some(part)) = parts.next_field().await {
            let (name, filename) =
                (part.name().unwrap_or("").to_owned(), part.file_name().map(str::to_owned));
            let bytes = part.bytes().await.map_err(|_| StatusCode::BAD_REQUEST.into_response())?;
            total += bytes.len();
            if total > MAX_UPLOAD_BYTES {
                let text = format!("Maximum request body size {MAX_UPLOAD_BYTES} exceeded.");
                return Err((StatusCode::PAYLOAD_TOO_LARGE, text).into_response());
            }
            let text = || String::from_utf8_lossy(&bytes).into_owned();
            match (name.as_str(), filename) {
                ("image", Some(filename)) => read.file = Some((filename, bytes)),
                ("overwrite", _) => read.overwrite = matches!(text().as_str(), "true" | "1"),
                ("type", _) => read.kind = Some(text()),
                ("subfolder", _) => read.subfolder = text(),
                ("original_ref", _) => read.original_ref = Some(text()),
                _ => {}
            }
        }
        Ok(read)
    }
}

/// `POST /upload/image`.
pub(super) async fn image(State(process): App, form: Result<Multipart, MultipartRejection>) -> Response {
    let form = match Form::read(form).await {
        Ok(form) => form,
        Err(refused) => return refused,
    };
    let mut files = process.files();
    store(&mut files, form, true)
}

/// `POST /upload/mask`: answers a name even when the original is missing and nothing was written.
pub(super) async fn mask(State(process): App, form: Result<Multipart, MultipartRejection>) -> Response {
    let form = match Form::read(form).await {
        Ok(form) => form,
        Err(refused) => return refused,
    };
    let Some(original) =
        form.original_ref.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok())
    else {
        return crash();
    };
    let kind = Kind::parse(original["type"].as_str().unwrap_or("output")).unwrap_or(Kind::Output);
    let path =
        join(original["subfolder"].as_str().unwrap_or(""), original["filename"].as_str().unwrap_or(""));
    let mut files = process.files();
    let found = files.get(kind, &path).is_some();
    store(&mut files, form, found)
}

fn store(files: &mut Files, form: Form, write: bool) -> Response {
    let Some((filename, bytes)) = form.file else { return StatusCode::BAD_REQUEST.into_response() };
    let Some(kind) = Kind::parse(form.kind.as_deref().unwrap_or("input")) else { return crash() };
    if filename.is_empty() {
        return crash();
    }
    if form.subfolder.starts_with('/') || form.subfolder.split('/').any(|part| part == "..") {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let is_inner = |name: &str| name.contains('/');
    if filename.split('/').any(|part| part == "..") || filename.starts_with('/') {
        return StatusCode::BAD_REQUEST.into_response();
    }
    if is_inner(&filename) {
        return crash();
    }
    let name =
        if form.overwrite { filename } else { free_name(files, kind, &form.subfolder, &filename, &bytes) };
    if write {
        files.put(kind, &join(&form.subfolder, &name), Content::Bytes(bytes));
    }
    let reply = json!({"name": name, "subfolder": form.subfolder, "type": kind.name()});
    json(StatusCode::OK, &reply)
}

/// The name itself if it is free or holds the same bytes, else `name (n).ext`.
fn free_name(files: &Files, kind: Kind, subfolder: &str, filename: &str, bytes: &Bytes) -> String {
    let (stem, extension) = filename
        .rsplit_once('.')
        .map_or((filename, String::new()), |(stem, extension)| (stem, format!(".{extension}")));
    let mut name = filename.to_owned();
    for number in 1.. {
        match files.get(kind, &join(subfolder, &name)).map(|file| file.content) {
            None => break,
            Some(Content::Bytes(known)) if known == *bytes => break,
            Some(_) => name = format!("{stem} ({number}){extension}"),
        }
    }
    name
}
