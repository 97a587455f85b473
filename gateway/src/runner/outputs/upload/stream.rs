//! Bytes that are in no spool: a file larger than all of it goes from where it is to its bucket as it comes (DESIGN §13).

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream as streams};

use super::body::Meter;
use super::parts::{send_once, urls};
use super::pieces::Lost;
use super::record::Part;
use super::reply::{self, Reply};
use super::session::{bounded, lost};
use super::{Fault, Means, UploadError, ask, in_time, jittered, whole};
use crate::artifacts::session::{self, Progress};
use crate::artifacts::sums::{Sum, Sums};
use crate::link::message::{Secret, Ticket};
use crate::link::ticket::{Answer, Ask, Pieces};

/// A piece at hand is tried this often.
const TRIES: u32 = 4;

/// Why a stream did not get there. What of it arrived is not seen and goes away.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    /// The source broke off: with a fresh one it may be tried again.
    #[error("the source broke off: {0}")]
    Source(String),
    /// The sink.
    #[error(transparent)]
    Upload(#[from] UploadError),
    /// The ticket takes only bytes whose number is known beforehand.
    #[error("the ticket wants a length, and the file has none yet")]
    LengthWanted,
}

impl From<Lost> for StreamError {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Begun(why) => Self::Upload(UploadError::Retry(why)),
            Lost::Nothing(fault) => Self::Upload(fault.into()),
        }
    }
}

/// Sends the bytes as they come, of known length or not; gives their length. In pieces one piece is held at a time;
/// otherwise nothing is, and the first failure is the last.
pub(crate) async fn stream<S, E>(
    means: Means<'_>,
    ticket: &Ticket,
    source: S,
    size_bytes: Option<u64>,
) -> Result<u64, StreamError>
where
    S: Stream<Item = Result<Bytes, E>> + Send + Unpin + 'static,
    E: std::fmt::Display + Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
{
    match (ticket, size_bytes) {
        (Ticket::BySize { whole: Some(whole), pieces }, Some(size)) if size <= pieces.above_bytes => {
            at_once(means, whole, source, size).await
        }
        (Ticket::BySize { pieces, .. }, _) => in_pieces(means, pieces, source, size_bytes).await,
        (ticket, Some(size)) => at_once(means, ticket, source, size).await,
        (_, None) => Err(StreamError::LengthWanted),
    }
}

async fn at_once<S, E>(means: Means<'_>, ticket: &Ticket, source: S, size: u64) -> Result<u64, StreamError>
where
    S: Stream<Item = Result<Bytes, E>> + Send + 'static,
    E: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
{
    let (sum, reply) = whole::send(means, ticket, source, size).await.map_err(UploadError::from)?;
    match reply {
        Reply::Taken(told) => {
            reply::compare(&sum, size, &told).map_err(UploadError::from)?;
            Ok(size)
        }
        Reply::There => Err(UploadError::Refused("there is an object in its place".to_owned()).into()),
        Reply::Missing => Err(UploadError::Retry("there is nothing to upload to".to_owned()).into()),
    }
}

async fn in_pieces<S, E>(
    means: Means<'_>,
    pieces: &Pieces,
    source: S,
    size_bytes: Option<u64>,
) -> Result<u64, StreamError>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: std::fmt::Display,
{
    in_time(pieces.expires_at).map_err(UploadError::from)?;
    match ask(means, pieces, Ask::Begin { size_bytes }).await.map_err(Lost::from)? {
        Answer::Parts { upload, part_bytes } if part_bytes > 0 => {
            let sent = in_parts(means, pieces, source, (&upload, part_bytes)).await;
            if sent.is_err() {
                // where the desk does not hear it, the sweep of its next start does it
                let _ = ask(means, pieces, Ask::Abort { upload }).await;
            }
            sent
        }
        Answer::Session { url, chunk_bytes } if chunk_bytes > 0 => {
            let sent = to_session(means, source, &url, chunk_bytes).await;
            if sent.is_err() {
                session::cancel(means.http, &url.0).await;
            }
            sent
        }
        _ => Err(UploadError::Retry("the desk answered something else".to_owned()).into()),
    }
}

async fn in_parts<S, E>(
    means: Means<'_>,
    pieces: &Pieces,
    source: S,
    (upload, part_bytes): (&Secret, u64),
) -> Result<u64, StreamError>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: std::fmt::Display,
{
    let (mut source, mut sums, mut parts) = (Source::new(source), Sums::default(), Vec::new());
    for number in 1_u32.. {
        let piece = source.piece(part_bytes).await?;
        if piece.is_empty() && number > 1 {
            break;
        }
        piece.iter().for_each(|bytes| sums.update(bytes));
        let part = part(means, pieces, upload, number, &piece).await?;
        parts.push((part.number, part.etag));
    }
    let Sum { size_bytes, crc64, .. } = sums.finish();
    let complete = Ask::Complete { upload: upload.clone(), parts, size_bytes, crc64 };
    match ask(means, pieces, complete).await.map_err(Lost::from)? {
        Answer::Done => Ok(size_bytes),
        _ => Err(UploadError::Retry("the desk answered something else".to_owned()).into()),
    }
}

async fn part(
    means: Means<'_>,
    pieces: &Pieces,
    upload: &Secret,
    number: u32,
    piece: &[Bytes],
) -> Result<Part, Lost> {
    let size = piece.iter().map(|bytes| bytes.len() as u64).sum();
    let (mut pause, _) = means.times.upload_backoff;
    let mut tries = 1;
    loop {
        let (urls, expires_at) = urls(means, pieces, upload, &[number]).await?;
        let Some(url) = urls.first() else { return Err(Fault::again("no URL").into()) };
        let content = streams::iter(piece.to_vec().into_iter().map(Ok::<_, std::io::Error>));
        match send_once(means, url, (number, size), content, expires_at).await {
            Err(Lost::Nothing(Fault::Again(..) | Fault::Different(_))) if tries < TRIES => {}
            sent => return sent,
        }
        tries += 1;
        tokio::time::sleep(jittered(pause)).await;
        pause *= 2;
    }
}

async fn to_session<S, E>(
    means: Means<'_>,
    source: S,
    url: &Secret,
    chunk_bytes: u64,
) -> Result<u64, StreamError>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: std::fmt::Display,
{
    let (mut source, mut sums, mut held) = (Source::new(source), Sums::default(), 0);
    loop {
        let piece = source.piece(chunk_bytes).await?;
        let length: u64 = piece.iter().map(|bytes| bytes.len() as u64).sum();
        piece.iter().for_each(|bytes| sums.update(bytes));
        let total = (length < chunk_bytes).then_some(held + length);
        match chunk(means, url, held, &piece, total).await? {
            Progress::Done(made) => {
                let sum = sums.finish();
                if made.md5.is_some_and(|md5| md5[..] != sum.md5) {
                    return Err(
                        UploadError::Retry("the bucket holds other bytes than were sent".into()).into()
                    );
                }
                return Ok(sum.size_bytes);
            }
            Progress::Holds(now) => held = now,
        }
    }
}

/// Sends a chunk at hand until the session holds all of it.
async fn chunk(
    means: Means<'_>,
    url: &Secret,
    start: u64,
    piece: &[Bytes],
    total: Option<u64>,
) -> Result<Progress, Lost> {
    let end = start + piece.iter().map(|bytes| bytes.len() as u64).sum::<u64>();
    let (mut from, mut tries) = (start, 1);
    let (mut pause, _) = means.times.upload_backoff;
    loop {
        let meter = Meter::default();
        let rest = session::skip(piece, from - start);
        let content = meter.measure(streams::iter(rest.into_iter().map(Ok::<_, std::io::Error>)));
        let sending = async {
            Ok::<_, reqwest::Error>(session::send(means.http, &url.0, from..end, total, content).await)
        };
        let sent = match meter.watch(means.times.stall_timeout, sending).await {
            Ok(sent) => sent.map_err(lost),
            Err(fault) => Err(fault.into()),
        };
        match sent {
            Ok(Progress::Holds(held)) if held == end && total.is_none() => return Ok(Progress::Holds(end)),
            Ok(Progress::Holds(held)) if (start..=end).contains(&held) && tries < TRIES => from = held,
            Err(Lost::Nothing(Fault::Again(..))) if tries < TRIES => {
                tokio::time::sleep(jittered(pause)).await;
                pause *= 2;
                match bounded(means, session::ask(means.http, &url.0)).await? {
                    Progress::Holds(held) if (start..=end).contains(&held) => from = held,
                    done @ Progress::Done(_) => return Ok(done),
                    Progress::Holds(_) => return Err(Lost::Begun("the session lost bytes".to_owned())),
                }
            }
            Ok(Progress::Holds(_)) => return Err(Lost::Begun("the session lost bytes".to_owned())),
            sent => return sent,
        }
        tries += 1;
    }
}

/// A stream that is cut into pieces of one length.
struct Source<S> {
    stream: S,
    rest: Bytes,
}

impl<S, E> Source<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: std::fmt::Display,
{
    fn new(stream: S) -> Self {
        Self { stream, rest: Bytes::new() }
    }

    /// The next so many bytes; fewer at the end.
    async fn piece(&mut self, bytes: u64) -> Result<Vec<Bytes>, StreamError> {
        let (mut piece, mut missing) = (Vec::new(), usize::try_from(bytes).unwrap_or(usize::MAX));
        while missing > 0 {
            if self.rest.is_empty() {
                match self.stream.next().await {
                    Some(Ok(bytes)) => self.rest = bytes,
                    Some(Err(error)) => return Err(StreamError::Source(error.to_string())),
                    None => break,
                }
            }
            let taken = self.rest.split_to(self.rest.len().min(missing));
            missing -= taken.len();
            if !taken.is_empty() {
                piece.push(taken);
            }
        }
        Ok(piece)
    }
}
