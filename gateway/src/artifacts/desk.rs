//! Upload tickets for runners, and what a runner may ask about the upload of a large file.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, Stream, StreamExt};

use super::key::Key;
use super::parted::Parted;
use super::seal::Claim;
use super::sums::Sums;
use super::xml::Part;
use super::{ArtifactError, Artifacts, Home, TICKET_FOR, in_future};
use crate::link::message::{Secret, Ticket};
use crate::link::ticket::{Answer, Ask, Desk, DeskError, Pieces, URLS_MAX};

/// Most parts of an upload; buckets take 10 000.
const PARTS_MAX: u64 = 9_000;
/// Longest silence of somebody who uploads through the gateway.
const SILENCE_MAX: std::time::Duration = std::time::Duration::from_secs(60);

/// From when on a file goes in parts, and how long they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) above_bytes: u64,
    pub(super) part_bytes: u64,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { above_bytes: 64 << 20, part_bytes: 8 << 20 }
    }
}

impl Sizes {
    /// Bytes of a part of something that long: no more than [`PARTS_MAX`] of them, whole MiB.
    fn part_bytes(self, size_bytes: u64) -> u64 {
        self.part_bytes.max(size_bytes.div_ceil(PARTS_MAX).next_multiple_of(1 << 20))
    }
}

/// How a runner reaches the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach<'a> {
    /// It lives in this process: files of a local folder are written in place, the desk is a call.
    Here,
    /// Over HTTP; the gateway's base URL as the runner sees it.
    Gateway(&'a str),
}

/// Why bytes that came with a token were not taken.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The token is none of ours, or its time is over.
    #[error("the ticket has expired")]
    Expired,
    /// Another file is there already.
    #[error("another file was uploaded with this ticket")]
    Other,
    /// Whoever sends them stopped.
    #[error("the upload broke off: {0}")]
    BrokeOff(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] ArtifactError),
}

impl Artifacts {
    /// A ticket for one output of at most `max_bytes`, good for an hour: in one request or in pieces, whichever suits
    /// its length (DESIGN §4.13).
    ///
    /// # Errors
    /// See [`Artifacts::put_ticket`].
    pub async fn upload_ticket(
        &self,
        key: &str,
        content_type: &str,
        max_bytes: u64,
        reach: Reach<'_>,
    ) -> Result<Ticket, ArtifactError> {
        let expires_at = in_future(TICKET_FOR);
        let token = || {
            let (key, content_type) = (key.to_owned(), content_type.to_owned());
            self.seal.close(&Claim { key, content_type, max_bytes, expires_at })
        };
        let at = |base: &str, token: &Secret| {
            Secret(format!("{}/v1/tickets/{}", base.trim_end_matches('/'), token.0))
        };
        match (&self.home, reach) {
            (Home::Folder(_), Reach::Here) => self.put_ticket(key, content_type).await,
            (Home::Folder(_), Reach::Gateway(base)) => {
                Key::new(key)?;
                let headers = vec![("content-type".to_owned(), content_type.to_owned())];
                Ok(Ticket::Http { method: "PUT".to_owned(), url: at(base, &token()), headers, expires_at })
            }
            (home, reach) => {
                // signing without a key of our own would be a call for each file: a session is one as well
                let whole = match home {
                    Home::Google(google) if !google.has_key => None,
                    _ => Some(Box::new(self.put_ticket(key, content_type).await?)),
                };
                Key::new(key)?;
                let token = token();
                let desk = match reach {
                    Reach::Here => None,
                    Reach::Gateway(base) => Some(at(base, &token)),
                };
                let above_bytes = self.sizes.above_bytes;
                Ok(Ticket::BySize { whole, pieces: Pieces { above_bytes, token, desk, expires_at } })
            }
        }
    }

    /// Whether a token is one of an upload ticket that is still good.
    #[must_use]
    pub fn knows_ticket(&self, token: &str) -> bool {
        self.seal.open(token).is_some()
    }

    /// Takes the bytes that a runner sends to its ticket's URL at this gateway. The same bytes may come again, others
    /// not. Gives their MD5 in lower-case hex.
    ///
    /// # Errors
    /// [`ReceiveError`].
    pub async fn receive<E: std::fmt::Display>(
        &self,
        token: &str,
        mut body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<String, ReceiveError> {
        let claim = self.seal.open(token).ok_or(ReceiveError::Expired)?;
        let mut upload = self.upload(&claim.key, claim.max_bytes).await?;
        let mut sums = Sums::default();
        loop {
            let next = tokio::time::timeout(SILENCE_MAX, body.next()).await;
            match next {
                Ok(Some(Ok(bytes))) => {
                    sums.update(&bytes);
                    upload.write(bytes).await?;
                }
                Ok(None) => break,
                Ok(Some(Err(error))) => return Err(ReceiveError::BrokeOff(error.to_string())),
                Err(_) => return Err(ReceiveError::BrokeOff("nothing came for a minute".to_owned())),
            }
        }
        match self.hash(&claim.key).await? {
            Some(there) if there == upload.hash() => upload.abort().await,
            Some(_) => return Err(ReceiveError::Other),
            None => drop(upload.finish().await?),
        }
        Ok(hex::encode(sums.finish().md5))
    }

    /// BLAKE3 of what is there under a key.
    async fn hash(&self, key: &str) -> Result<Option<String>, ArtifactError> {
        let mut download = match self.download(key, None).await {
            Ok(download) => download,
            Err(ArtifactError::NotFound) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut hasher = Box::<blake3::Hasher>::default();
        while let Some(bytes) = download.stream.next().await {
            hasher.update(&bytes?);
        }
        Ok(Some(hasher.finalize().to_hex().to_string()))
    }

    async fn answer(&self, token: &str, ask: Ask) -> Result<Answer, DeskError> {
        let claim = self.seal.open(token).ok_or(DeskError::Expired)?;
        let key = claim.key.as_str();
        match (self.large(), ask) {
            (_, Ask::Begin { size_bytes: Some(size) }) if size > claim.max_bytes => {
                Err(DeskError::Refused(format!("larger than {} bytes", claim.max_bytes)))
            }
            (None, _) => Err(DeskError::Refused("this store takes files whole".to_owned())),
            (Some(Large::Google), Ask::Begin { .. }) => self.begin_session(&claim).await,
            (Some(Large::Google), Ask::Check) => match &self.home {
                Home::Google(google) => there(google.head(key).await),
                _ => Err(DeskError::Refused("not here".to_owned())),
            },
            (Some(Large::Google), _) => Err(DeskError::Refused("this store has no parts".to_owned())),
            (Some(Large::Parted(bucket)), Ask::Complete { upload, parts, size_bytes, crc64 }) => {
                if size_bytes > claim.max_bytes {
                    return Err(DeskError::Refused(format!("larger than {} bytes", claim.max_bytes)));
                }
                if complete(&*bucket, key, &upload.0, parts, (size_bytes, crc64)).await? {
                    return Ok(Answer::Done);
                }
                // what was joined wrongly must not stand in the way of a better one
                self.delete(key).await?;
                Err(DeskError::Gone("the bucket joined other bytes than were sent".to_owned()))
            }
            (Some(Large::Parted(bucket)), ask) => answer_parted(&*bucket, self.sizes, &claim, ask).await,
        }
    }

    async fn begin_session(&self, claim: &Claim) -> Result<Answer, DeskError> {
        let Home::Google(google) = &self.home else { return Err(DeskError::Refused("not here".to_owned())) };
        let url = google.begin(&claim.key, Some(&claim.content_type)).await?;
        let chunk_bytes = self.sizes.part_bytes.next_multiple_of(super::session::UNIT_BYTES);
        Ok(Answer::Session { url: Secret(url), chunk_bytes })
    }

    fn large(&self) -> Option<Large> {
        match &self.home {
            Home::Folder(_) => None,
            Home::Bucket(bucket) => Some(Large::Parted(bucket.clone())),
            Home::Cos(bucket) => Some(Large::Parted(Arc::new(bucket.clone()))),
            Home::Google(_) => Some(Large::Google),
        }
    }
}

/// How a store takes large files.
enum Large {
    Parted(Arc<dyn Parted>),
    Google,
}

async fn answer_parted(
    bucket: &dyn Parted,
    sizes: Sizes,
    claim: &Claim,
    ask: Ask,
) -> Result<Answer, DeskError> {
    let key = claim.key.as_str();
    match ask {
        Ask::Begin { size_bytes } => {
            let upload = match bucket.initiate(key, Some(&claim.content_type)).await {
                Ok(upload) => upload,
                Err(ArtifactError::Exists) => return there(bucket.head(key).await),
                Err(error) => return Err(error.into()),
            };
            let part_bytes = sizes.part_bytes(size_bytes.unwrap_or(claim.max_bytes));
            Ok(Answer::Parts { upload: Secret(upload), part_bytes })
        }
        Ask::Urls { upload, numbers } => {
            let expires_at = in_future(TICKET_FOR);
            if numbers.len() > URLS_MAX || numbers.iter().any(|number| !(1..=10_000).contains(number)) {
                return Err(DeskError::Refused(format!("at most {URLS_MAX} parts of 1 to 10000 at once")));
            }
            let mut urls = Vec::with_capacity(numbers.len());
            for number in numbers {
                urls.push(Secret(bucket.part_url(key, &upload.0, number, TICKET_FOR).await?));
            }
            Ok(Answer::Urls { urls, expires_at })
        }
        Ask::Abort { upload } => {
            bucket.abort(key, &upload.0).await?;
            Ok(Answer::Done)
        }
        Ask::Check => there(bucket.head(key).await),
        Ask::Complete { .. } => Err(DeskError::Refused("not here".to_owned())),
    }
}

/// Joins the parts; whether what came out is what was sent: its length and CRC64.
async fn complete(
    bucket: &dyn Parted,
    key: &str,
    upload: &str,
    parts: Vec<(u32, String)>,
    (size_bytes, crc64): (u64, u64),
) -> Result<bool, DeskError> {
    let parts = parts.into_iter().map(|(number, etag)| Part { number, etag }).collect();
    let is_same = |size: u64, crc: Option<u64>| size == size_bytes && crc.is_none_or(|crc| crc == crc64);
    match bucket.complete(key, upload, parts).await {
        Ok(completed) => {
            let there = bucket.head(key).await?;
            Ok(is_same(there.size_bytes, completed.crc64.or(there.crc64)))
        }
        // perhaps it was joined by an earlier call whose answer was lost
        Err(error) => match bucket.head(key).await {
            Ok(there) if is_same(there.size_bytes, there.crc64) => Ok(true),
            _ => Err(error.into()),
        },
    }
}

fn there(found: Result<super::parted::There, ArtifactError>) -> Result<Answer, DeskError> {
    match found {
        Ok(there) => {
            Ok(Answer::There { size_bytes: Some(there.size_bytes), md5: there.md5, crc64: there.crc64 })
        }
        Err(ArtifactError::NotFound) => Ok(Answer::There { size_bytes: None, md5: None, crc64: None }),
        Err(error) => Err(error.into()),
    }
}

impl From<ArtifactError> for DeskError {
    fn from(error: ArtifactError) -> Self {
        match error {
            ArtifactError::NotFound => Self::Gone("there is no such upload".to_owned()),
            ArtifactError::TooLarge(_) | ArtifactError::Exists => Self::Refused(error.to_string()),
            ArtifactError::Unavailable(why) => Self::NotNow(why),
        }
    }
}

impl Desk for Artifacts {
    fn ask<'a>(&'a self, token: &'a Secret, ask: Ask) -> BoxFuture<'a, Result<Answer, DeskError>> {
        self.answer(&token.0, ask).boxed()
    }
}
