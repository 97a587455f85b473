//! `GET /assets/{id}/content`: the bytes, whole or a range, or the way to them (CONTRACT §5).
//!
//! The bytes come from outside and are served from the origin of the console: only types that cannot act may show
//! themselves, everything else is a download, and nothing is ever sniffed.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::Path;
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::TryStreamExt as _;

use super::super::error::{ApiError, ErrorKind};
use super::super::state::{App, Shared};
use super::assets::find;
use crate::store::AssetRow;
use crate::tenant::Caller;

/// How long a signed URL works.
const SIGNED_FOR: Duration = Duration::from_secs(3600);

/// Serves an asset's bytes.
pub(super) async fn content(
    app: App,
    caller: Extension<Arc<Caller>>,
    Path(id): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let asset = find(&app, &caller, &id).await?;
    serve(&app, &asset, &method, &headers, true).await
}

/// Serves the bytes of a file; `may_redirect`: or the way to them, where its store gives one.
pub(in super::super) async fn serve(
    app: &Shared,
    asset: &AssetRow,
    method: &Method,
    headers: &HeaderMap,
    may_redirect: bool,
) -> Result<Response, ApiError> {
    let etag = format!("\"blake3:{}\"", asset.hash);
    if is_known(headers, &etag) {
        let mut response = StatusCode::NOT_MODIFIED.into_response();
        describe(response.headers_mut(), asset, &etag);
        return Ok(response);
    }
    let sink = app.sinks.get(&asset.place).ok_or_else(unavailable)?;
    if may_redirect
        && method == Method::GET
        && sink.redirect
        && let Some((url, _)) = sink.artifacts.signed_url(&asset.object_key, SIGNED_FOR).await?
    {
        return redirect(&url);
    }
    let range = wanted_range(headers, &etag, asset.size_bytes)?;
    let mut response = if method == Method::HEAD {
        Response::new(Body::empty())
    } else {
        let download = sink.artifacts.download(&asset.object_key, range.clone()).await?;
        Response::new(Body::from_stream(download.stream.map_err(std::io::Error::other)))
    };
    describe(response.headers_mut(), asset, &etag);
    let headers = response.headers_mut();
    let length = range.as_ref().map_or(asset.size_bytes, |range| range.end - range.start);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    if let Some(range) = range {
        let text = format!("bytes {}-{}/{}", range.start, range.end - 1, asset.size_bytes);
        headers.insert(header::CONTENT_RANGE, value(&text));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

/// It went to a bucket of the caller's by ticket, or to a store that is not configured any more.
fn unavailable() -> ApiError {
    ApiError::new(
        ErrorKind::NotFound,
        "output_unavailable",
        "the file is in no store that this gateway reads",
    )
}

fn redirect(url: &str) -> Result<Response, ApiError> {
    let location = HeaderValue::from_str(url).map_err(|error| ApiError::internal(&error))?;
    let mut response = StatusCode::FOUND.into_response();
    response.headers_mut().insert(header::LOCATION, location);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    Ok(response)
}

fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    let Some(given) = headers.get(header::IF_NONE_MATCH).and_then(|given| given.to_str().ok()) else {
        return false;
    };
    given.split(',').map(str::trim).any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == etag)
}

fn describe(headers: &mut HeaderMap, asset: &AssetRow, etag: &str) {
    let is_inert = is_inert(&asset.content_type);
    let name = asset.file_path.rsplit('/').next().unwrap_or_default();
    headers.insert(header::CONTENT_TYPE, value(&asset.content_type));
    headers.insert(header::CONTENT_DISPOSITION, value(&disposition(is_inert, name)));
    headers.insert(header::ETAG, value(etag));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=3600, immutable"));
    headers.insert(header::VARY, HeaderValue::from_static("authorization"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    headers.insert(
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    );
}

/// What was stored was checked when it came in; something else is at least not a header of its own.
fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("application/octet-stream"))
}

/// Types that show and cannot act. SVG and everything of HTML or XML can.
pub(in super::super) fn is_inert(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_picture = matches!(
        essence.as_str(),
        "image/png" | "image/jpeg" | "image/webp" | "image/gif" | "image/avif" | "image/bmp" | "image/apng"
    );
    is_picture || essence == "text/plain" || essence.starts_with("video/") || essence.starts_with("audio/")
}

/// RFC 6266: a plain name for all, the real one in UTF-8.
fn disposition(is_inert: bool, name: &str) -> String {
    let kind = if is_inert { "inline" } else { "attachment" };
    let plain: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || " ._-()".contains(c) { c } else { '_' })
        .collect();
    let mut encoded = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"._-".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    format!("{kind}; filename=\"{plain}\"; filename*=UTF-8''{encoded}")
}

/// The one range asked for; `None` is the whole. Several ranges and other units are ignored, as RFC 9110 allows.
fn wanted_range(headers: &HeaderMap, etag: &str, size: u64) -> Result<Option<Range<u64>>, ApiError> {
    let if_range = headers.get(header::IF_RANGE);
    if if_range.is_some_and(|given| given.as_bytes() != etag.as_bytes()) {
        return Ok(None);
    }
    let given = headers.get(header::RANGE).and_then(|given| given.to_str().ok());
    match given.and_then(|given| parse_range(given, size)) {
        None => Ok(None),
        Some(Some(range)) => Ok(Some(range)),
        Some(None) => Err(ApiError::new(
            ErrorKind::Range,
            "range_not_satisfiable",
            "the range lies outside of the content",
        )
        .header(header::CONTENT_RANGE, value(&format!("bytes */{size}")))),
    }
}

/// `None`: not a range we know; `Some(None)`: one that lies outside.
#[expect(clippy::option_option, reason = "the two ways of no range have different answers")]
fn parse_range(text: &str, size: u64) -> Option<Option<Range<u64>>> {
    let (first, last) = text.trim().strip_prefix("bytes=")?.split_once('-')?;
    let number =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().unwrap_or(u64::MAX));
    let range = match (first.trim(), last.trim()) {
        ("", "") => return None,
        ("", suffix) => size.saturating_sub(number(suffix)?)..size,
        (first, "") => number(first)?..size,
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return None;
            }
            first..last.saturating_add(1).min(size)
        }
    };
    Some((range.start < range.end).then_some(range))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_inclusive_clamped_or_refused() {
        assert_eq!(parse_range("bytes=0-9", 100), Some(Some(0..10)));
        assert_eq!(parse_range("bytes=90-", 100), Some(Some(90..100)));
        assert_eq!(parse_range("bytes=-10", 100), Some(Some(90..100)));
        assert_eq!(parse_range("bytes=-1000", 100), Some(Some(0..100)));
        assert_eq!(parse_range("bytes=0-99999999999999999999999", 100), Some(Some(0..100)));
        assert_eq!(parse_range("bytes=100-", 100), Some(None));
        assert_eq!(parse_range("bytes=-0", 100), Some(None));
        assert_eq!(parse_range("bytes=0-", 0), Some(None));
        for ignored in ["items=0-1", "bytes=5-1", "bytes=a-b", "bytes=0-1,3-4", "bytes=-", "bytes"] {
            assert_eq!(parse_range(ignored, 100), None, "{ignored}");
        }
    }

    #[test]
    fn a_range_of_other_bytes_is_ignored() {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::from_static("bytes=0-1"));
        headers.insert(header::IF_RANGE, HeaderValue::from_static("\"other\""));
        assert_eq!(wanted_range(&headers, "\"this\"", 10).unwrap(), None);
        headers.insert(header::IF_RANGE, HeaderValue::from_static("\"this\""));
        assert_eq!(wanted_range(&headers, "\"this\"", 10).unwrap(), Some(0..2));
    }

    #[test]
    fn only_what_cannot_act_is_shown_in_place() {
        for inert in ["image/png", "IMAGE/JPEG", "text/plain; charset=utf-8", "video/mp4", "audio/flac"] {
            assert!(is_inert(inert), "{inert}");
        }
        for active in [
            "text/html",
            "image/svg+xml",
            "application/xhtml+xml",
            "text/xml",
            "application/pdf",
            "",
            "image/png+html",
        ] {
            assert!(!is_inert(active), "{active}");
        }
    }

    #[test]
    fn a_hostile_name_stays_inside_its_header() {
        let header = disposition(false, "a\"; filename=\"x.html\r\nX: y");
        assert_eq!(
            header,
            "attachment; filename=\"a__ filename__x.html__X_ y\"; filename*=UTF-8''a%22%3B%20filename%3D%22x.html%0D%0AX%3A%20y"
        );
        assert!(HeaderValue::from_str(&disposition(true, "日本.png")).is_ok());
    }

    #[test]
    fn an_entity_tag_is_known_strong_weak_or_by_star() {
        let with = |given: &'static str| {
            is_known(
                &HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::from_static(given))]),
                "\"e\"",
            )
        };
        assert!(with("\"e\"") && with("\"x\", W/\"e\"") && with("*"));
        assert!(!with("\"x\"") && !with("e"));
    }
}
