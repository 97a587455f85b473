//! Where bytes live: a local folder by default, a bucket of S3, Tencent COS or Google Cloud Storage by configuration.
//! Tickets for those who move bytes themselves; streams for the gateway's own uploads and downloads.
//!
//! Keys are built by us of `[a-z0-9/._-]` and never by a caller. An object is seen whole or not at all, and no call
//! holds a whole object in memory.

mod bucket;
mod cos;
mod desk;
mod google;
pub(crate) mod http;
mod key;
mod local;
mod location;
mod multipart;
mod parted;
mod s3;
mod seal;
pub(crate) mod session;
pub(crate) mod sums;
mod sweep;
mod upload;
pub(crate) mod xml;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::stream::BoxStream;
use object_store::aws::AmazonS3;

use self::bucket::Bucket;
use self::desk::Sizes;
pub use self::desk::{Reach, ReceiveError};
use self::google::Google;
use self::key::Key;
use self::local::Folder;
use self::location::Location;
use self::seal::Seal;
pub use self::upload::{Upload, Uploaded};
use crate::link::message::Ticket;

/// How long a ticket is good for (DESIGN §4.13).
const TICKET_FOR: Duration = Duration::from_secs(60 * 60);

/// Keys of one listing.
const LISTED_MAX: usize = 1_000;

/// The artifact store failed.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// There is no such object, or its key is none that we build.
    #[error("no such object")]
    NotFound,
    /// It does not answer; try again.
    #[error("artifact store unavailable: {0}")]
    Unavailable(String),
    /// It is there already, and the bucket was asked never to overwrite.
    #[error("the object is there already")]
    Exists,
    /// Over a bound.
    #[error("larger than {0} bytes")]
    TooLarge(u64),
}

/// The configured artifact store cannot be used: everything that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("artifact store: {}", problems.join("; "))]
pub struct OpenError {
    /// In words, one a problem.
    pub problems: Vec<String>,
}

/// The artifact store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Artifacts {
    home: Home,
    seal: Seal,
    sizes: Sizes,
}

#[derive(Debug, Clone)]
enum Home {
    Folder(Arc<Folder>),
    Bucket(Arc<Bucket<AmazonS3>>),
    Cos(cos::Bucket),
    Google(Arc<Google>),
}

/// Bytes on their way out.
pub struct Download {
    /// Length of the whole object.
    pub size_bytes: u64,
    /// The range that the stream carries.
    pub range: Range<u64>,
    /// The bytes.
    pub stream: BoxStream<'static, Result<Bytes, ArtifactError>>,
}

impl Artifacts {
    /// Opens the store at `url`: `file:/path`, `s3://bucket/prefix?endpoint=…&region=…&virtual_hosted=true` with
    /// credentials from `AWS_*`, `cos://bucket-appid/prefix?region=…&accelerate=true` with `COS_*`, or
    /// `gs://bucket/prefix` with `GOOGLE_*` (`docs/STORES.md`). A folder is made where missing; a bucket is first asked
    /// by a call.
    ///
    /// # Errors
    /// [`OpenError`] with all problems.
    pub fn open(url: &str) -> Result<Self, OpenError> {
        Self::open_with(url, |name| std::env::var(name).ok())
    }

    /// Whether `url` names a place, without looking at it.
    ///
    /// # Errors
    /// [`OpenError`] with all problems.
    pub fn check(url: &str) -> Result<(), OpenError> {
        Location::parse(url, &|name| std::env::var(name).ok()).map(drop)
    }

    /// [`Artifacts::open`] with another environment than the process's own.
    ///
    /// # Errors
    /// See [`Artifacts::open`].
    pub fn open_with(url: &str, environment: impl Fn(&str) -> Option<String>) -> Result<Self, OpenError> {
        let (location, sizes) = Location::parse(url, &environment)?;
        let home = match location {
            Location::Folder(path) => Home::Folder(Arc::new(Folder::open(&path)?)),
            Location::S3(place) => Home::Bucket(Arc::new(s3::open(place, &environment)?)),
            Location::Cos(place) => Home::Cos(cos::Bucket::open(place, &environment)?),
            Location::Google(place) => Home::Google(Arc::new(google::open(place, &environment)?)),
        };
        Ok(Self { home, seal: Seal::new(), sizes })
    }

    /// A store in a local folder, readable by its owner alone.
    ///
    /// # Errors
    /// [`OpenError`] when the folder cannot be made.
    pub fn local(folder: impl AsRef<Path>) -> Result<Self, OpenError> {
        let home = Home::Folder(Arc::new(Folder::open(folder.as_ref())?));
        Ok(Self { home, seal: Seal::new(), sizes: Sizes::default() })
    }

    /// A ticket to write `key`, good for an hour.
    ///
    /// # Errors
    /// [`ArtifactError::Unavailable`], [`ArtifactError::NotFound`] for a key that is none.
    pub async fn put_ticket(&self, key: &str, content_type: &str) -> Result<Ticket, ArtifactError> {
        let key = Key::new(key)?;
        match &self.home {
            Home::Folder(folder) => Ok(Ticket::File { path: folder.prepare(key).await? }),
            Home::Bucket(bucket) => bucket.put_ticket(key, content_type, TICKET_FOR).await,
            Home::Cos(bucket) => Ok(bucket.put_ticket(key, content_type, TICKET_FOR)),
            Home::Google(google) => google.bucket.put_ticket(key, content_type, TICKET_FOR).await,
        }
    }

    /// A ticket to read `key`, good for an hour; whether it exists is found out by reading.
    ///
    /// # Errors
    /// See [`Artifacts::put_ticket`].
    pub async fn get_ticket(&self, key: &str) -> Result<Ticket, ArtifactError> {
        let key = Key::new(key)?;
        match &self.home {
            Home::Folder(folder) => Ok(Ticket::File { path: folder.path(key) }),
            Home::Bucket(bucket) => bucket.get_ticket(key, TICKET_FOR).await,
            Home::Cos(bucket) => Ok(bucket.get_ticket(key, TICKET_FOR)),
            Home::Google(google) => google.bucket.get_ticket(key, TICKET_FOR).await,
        }
    }

    /// The absolute path of `key` in a local folder; `None` for a bucket or a key that is none.
    #[must_use]
    pub fn public_path(&self, key: &str) -> Option<PathBuf> {
        match &self.home {
            Home::Folder(folder) => Key::new(key).ok().map(|key| folder.path(key)),
            Home::Bucket(_) | Home::Cos(_) | Home::Google(_) => None,
        }
    }

    /// Begins an upload to `key` of at most `max_bytes`.
    ///
    /// # Errors
    /// See [`Artifacts::put_ticket`].
    pub async fn upload(&self, key: &str, max_bytes: u64) -> Result<Upload, ArtifactError> {
        let key = Key::new(key)?;
        match &self.home {
            Home::Folder(folder) => Ok(Upload::to_folder(folder.begin().await?, key, max_bytes)),
            Home::Bucket(bucket) => Ok(Upload::to_bucket(bucket.clone(), key, max_bytes)),
            Home::Cos(bucket) => Ok(Upload::to_bucket(Arc::new(bucket.clone()), key, max_bytes)),
            Home::Google(google) => Ok(Upload::to_google(Arc::clone(google), key, max_bytes)),
        }
    }

    /// Reads `key`, whole or a range of it (clamped to its length; an empty result is `NotFound` for the caller to
    /// turn into 416).
    ///
    /// # Errors
    /// See [`ArtifactError`].
    pub async fn download(&self, key: &str, range: Option<Range<u64>>) -> Result<Download, ArtifactError> {
        let key = Key::new(key)?;
        if range.as_ref().is_some_and(Range::is_empty) {
            return Err(ArtifactError::NotFound);
        }
        match &self.home {
            Home::Folder(folder) => folder.download(key, range).await,
            Home::Bucket(bucket) => bucket.download(key, range).await,
            Home::Cos(bucket) => bucket.download(key, range).await,
            Home::Google(google) => google.bucket.download(key, range).await,
        }
    }

    /// Deletes `key`; deleting what is not there succeeds.
    ///
    /// # Errors
    /// [`ArtifactError::Unavailable`], [`ArtifactError::NotFound`] for a key that is none.
    pub async fn delete(&self, key: &str) -> Result<(), ArtifactError> {
        let key = Key::new(key)?;
        match &self.home {
            Home::Folder(folder) => folder.delete(key).await,
            Home::Bucket(bucket) => bucket.delete(key).await,
            Home::Cos(bucket) => bucket.delete(key).await,
            Home::Google(google) => google.bucket.delete(key).await,
        }
    }

    /// Deletes every object whose key begins like this, at most a thousand a call; how many there were.
    ///
    /// # Errors
    /// See [`Artifacts::delete`].
    pub async fn delete_beginning(&self, beginning: &str) -> Result<usize, ArtifactError> {
        let start = Key::new(beginning)?;
        let keys = match &self.home {
            Home::Folder(folder) => folder.list(start).await?,
            Home::Bucket(bucket) => bucket.list(start, LISTED_MAX).await?,
            Home::Cos(bucket) => bucket.list(start, LISTED_MAX).await?,
            Home::Google(google) => google.bucket.list(start, LISTED_MAX).await?,
        };
        for key in &keys {
            self.delete(key).await?;
        }
        Ok(keys.len())
    }

    /// Where a client may fetch `key` by itself, and until when (milliseconds since the epoch); `None` when the
    /// gateway has to stream it.
    ///
    /// # Errors
    /// See [`Artifacts::put_ticket`].
    pub async fn signed_url(
        &self,
        key: &str,
        valid_for: Duration,
    ) -> Result<Option<(String, i64)>, ArtifactError> {
        let key = Key::new(key)?;
        match &self.home {
            Home::Folder(_) => Ok(None),
            Home::Bucket(bucket) => bucket.signed_url(key, valid_for).await.map(Some),
            Home::Cos(bucket) => Ok(Some(bucket.signed_url(key, valid_for))),
            Home::Google(google) => google.signed_url(key, valid_for).await,
        }
    }

    /// Whether it can be written, for readiness: writes a few bytes, so its answer is worth keeping for some seconds.
    ///
    /// # Errors
    /// [`ArtifactError::Unavailable`].
    pub async fn probe(&self) -> Result<(), ArtifactError> {
        match &self.home {
            Home::Folder(folder) => folder.probe().await,
            Home::Bucket(bucket) => bucket.probe().await,
            Home::Cos(bucket) => bucket.probe().await,
            Home::Google(google) => google.probe().await,
        }
    }
}

/// Milliseconds since the epoch; counted from before the signature, so never too late.
fn in_future(valid_for: Duration) -> i64 {
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_add(valid_for);
    i64::try_from(at.as_millis()).unwrap_or(i64::MAX)
}
