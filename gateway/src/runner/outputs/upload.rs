//! A spooled file to a bucket, again and again until it is there.

use std::io;
use std::path::Path;

use backon::{ExponentialBuilder, Retryable};
use reqwest::{Body, Client, Method, StatusCode, header};
use tokio::sync::Semaphore;
use tokio_util::io::ReaderStream;

use crate::link::message::Ticket;
use crate::runner::config::Times;

/// How much is read from the spool at a time, bytes.
const READ_BYTES: usize = 64 << 10;

/// Why an upload has not worked yet.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    /// Its time is over: ask for another.
    #[error("the ticket has expired")]
    Expired,
    /// The bucket does not take the ticket, though it has not expired: another may not help at once.
    #[error("{0}")]
    Refused(String),
    /// The file cannot be read here.
    #[error("the spooled file cannot be read")]
    Unreadable(#[source] io::Error),
    /// The bucket or the way to it: try again.
    #[error("{0}")]
    Retry(String),
}

/// Sends the file as the ticket says; retried with back-off until it works or the ticket is worth nothing.
pub(crate) async fn put(
    client: &Client,
    ticket: &Ticket,
    path: &Path,
    size_bytes: u64,
    lanes: &Semaphore,
    times: &Times,
) -> Result<(), UploadError> {
    let (first, longest) = times.upload_backoff;
    let pauses = ExponentialBuilder::default()
        .with_min_delay(first)
        .with_max_delay(longest)
        .with_jitter()
        .without_max_times();
    let attempt = || async {
        let _lane = lanes.acquire().await.map_err(|error| UploadError::Retry(error.to_string()))?;
        put_once(client, ticket, path, size_bytes).await
    };
    attempt
        .retry(pauses)
        .when(|error| matches!(error, UploadError::Retry(_)))
        .notify(|error, pause| tracing::warn!(%error, ?pause, "upload failed, trying again"))
        .await
}

async fn put_once(client: &Client, ticket: &Ticket, path: &Path, size_bytes: u64) -> Result<(), UploadError> {
    let Ticket::Http { method, url, headers, expires_at } = ticket else {
        return Err(UploadError::Expired);
    };
    let expired = || jiff::Timestamp::now().as_millisecond() >= *expires_at;
    if expired() {
        return Err(UploadError::Expired);
    }
    let method =
        Method::from_bytes(method.as_bytes()).map_err(|error| UploadError::Refused(error.to_string()))?;
    let file = tokio::fs::File::open(path).await.map_err(UploadError::Unreadable)?;
    let body = Body::wrap_stream(ReaderStream::with_capacity(file, READ_BYTES));
    let mut request = client.request(method, &url.0).header(header::CONTENT_LENGTH, size_bytes).body(body);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    // the address holds a signature: never in an error
    let sent = request.send().await.map_err(|error| UploadError::Retry(error.without_url().to_string()))?;
    match judge(sent.status()) {
        Err(UploadError::Refused(_)) if expired() => Err(UploadError::Expired),
        judged => judged,
    }
}

fn judge(status: StatusCode) -> Result<(), UploadError> {
    match status {
        status if status.is_success() => Ok(()),
        StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Err(UploadError::Refused(format!("the bucket answered {status}")))
        }
        status => Err(UploadError::Retry(format!("the bucket answered {status}"))),
    }
}
