//! Where bytes live: a local folder by default, any S3-compatible bucket by configuration. Tickets for those who
//! move bytes themselves; streams for the gateway's own uploads and downloads.

use std::ops::Range;
use std::path::PathBuf;

use bytes::Bytes;
use futures_util::stream::BoxStream;

use crate::link::message::Ticket;

/// The artifact store failed.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// There is no such object.
    #[error("no such object")]
    NotFound,
    /// It does not answer; try again.
    #[error("artifact store unavailable: {0}")]
    Unavailable(String),
    /// Over a bound.
    #[error("larger than {0} bytes")]
    TooLarge(u64),
}

/// The artifact store.
#[derive(Debug, Clone)]
pub struct Artifacts {
    folder: PathBuf,
}

/// Bytes on their way in: hashed as they come, unseen until [`Upload::finish`].
#[derive(Debug)]
pub struct Upload {
    _private: (),
}

/// What was uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// Where it is.
    pub object_key: String,
    /// BLAKE3, lower-case hex.
    pub hash: String,
    /// Bytes.
    pub size_bytes: u64,
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
    /// A ticket to write `key`, good for an hour.
    ///
    /// # Errors
    /// [`ArtifactError::Unavailable`].
    pub async fn put_ticket(&self, key: &str, _content_type: &str) -> Result<Ticket, ArtifactError> {
        Ok(Ticket::File { path: self.folder.join(key) })
    }

    /// A ticket to read `key`, good for an hour.
    ///
    /// # Errors
    /// [`ArtifactError::Unavailable`].
    pub async fn get_ticket(&self, key: &str) -> Result<Ticket, ArtifactError> {
        Ok(Ticket::File { path: self.folder.join(key) })
    }

    /// Begins an upload to `key` of at most `max_bytes`.
    ///
    /// # Errors
    /// [`ArtifactError::Unavailable`].
    pub async fn upload(&self, _key: &str, _max_bytes: u64) -> Result<Upload, ArtifactError> {
        Err(ArtifactError::NotFound)
    }

    /// Reads `key`, whole or a range of it (clamped to its length; an empty result is `NotFound` for the caller to
    /// turn into 416).
    ///
    /// # Errors
    /// See [`ArtifactError`].
    pub async fn download(&self, _key: &str, _range: Option<Range<u64>>) -> Result<Download, ArtifactError> {
        Err(ArtifactError::NotFound)
    }

    /// Deletes `key`; deleting what is not there succeeds.
    ///
    /// # Errors
    /// [`ArtifactError::Unavailable`].
    pub async fn delete(&self, _key: &str) -> Result<(), ArtifactError> {
        Ok(())
    }

    /// Where a client may fetch `key` by itself, and until when (milliseconds since the epoch); `None` when the
    /// gateway has to stream it.
    ///
    /// # Errors
    /// [`ArtifactError::Unavailable`].
    pub async fn signed_url(
        &self,
        _key: &str,
        _valid_for: std::time::Duration,
    ) -> Result<Option<(String, i64)>, ArtifactError> {
        Ok(None)
    }
}

impl Upload {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`ArtifactError::TooLarge`], [`ArtifactError::Unavailable`].
    pub async fn write(&mut self, _bytes: Bytes) -> Result<(), ArtifactError> {
        Ok(())
    }

    /// Makes the object durable and visible under its key.
    ///
    /// # Errors
    /// [`ArtifactError::Unavailable`].
    pub async fn finish(self) -> Result<Uploaded, ArtifactError> {
        Err(ArtifactError::NotFound)
    }

    /// Drops what was taken.
    pub async fn abort(self) {}
}
