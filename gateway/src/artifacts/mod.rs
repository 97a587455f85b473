//! Where bytes live: a local folder by default, any S3-compatible bucket by configuration. Tickets for those who
//! move bytes themselves; streams for the gateway's own uploads and downloads.
//!
//! Keys are built by us of `[a-z0-9/._-]` and never by a caller. An object is seen whole or not at all, and no call
//! holds a whole object in memory.

mod bucket;
mod key;
mod local;
mod location;
mod multipart;
mod upload;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;

use self::bucket::Bucket;
use self::key::Key;
use self::local::Folder;
use self::location::Location;
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
}

#[derive(Debug, Clone)]
enum Home {
    Folder(Arc<Folder>),
    Bucket(Arc<Bucket>),
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
    /// Opens the store at `url`: `file:/path`, or `s3://bucket/prefix?endpoint=…&region=…&virtual_hosted=true` with
    /// credentials from `AWS_*`. A folder is made where missing; a bucket is first asked by a call.
    ///
    /// # Errors
    /// [`OpenError`] with all problems.
    pub fn open(url: &str) -> Result<Self, OpenError> {
        Self::open_with(url, |name| std::env::var(name).ok())
    }

    /// [`Artifacts::open`] with another environment than the process's own.
    ///
    /// # Errors
    /// See [`Artifacts::open`].
    pub fn open_with(url: &str, environment: impl Fn(&str) -> Option<String>) -> Result<Self, OpenError> {
        match Location::parse(url, &environment)? {
            Location::Folder(path) => Self::local(path),
            Location::Bucket(place) => {
                Ok(Self { home: Home::Bucket(Arc::new(Bucket::open(place, &environment)?)) })
            }
        }
    }

    /// A store in a local folder, readable by its owner alone.
    ///
    /// # Errors
    /// [`OpenError`] when the folder cannot be made.
    pub fn local(folder: impl AsRef<Path>) -> Result<Self, OpenError> {
        Ok(Self { home: Home::Folder(Arc::new(Folder::open(folder.as_ref())?)) })
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
        }
    }

    /// The absolute path of `key` in a local folder; `None` for a bucket or a key that is none.
    #[must_use]
    pub fn public_path(&self, key: &str) -> Option<PathBuf> {
        match &self.home {
            Home::Folder(folder) => Key::new(key).ok().map(|key| folder.path(key)),
            Home::Bucket(_) => None,
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
            Home::Bucket(bucket) => Ok(Upload::to_bucket(bucket.begin(key), key, max_bytes)),
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
        }
    }
}
