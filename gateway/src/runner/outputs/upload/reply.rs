//! What the answer to an upload means.

use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode};

use super::Fault;
use crate::artifacts::http;
use crate::artifacts::sums::{Sum, Verdict};
use crate::artifacts::xml::Fault as Told;

/// What became of a request.
pub(super) enum Reply {
    /// The bytes are there; this was said of them.
    Taken(HeaderMap),
    /// The object was there already and must not be overwritten.
    There,
    /// There is nothing under that name: of an upload in parts, the upload itself.
    Missing,
}

/// Sorts an answer out; `is_over`: the ticket's time has passed meanwhile.
pub(super) async fn judge(answer: Response, is_over: bool) -> Result<Reply, Fault> {
    let (status, headers) = (answer.status(), answer.headers().clone());
    if status.is_success() {
        // the body says nothing more, but a connection is used again only when it was read
        let _ = http::read(answer).await;
        return Ok(Reply::Taken(headers));
    }
    let told = Told::find(&http::read(answer).await.unwrap_or_default()).unwrap_or_default();
    let said = match told.code.is_empty() {
        true => format!("the bucket answered {status}"),
        false => format!("the bucket answered {status}: {}", told.code),
    };
    match status {
        StatusCode::GONE => Err(Fault::Expired),
        StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => Ok(Reply::There),
        StatusCode::NOT_FOUND if told.code == "NoSuchUpload" => Ok(Reply::Missing),
        StatusCode::BAD_REQUEST if told.code == "RequestTimeout" => Err(Fault::again(said)),
        StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            let has_expired = is_over || told.code == "ExpiredToken" || told.message.contains("expired");
            Err(if has_expired { Fault::Expired } else { Fault::Refused(said) })
        }
        StatusCode::LENGTH_REQUIRED | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::METHOD_NOT_ALLOWED => {
            Err(Fault::Refused(said))
        }
        _ => Err(Fault::Again(said, retry_after(&headers))),
    }
}

/// Whether the bytes that arrived are those that were sent.
pub(super) fn compare(sum: &Sum, size_bytes: u64, told: &HeaderMap) -> Result<(), Fault> {
    if sum.size_bytes != size_bytes {
        return Err(Fault::Different(format!(
            "the file is {} bytes long, not {size_bytes} as it was",
            sum.size_bytes
        )));
    }
    match sum.judge(told) {
        Verdict::Same | Verdict::Untold => Ok(()),
        Verdict::Different(by) => {
            Err(Fault::Different(format!("the bucket holds other bytes than were sent, by their {by}")))
        }
    }
}

/// Seconds; a date is not worth reading.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}
