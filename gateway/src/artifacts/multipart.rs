//! An upload to a bucket in bounded memory: one PUT while it is small, parts joined at the end when it is not.

use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinSet;

use super::ArtifactError;
use super::parted::Parted;
use super::xml::Part;

/// Bytes of a part; S3 takes none below 5 MiB. With [`PARTS_AT_ONCE`] it bounds the memory of an upload.
const PART_BYTES: usize = 5 * 1024 * 1024;
/// Parts of one upload on their way at once.
const PARTS_AT_ONCE: usize = 2;

/// An object that is not seen yet. Dropped in the middle, the bucket is told to forget its parts.
#[derive(Debug)]
pub(super) struct BucketUpload {
    bucket: Arc<dyn Parted>,
    key: String,
    held: Vec<Bytes>,
    held_bytes: usize,
    /// Once there was more than a part.
    parts: Option<Parts>,
}

#[derive(Debug)]
struct Parts {
    upload: String,
    begun: u32,
    under_way: JoinSet<Result<Part, ArtifactError>>,
    done: Vec<Part>,
}

impl BucketUpload {
    pub(super) fn new(bucket: Arc<dyn Parted>, key: &str) -> Self {
        Self { bucket, key: key.to_owned(), held: Vec::new(), held_bytes: 0, parts: None }
    }

    /// Appends. After a failure nothing may be appended any more.
    pub(super) async fn write(&mut self, mut bytes: Bytes) -> Result<(), ArtifactError> {
        while !bytes.is_empty() {
            // all parts but the last are of one length, which some buckets insist on
            let piece = bytes.split_to(bytes.len().min(PART_BYTES - self.held_bytes));
            self.held_bytes += piece.len();
            self.held.push(piece);
            if self.held_bytes == PART_BYTES {
                self.send_part().await?;
            }
        }
        Ok(())
    }

    /// Makes it visible.
    pub(super) async fn finish(mut self) -> Result<(), ArtifactError> {
        if self.parts.is_none() {
            return self.bucket.put(&self.key, std::mem::take(&mut self.held)).await;
        }
        if self.held_bytes > 0 {
            self.send_part().await?;
        }
        let Some(parts) = &mut self.parts else { return Ok(()) };
        while parts.settle().await? {}
        parts.done.sort_by_key(|part| part.number);
        let (upload, done) = (parts.upload.clone(), std::mem::take(&mut parts.done));
        self.bucket.complete(&self.key, &upload, done).await?;
        self.parts = None;
        Ok(())
    }

    /// Forgets what was taken.
    pub(super) async fn abort(mut self) {
        if let Some(parts) = self.parts.take() {
            forget(Arc::clone(&self.bucket), self.key.clone(), parts).await;
        }
    }

    async fn send_part(&mut self) -> Result<(), ArtifactError> {
        if self.parts.is_none() {
            let upload = self.bucket.initiate(&self.key, None).await?;
            self.parts = Some(Parts { upload, begun: 0, under_way: JoinSet::new(), done: Vec::new() });
        }
        let Some(parts) = &mut self.parts else { return Ok(()) };
        while parts.under_way.len() >= PARTS_AT_ONCE {
            parts.settle().await?;
        }
        parts.begun += 1;
        self.held_bytes = 0;
        let (bucket, key, pieces) =
            (Arc::clone(&self.bucket), self.key.clone(), std::mem::take(&mut self.held));
        let (upload, number) = (parts.upload.clone(), parts.begun);
        parts.under_way.spawn(async move { bucket.put_part(&key, &upload, number, pieces).await });
        Ok(())
    }
}

impl Parts {
    /// Waits for one that is under way; whether there was one.
    async fn settle(&mut self) -> Result<bool, ArtifactError> {
        let Some(part) = self.under_way.join_next().await else { return Ok(false) };
        self.done.push(part.map_err(|error| ArtifactError::Unavailable(error.to_string()))??);
        Ok(true)
    }
}

impl Drop for BucketUpload {
    fn drop(&mut self) {
        if let (Some(parts), Ok(runtime)) = (self.parts.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(forget(Arc::clone(&self.bucket), self.key.clone(), parts));
        }
    }
}

/// Where the bucket does not hear it, the sweep of a later start has to do it.
async fn forget(bucket: Arc<dyn Parted>, key: String, mut parts: Parts) {
    // a part that arrives after it would stay
    parts.under_way.shutdown().await;
    if let Err(error) = bucket.abort(&key, &parts.upload).await {
        tracing::warn!(%error, key, "a begun upload was not aborted");
    }
}
