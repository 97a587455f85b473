//! A file in parts, several on their way at once, joined at the end.

use std::ops::Range;
use std::sync::Mutex;

use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::header::{CONTENT_LENGTH, ETAG};

use super::body::{self, Meter};
use super::pieces::Lost;
use super::record::{self, Part, Place, Record};
use super::reply::{self, Reply};
use super::{Fault, Means, Spooled, ask, in_time, jittered};
use crate::artifacts::sums::joined;
use crate::link::message::Secret;
use crate::link::ticket::{Answer, Ask, Pieces, URLS_MAX};

/// Parts of one file on their way at once: on a long way one alone does not fill it.
const AT_ONCE: usize = 3;
/// So often a part is tried before the whole takes a pause.
const PART_TRIES: u32 = 3;

/// Uploads what the record says is missing, and joins.
pub(super) async fn put(
    means: Means<'_>,
    pieces: &Pieces,
    file: Spooled<'_>,
    record: &Record,
) -> Result<(), Lost> {
    let Place::Parts { upload, part_bytes, .. } = &record.place else { return Ok(()) };
    let count = u32::try_from(file.size_bytes.div_ceil(*part_bytes).max(1)).unwrap_or(u32::MAX);
    let missing: Vec<u32> = (1..=count).filter(|number| !record.parts.contains_key(number)).collect();
    let done = Mutex::new(record.parts.clone());
    for batch in missing.chunks(URLS_MAX) {
        let (urls, expires_at) = urls(means, pieces, upload, batch).await?;
        let sending = batch.iter().zip(urls).map(|(number, url)| {
            let done = &done;
            async move {
                let part = send(means, file, *part_bytes, (*number, &url), expires_at).await?;
                record::add(file.path, &part).await;
                done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(part.number, part);
                Ok::<(), Lost>(())
            }
        });
        stream::iter(sending.collect::<Vec<_>>()).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
    }
    let done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let crc64 = done.values().fold(0, |crc, part| {
        let range = range(part.number, *part_bytes, file.size_bytes);
        joined(crc, part.crc64, range.end - range.start)
    });
    let parts = done.into_values().map(|part| (part.number, part.etag)).collect();
    let complete = Ask::Complete { upload: upload.clone(), parts, size_bytes: file.size_bytes, crc64 };
    match ask(means, pieces, complete).await? {
        Answer::Done => Ok(()),
        _ => Err(Fault::again("the desk answered something else").into()),
    }
}

/// Where parts go.
pub(super) async fn urls(
    means: Means<'_>,
    pieces: &Pieces,
    upload: &Secret,
    numbers: &[u32],
) -> Result<(Vec<Secret>, i64), Lost> {
    let question = Ask::Urls { upload: upload.clone(), numbers: numbers.to_vec() };
    match ask(means, pieces, question).await? {
        Answer::Urls { urls, expires_at } if urls.len() == numbers.len() => Ok((urls, expires_at)),
        _ => Err(Fault::again("the desk answered something else").into()),
    }
}

fn range(number: u32, part_bytes: u64, size_bytes: u64) -> Range<u64> {
    let start = u64::from(number.saturating_sub(1)).saturating_mul(part_bytes).min(size_bytes);
    start..start.saturating_add(part_bytes).min(size_bytes)
}

/// One part, tried a few times by itself: the others need not be sent again for its sake.
async fn send(
    means: Means<'_>,
    file: Spooled<'_>,
    part_bytes: u64,
    (number, url): (u32, &Secret),
    expires_at: i64,
) -> Result<Part, Lost> {
    let (mut pause, _) = means.times.upload_backoff;
    let mut tries = 1;
    loop {
        in_time(expires_at)?;
        let range = range(number, part_bytes, file.size_bytes);
        let content = body::range(file.path, range.clone()).await?;
        let lost = match send_once(means, url, (number, range.end - range.start), content, expires_at).await {
            Err(lost @ Lost::Nothing(Fault::Again(_, None) | Fault::Different(_))) if tries < PART_TRIES => {
                lost
            }
            sent => return sent,
        };
        tracing::debug!(?lost, number, "a part failed, trying again");
        tries += 1;
        tokio::time::sleep(jittered(pause)).await;
        pause *= 2;
    }
}

/// Sends the content of a part and compares what arrived.
pub(super) async fn send_once<E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static>(
    means: Means<'_>,
    url: &Secret,
    (number, size_bytes): (u32, u64),
    content: impl futures_util::Stream<Item = Result<bytes::Bytes, E>> + Send + 'static,
    expires_at: i64,
) -> Result<Part, Lost> {
    let meter = Meter::default();
    let request = means.http.put(&url.0).header(CONTENT_LENGTH, size_bytes).body(meter.measure(content));
    let answer = meter.watch(means.times.stall_timeout, request.send()).await?;
    let told = match reply::judge(answer, in_time(expires_at).is_err()).await? {
        Reply::Taken(told) => told,
        Reply::Missing => return Err(Lost::Begun("the bucket has forgotten the upload".to_owned())),
        Reply::There => return Err(Fault::Refused("the bucket does not overwrite a part".to_owned()).into()),
    };
    let sum = meter.sum();
    reply::compare(&sum, size_bytes, &told)?;
    let etag = told.get(ETAG).and_then(|etag| etag.to_str().ok());
    let etag = etag.ok_or_else(|| Fault::Refused("the bucket gives a part no ETag".to_owned()))?.to_owned();
    Ok(Part { number, etag, crc64: sum.crc64 })
}
