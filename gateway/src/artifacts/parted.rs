//! What a bucket can do with a large object: take it in parts, joined at the end.

use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::ArtifactError;
use super::xml::{Part, Unfinished};

/// A bucket that takes large objects in parts. Keys are ours, without the bucket's prefix.
pub(super) trait Parted: Debug + Send + Sync {
    /// Writes a small object in one go.
    fn put<'a>(&'a self, key: &'a str, pieces: Vec<Bytes>) -> BoxFuture<'a, Result<(), ArtifactError>>;

    /// Begins an upload; gives its id.
    fn initiate<'a>(
        &'a self,
        key: &'a str,
        content_type: Option<&'a str>,
    ) -> BoxFuture<'a, Result<String, ArtifactError>>;

    /// Writes a part, from 1.
    fn put_part<'a>(
        &'a self,
        key: &'a str,
        upload: &'a str,
        number: u32,
        pieces: Vec<Bytes>,
    ) -> BoxFuture<'a, Result<Part, ArtifactError>>;

    /// Joins the parts; then the object is seen.
    fn complete<'a>(
        &'a self,
        key: &'a str,
        upload: &'a str,
        parts: Vec<Part>,
    ) -> BoxFuture<'a, Result<Completed, ArtifactError>>;

    /// Forgets the parts; fine when there are none.
    fn abort<'a>(&'a self, key: &'a str, upload: &'a str) -> BoxFuture<'a, Result<(), ArtifactError>>;

    /// What is there under a key.
    fn head<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<There, ArtifactError>>;

    /// A URL to PUT one part to.
    fn part_url<'a>(
        &'a self,
        key: &'a str,
        upload: &'a str,
        number: u32,
        valid_for: Duration,
    ) -> BoxFuture<'a, Result<String, ArtifactError>>;

    /// Uploads below our prefix that were begun and not ended.
    fn unfinished(&self) -> BoxFuture<'_, Result<Vec<Unfinished>, ArtifactError>>;
}

/// What a bucket says of an object that it joined.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Completed {
    pub(super) crc64: Option<u64>,
    pub(super) etag: Option<String>,
}

/// What a bucket says of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct There {
    pub(super) size_bytes: u64,
    /// Lower-case hex, where the entity tag is one.
    pub(super) md5: Option<String>,
    pub(super) crc64: Option<u64>,
}
