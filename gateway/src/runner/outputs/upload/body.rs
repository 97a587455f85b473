//! Bodies of requests that tell how far they are: summed up as they pass, watched for standing still.

use std::io::SeekFrom;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::Fault;
use crate::artifacts::sums::{Sum, Sums};

/// How much is read from the spool at a time, bytes.
const READ_BYTES: usize = 64 << 10;
/// The answer may take so many times the longest wait for the next bytes: what was sent is still on its way through
/// buffers, and a bucket may have to join it.
const ANSWER_STALLS: u32 = 3;

/// What has passed.
#[derive(Debug, Clone, Default)]
pub(super) struct Meter {
    bytes: Arc<AtomicU64>,
    sums: Arc<Mutex<Sums>>,
}

impl Meter {
    /// The sums of all that passed.
    pub(super) fn sum(&self) -> Sum {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner).finish()
    }

    /// The body, measured.
    pub(super) fn measure<E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static>(
        &self,
        body: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
    ) -> reqwest::Body {
        let meter = self.clone();
        reqwest::Body::wrap_stream(body.inspect_ok(move |bytes| {
            meter.sums.lock().unwrap_or_else(PoisonError::into_inner).update(bytes);
            meter.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }))
    }

    /// Waits for the answer while bytes pass.
    pub(super) async fn watch<T>(
        &self,
        stall: Duration,
        answer: impl Future<Output = Result<T, reqwest::Error>>,
    ) -> Result<T, Fault> {
        tokio::pin!(answer);
        let (mut seen, mut still) = (0, 0);
        loop {
            match tokio::time::timeout(stall, &mut answer).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => return Err(Fault::again(super::hidden(error))),
                Err(_) => {
                    let now = self.bytes.load(Ordering::Relaxed);
                    still = if now == seen { still + 1 } else { 0 };
                    seen = now;
                }
            }
            if still >= ANSWER_STALLS {
                return Err(Fault::again("the upload stands still"));
            }
        }
    }
}

/// A range of a file.
pub(super) async fn range(
    path: &Path,
    range: Range<u64>,
) -> Result<impl Stream<Item = std::io::Result<Bytes>> + Send + use<>, Fault> {
    let mut file = tokio::fs::File::open(path).await.map_err(Fault::Unreadable)?;
    if range.start > 0 {
        file.seek(SeekFrom::Start(range.start)).await.map_err(Fault::Unreadable)?;
    }
    Ok(ReaderStream::with_capacity(file.take(range.end - range.start), READ_BYTES))
}

/// The sums of a whole file, read once more.
pub(super) async fn sum_of(path: &Path, size_bytes: u64) -> Result<Sum, Fault> {
    let mut sums = Sums::default();
    let mut body = Box::pin(range(path, 0..size_bytes).await?);
    while let Some(bytes) = body.next().await {
        sums.update(&bytes.map_err(Fault::Unreadable)?);
    }
    Ok(sums.finish())
}
