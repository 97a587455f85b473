//! An upload to a bucket in bounded memory: one PUT while it is small, parts joined at the end when it is not.

use std::sync::Arc;

use bytes::Bytes;
use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload, WriteMultipart};

use super::ArtifactError;
use super::bucket::unavailable;

/// Bytes of a part: the smallest that S3 takes. With [`PARTS_AT_ONCE`] it bounds the memory of an upload.
const PART_BYTES: usize = 5 * 1024 * 1024;
/// Parts of one upload on their way at once.
const PARTS_AT_ONCE: usize = 2;

/// An object that is not seen yet. Dropped in the middle, the bucket is told to forget its parts.
#[derive(Debug)]
pub(super) struct BucketUpload {
    store: Arc<AmazonS3>,
    path: Path,
    held: Vec<Bytes>,
    held_bytes: usize,
    parts: Option<WriteMultipart>,
}

impl BucketUpload {
    pub(super) fn new(store: Arc<AmazonS3>, path: Path) -> Self {
        Self { store, path, held: Vec::new(), held_bytes: 0, parts: None }
    }

    /// Appends. After a failure nothing may be appended any more.
    pub(super) async fn write(&mut self, bytes: Bytes) -> Result<(), ArtifactError> {
        let Some(parts) = &mut self.parts else { return self.hold(bytes).await };
        parts.wait_for_capacity(PARTS_AT_ONCE).await.map_err(unavailable)?;
        parts.put(bytes);
        Ok(())
    }

    /// Makes it visible.
    pub(super) async fn finish(mut self) -> Result<(), ArtifactError> {
        let done = match self.parts.take() {
            Some(parts) => parts.finish().await,
            None => self.store.put(&self.path, payload(std::mem::take(&mut self.held))).await,
        };
        done.map(drop).map_err(unavailable)
    }

    /// Forgets what was taken.
    pub(super) async fn abort(mut self) {
        forget(self.parts.take()).await;
    }

    async fn hold(&mut self, bytes: Bytes) -> Result<(), ArtifactError> {
        self.held_bytes += bytes.len();
        self.held.push(bytes);
        if self.held_bytes >= PART_BYTES {
            let upload = self.store.put_multipart(&self.path).await.map_err(unavailable)?;
            let mut parts = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
            std::mem::take(&mut self.held).into_iter().for_each(|bytes| parts.put(bytes));
            self.parts = Some(parts);
        }
        Ok(())
    }
}

impl Drop for BucketUpload {
    fn drop(&mut self) {
        if let (Some(parts), Ok(runtime)) = (self.parts.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(forget(Some(parts)));
        }
    }
}

fn payload(held: Vec<Bytes>) -> PutPayload {
    held.into_iter().collect()
}

/// Where the bucket does not hear it, its own rule for unfinished uploads has to do it.
async fn forget(parts: Option<WriteMultipart>) {
    if let Some(parts) = parts {
        let _ = parts.abort().await;
    }
}
