//! `GET /view` (PROTOCOL §5).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};

use super::{App, crash};
use crate::files::{Content, File, Kind, annotation, join};
use crate::process::Process;
use crate::render::Picture;

/// File types a browser would run or interpret; they are sent as plain downloads.
const ACTIVE: [&str; 6] = ["html", "htm", "svg", "js", "css", "xml"];

/// Sends a file, whole or in part, as it is or as a preview.
pub(super) async fn view(
    State(process): App,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    process.record.count(|counts| counts.views += 1);
    let faults = process.faults.state();
    if faults.view_delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(faults.view_delay_ms)).await;
    }
    let (name, file) = match find(&process, &query) {
        Ok(found) => found,
        Err(status) => return status.into_response(),
    };
    let (content, version, modified) = (file.content, file.version, file.modified);
    let Ok(bytes) = tokio::task::spawn_blocking(move || draw(&content, faults.pad_bytes)).await else {
        return crash();
    };
    if let Some(preview) = query.get("preview") {
        return preview_of(&name, bytes, preview).await;
    }
    let stamp = modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() + u128::from(version);
    let etag = format!("\"{stamp:x}-{:x}\"", bytes.len());
    let mut response = Response::builder()
        .header("x-content-type-options", "nosniff")
        .header(header::CONTENT_DISPOSITION, disposition(&name))
        .header(header::CONTENT_TYPE, media_type(&name))
        .header(header::ETAG, &etag)
        .header(header::ACCEPT_RANGES, "bytes");
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if text(header::IF_NONE_MATCH).is_some_and(|tags| tags.contains(&etag)) {
        return respond(response.status(StatusCode::NOT_MODIFIED), Body::empty());
    }
    let total = bytes.len();
    let part = match text(header::RANGE).map(|range| byte_range(range, total)) {
        Some(Some((start, end))) => {
            response = response
                .status(StatusCode::PARTIAL_CONTENT)
                .header(header::CONTENT_RANGE, format!("bytes {start}-{end}/{total}"));
            bytes.slice(start..=end)
        }
        Some(None) => {
            let unsatisfied = response.header(header::CONTENT_RANGE, format!("bytes */{total}"));
            return respond(unsatisfied.status(StatusCode::RANGE_NOT_SATISFIABLE), Body::empty());
        }
        None => bytes,
    };
    let response = response.header(header::CONTENT_LENGTH, part.len());
    if process.faults.take(|state| &mut state.truncate_views) {
        return respond(response, cut_short(&part));
    }
    respond(response, Body::from(part))
}

fn respond(response: axum::http::response::Builder, body: Body) -> Response {
    response.body(body).unwrap_or_else(|_| crash())
}

/// Half the bytes, then a broken connection.
fn cut_short(bytes: &Bytes) -> Body {
    let half = bytes.slice(..bytes.len() / 2);
    let body = stream::once(async { Ok(half) }).chain(stream::once(async {
        // one pause, so that the first half is on its way before the connection breaks
        tokio::task::yield_now().await;
        Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset))
    }));
    Body::from_stream(body)
}

/// Resolves the query to a file, with the recorded refusals.
fn find(process: &Arc<Process>, query: &HashMap<String, String>) -> Result<(String, File), StatusCode> {
    let filename = query.get("filename").ok_or(StatusCode::NOT_FOUND)?;
    let (annotated, mut name) = annotation(filename);
    if name.is_empty() || name.starts_with('/') || name.contains("..") {
        return Err(StatusCode::BAD_REQUEST);
    }
    let kind = if name.len() < filename.len() {
        annotated
    } else {
        let kind = query.get("type").map_or("output", String::as_str);
        Kind::parse(kind).ok_or(StatusCode::BAD_REQUEST)?
    };
    let subfolder =
        resolve(query.get("subfolder").map_or("", String::as_str), kind).ok_or(StatusCode::FORBIDDEN)?;
    if let Some((_, base)) = name.rsplit_once('/') {
        name = base;
    }
    let file = process.files().get(kind, &join(&subfolder, name));
    file.map(|file| (name.to_owned(), file)).ok_or(StatusCode::NOT_FOUND)
}

/// A subfolder inside the directory; `None` when it leads out of it. `../input` seen from `input` leads back in.
fn resolve(subfolder: &str, kind: Kind) -> Option<String> {
    if subfolder.starts_with('/') {
        return None;
    }
    let mut path = vec![kind.name()];
    for part in subfolder.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            path.pop()?;
        } else {
            path.push(part);
        }
    }
    let (base, inside) = path.split_first()?;
    (*base == kind.name()).then(|| inside.join("/"))
}

fn draw(content: &Content, pad_bytes: usize) -> Bytes {
    match content {
        Content::Bytes(bytes) => bytes.clone(),
        Content::Png(picture, texts) => picture.png(texts, pad_bytes),
    }
}

/// `preview=webp|jpeg[;quality]`: anything else is webp; 500 for what is no picture.
async fn preview_of(name: &str, bytes: Bytes, preview: &str) -> Response {
    let (format, quality) = preview.split_once(';').unwrap_or((preview, "90"));
    let quality = quality.parse().unwrap_or(90);
    let is_jpeg = format == "jpeg";
    let encoded = tokio::task::spawn_blocking(move || {
        let picture = Picture::file(bytes)?;
        Some(if is_jpeg { picture.jpeg(u32::MAX, quality) } else { picture.webp() })
    });
    let Ok(Some(encoded)) = encoded.await else { return crash() };
    let kind = if is_jpeg { "image/jpeg" } else { "image/webp" };
    let response = Response::builder()
        .header(header::CONTENT_DISPOSITION, disposition(name))
        .header(header::CONTENT_TYPE, kind);
    respond(response, Body::from(encoded))
}

fn extension(name: &str) -> String {
    name.rsplit_once('.').map(|(_, extension)| extension.to_lowercase()).unwrap_or_default()
}

fn disposition(name: &str) -> String {
    let safe: String = name.chars().filter(|c| c.is_ascii_graphic() && *c != '"' || *c == ' ').collect();
    if ACTIVE.contains(&extension(name).as_str()) {
        return format!("attachment; filename=\"{safe}\"");
    }
    format!("filename=\"{safe}\"")
}

fn media_type(name: &str) -> &'static str {
    match extension(name).as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "gif" => "image/gif",
        "mp4" => "video/mp4",
        "flac" => "audio/flac",
        "txt" | "md" | "csv" => "text/plain",
        "json" => "application/json",
        _ => "application/octet-stream",
    }
}

/// First and last byte of a single range; `None` when it cannot be satisfied.
fn byte_range(range: &str, total: usize) -> Option<(usize, usize)> {
    let (start, end) = range.strip_prefix("bytes=")?.split_once('-')?;
    let last = total.checked_sub(1)?;
    let (start, end) = match (start, end) {
        ("", suffix) => (total.saturating_sub(suffix.parse().ok()?), last),
        (start, "") => (start.parse().ok()?, last),
        (start, end) => (start.parse().ok()?, end.parse::<usize>().ok()?.min(last)),
    };
    (start <= end).then_some((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subfolder_may_leave_and_come_back_but_not_end_outside() {
        assert_eq!(resolve("a/../b", Kind::Input).as_deref(), Some("b"));
        assert_eq!(resolve("../input", Kind::Input).as_deref(), Some(""));
        assert_eq!(resolve("../input", Kind::Output), None);
        assert_eq!(resolve("/etc", Kind::Output), None);
        assert_eq!(resolve("../../..", Kind::Output), None);
    }

    #[test]
    fn ranges_are_cut_to_the_file() {
        assert_eq!(byte_range("bytes=0-9", 382), Some((0, 9)));
        assert_eq!(byte_range("bytes=380-999", 382), Some((380, 381)));
        assert_eq!(byte_range("bytes=-2", 382), Some((380, 381)));
        assert_eq!(byte_range("bytes=400-", 382), None);
    }
}
