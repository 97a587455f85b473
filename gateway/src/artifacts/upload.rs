//! Bytes on their way in.

use std::sync::Arc;

use bytes::Bytes;

use super::ArtifactError;
use super::google::{Google, GoogleUpload};
use super::key::Key;
use super::local::Part;
use super::multipart::BucketUpload;
use super::parted::Parted;

/// Bytes on their way in: hashed as they come, unseen until [`Upload::finish`]. Dropping it drops what was taken.
#[derive(Debug)]
pub struct Upload {
    key: String,
    max_bytes: u64,
    size_bytes: u64,
    /// Two kilobytes: not to be copied along with every future that holds an upload.
    hasher: Box<blake3::Hasher>,
    /// `None` after a failure: nothing more is taken.
    sink: Option<Sink>,
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

#[derive(Debug)]
enum Sink {
    Folder(Part),
    Bucket(BucketUpload),
    Google(GoogleUpload),
}

impl Upload {
    pub(super) fn to_folder(part: Part, key: Key<'_>, max_bytes: u64) -> Self {
        Self::to(Sink::Folder(part), key, max_bytes)
    }

    pub(super) fn to_bucket(bucket: Arc<dyn Parted>, key: Key<'_>, max_bytes: u64) -> Self {
        Self::to(Sink::Bucket(BucketUpload::new(bucket, key.as_str())), key, max_bytes)
    }

    pub(super) fn to_google(google: Arc<Google>, key: Key<'_>, max_bytes: u64) -> Self {
        Self::to(Sink::Google(GoogleUpload::new(google, key.as_str())), key, max_bytes)
    }

    fn to(sink: Sink, key: Key<'_>, max_bytes: u64) -> Self {
        let key = key.as_str().to_owned();
        Self { key, max_bytes, size_bytes: 0, hasher: Box::default(), sink: Some(sink) }
    }

    /// Takes the next bytes. After a failure the upload is over.
    ///
    /// # Errors
    /// [`ArtifactError::TooLarge`], [`ArtifactError::Unavailable`].
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), ArtifactError> {
        // Taken out meanwhile: a write that fails or is given up leaves nothing to go on with.
        let mut sink = self.sink.take().ok_or_else(over)?;
        self.size_bytes = self.size_bytes.saturating_add(bytes.len() as u64);
        if self.size_bytes > self.max_bytes {
            sink.abort().await;
            return Err(ArtifactError::TooLarge(self.max_bytes));
        }
        self.hasher.update(&bytes);
        if let Err(error) = sink.write(bytes).await {
            sink.abort().await;
            return Err(error);
        }
        self.sink = Some(sink);
        Ok(())
    }

    /// Makes the object durable and visible under its key.
    ///
    /// # Errors
    /// [`ArtifactError::Unavailable`].
    pub async fn finish(mut self) -> Result<Uploaded, ArtifactError> {
        match self.sink.take().ok_or_else(over)? {
            Sink::Folder(part) => part.finish(Key::new(&self.key)?).await?,
            Sink::Bucket(upload) => upload.finish().await?,
            Sink::Google(upload) => upload.finish().await?,
        }
        let hash = self.hasher.finalize().to_hex().to_string();
        Ok(Uploaded { object_key: self.key, hash, size_bytes: self.size_bytes })
    }

    /// BLAKE3 of what was taken so far, lower-case hex.
    pub(super) fn hash(&self) -> String {
        self.hasher.finalize().to_hex().to_string()
    }

    /// Drops what was taken.
    pub async fn abort(mut self) {
        if let Some(sink) = self.sink.take() {
            sink.abort().await;
        }
    }
}

impl Sink {
    async fn write(&mut self, bytes: Bytes) -> Result<(), ArtifactError> {
        match self {
            Self::Folder(part) => part.write(&bytes).await,
            Self::Bucket(upload) => upload.write(bytes).await,
            Self::Google(upload) => upload.write(bytes).await,
        }
    }

    async fn abort(self) {
        match self {
            Self::Folder(part) => drop(part),
            Self::Bucket(upload) => upload.abort().await,
            Self::Google(upload) => upload.abort().await,
        }
    }
}

fn over() -> ArtifactError {
    ArtifactError::Unavailable("the upload is over".into())
}
