//! Resumable uploads of Google Cloud Storage: chunks one after the other to one URL, which tells how far it is. Who has
//! the URL may upload, so that a runner needs neither keys nor signatures.

use std::ops::Range;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, RANGE, RETRY_AFTER};
use reqwest::{Body, Client, Response, StatusCode};
use serde::Deserialize;

use super::http::{read, words};

/// Chunks but the last are multiples of that, bytes.
pub(crate) const UNIT_BYTES: u64 = 256 << 10;

/// How far a session is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Progress {
    /// So many bytes are held; go on from there.
    Holds(u64),
    /// The object is there.
    Done(Made),
}

/// What the answer says of the object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Made {
    pub(crate) md5: Option<Vec<u8>>,
    pub(crate) size_bytes: Option<u64>,
}

/// Why a chunk was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    /// There is no such session any more.
    #[error("the upload session is gone")]
    Gone,
    /// It will not be.
    #[error("{0}")]
    Refused(String),
    /// Try again; after that many seconds where told.
    #[error("{0}")]
    Again(String, Option<u64>),
}

#[derive(Deserialize)]
struct Resource {
    #[serde(rename = "md5Hash")]
    md5: Option<String>,
    size: Option<String>,
}

/// Sends the bytes of a range; with `total` known they may be the last.
pub(crate) async fn send(
    client: &Client,
    url: &str,
    range: Range<u64>,
    total: Option<u64>,
    body: Body,
) -> Result<Progress, SessionError> {
    let total_text = total.map_or("*".to_owned(), |total| total.to_string());
    let told = match range.is_empty() {
        true => format!("bytes */{total_text}"),
        false => format!("bytes {}-{}/{total_text}", range.start, range.end - 1),
    };
    let request = client.put(url).header(CONTENT_RANGE, told).header(CONTENT_LENGTH, range.end - range.start);
    let request = if range.is_empty() { request } else { request.body(body) };
    judge(request.send().await).await
}

/// Asks how far it is.
pub(crate) async fn ask(client: &Client, url: &str) -> Result<Progress, SessionError> {
    let request = client.put(url).header(CONTENT_RANGE, "bytes */*").header(CONTENT_LENGTH, 0);
    judge(request.send().await).await
}

/// Gives it up; what it held goes.
pub(crate) async fn cancel(client: &Client, url: &str) {
    // a session that hears nothing of it ends by itself after a week
    let _ = client.delete(url).header(CONTENT_LENGTH, 0).send().await;
}

/// What an answer to an upload means.
pub(crate) async fn judge(answer: Result<Response, reqwest::Error>) -> Result<Progress, SessionError> {
    let answer = answer.map_err(|error| SessionError::Again(words(&error.without_url()), None))?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    match status {
        StatusCode::PERMANENT_REDIRECT => Ok(Progress::Holds(held(&headers))),
        status if status.is_success() => Ok(Progress::Done(made(&read(answer).await.unwrap_or_default()))),
        StatusCode::NOT_FOUND | StatusCode::GONE => Err(SessionError::Gone),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Err(again(status, &headers)),
        status if status.is_server_error() => Err(again(status, &headers)),
        status => Err(SessionError::Refused(format!("the bucket answered {status}"))),
    }
}

fn again(status: StatusCode, headers: &HeaderMap) -> SessionError {
    let after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    SessionError::Again(format!("the bucket answered {status}"), after)
}

/// `bytes=0-524287`; no header: nothing.
fn held(headers: &HeaderMap) -> u64 {
    let range = headers.get(RANGE).and_then(|range| range.to_str().ok()?.rsplit_once('-')?.1.parse().ok());
    range.map_or(0, |last: u64| last.saturating_add(1))
}

fn made(text: &str) -> Made {
    let Ok(Resource { md5, size }) = serde_json::from_str(text) else { return Made::default() };
    Made {
        md5: md5.and_then(|md5| BASE64_STANDARD.decode(md5).ok()),
        size_bytes: size.and_then(|size| size.parse().ok()),
    }
}

/// What is left of pieces after so many bytes.
pub(crate) fn skip(pieces: &[Bytes], mut bytes: u64) -> Vec<Bytes> {
    let mut rest = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let skipped = usize::try_from(bytes).unwrap_or(usize::MAX).min(piece.len());
        bytes -= skipped as u64;
        if skipped < piece.len() {
            rest.push(piece.slice(skipped..));
        }
    }
    rest
}
