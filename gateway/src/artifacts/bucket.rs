//! What the buckets that `object_store` speaks to have in common.

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::signer::{HeaderValue, Method, SignedUrlOptions, Signer};
use object_store::{
    BackoffConfig, ClientOptions, GetOptions, GetRange, ObjectStore, ObjectStoreExt, RetryConfig,
};
use reqwest::Client;

use super::key::Key;
use super::{ArtifactError, Download, OpenError, http, in_future};
use crate::link::message::{Secret, Ticket};

/// A call is tried again this often, and not beyond [`RETRY_FOR`].
const RETRIES: usize = 3;
/// Beyond it whoever asked decides.
const RETRY_FOR: Duration = Duration::from_secs(10);
/// What the readiness probe writes.
pub(super) const PROBE_KEY: &str = "probe";
/// Taken for a type that cannot stand in a header.
pub(super) const OCTETS: &str = "application/octet-stream";

/// The bucket.
#[derive(Debug)]
pub(super) struct Bucket<S> {
    pub(super) store: Arc<S>,
    /// For what `object_store` does not do.
    pub(super) http: Client,
    pub(super) prefix: String,
}

/// Bounds of every call.
pub(super) fn client_options(endpoint: Option<&str>) -> ClientOptions {
    ClientOptions::new()
        .with_allow_http(endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")))
        .with_connect_timeout(http::CONNECT_WITHIN)
        .with_read_timeout(http::SILENCE_MAX)
        .with_timeout_disabled()
}

/// How often a call is tried again.
pub(super) fn retry() -> RetryConfig {
    RetryConfig { backoff: BackoffConfig::default(), max_retries: RETRIES, retry_timeout: RETRY_FOR }
}

impl<S: ObjectStore + Signer> Bucket<S> {
    pub(super) fn new(store: S, prefix: String) -> Result<Self, OpenError> {
        let http = http::client().map_err(|error| OpenError { problems: vec![http::words(&error)] })?;
        Ok(Self { store: Arc::new(store), http, prefix })
    }

    /// A presigned PUT that fixes the media type.
    pub(super) async fn put_ticket(
        &self,
        key: Key<'_>,
        content_type: &str,
        valid_for: Duration,
    ) -> Result<Ticket, ArtifactError> {
        let content_type = if HeaderValue::from_str(content_type).is_ok() { content_type } else { OCTETS };
        let header = HeaderValue::from_str(content_type).unwrap_or(HeaderValue::from_static(OCTETS));
        let name = object_store::signer::HeaderName::from_static("content-type");
        let options = SignedUrlOptions::default().with_signed_header(name, header);
        let headers = vec![("content-type".to_owned(), content_type.to_owned())];
        self.ticket(Method::PUT, key, valid_for, &options, headers).await
    }

    /// A presigned GET.
    pub(super) async fn get_ticket(
        &self,
        key: Key<'_>,
        valid_for: Duration,
    ) -> Result<Ticket, ArtifactError> {
        self.ticket(Method::GET, key, valid_for, &SignedUrlOptions::default(), Vec::new()).await
    }

    /// A URL that anybody may read until the time given with it.
    pub(super) async fn signed_url(
        &self,
        key: Key<'_>,
        valid_for: Duration,
    ) -> Result<(String, i64), ArtifactError> {
        let expires_at = in_future(valid_for);
        let url = self
            .store
            .signed_url(Method::GET, &self.path(key.as_str()), valid_for)
            .await
            .map_err(unavailable)?;
        Ok((url.into(), expires_at))
    }

    /// Streams an object.
    pub(super) async fn download(
        &self,
        key: Key<'_>,
        range: Option<Range<u64>>,
    ) -> Result<Download, ArtifactError> {
        let path = self.path(key.as_str());
        let options = GetOptions { range: range.clone().map(GetRange::Bounded), ..GetOptions::default() };
        let found = match (self.store.get_opts(&path, options).await, range) {
            (Ok(found), _) => found,
            (Err(error @ object_store::Error::Generic { .. }), Some(asked)) => {
                // A range past the end fails in words that differ by service: ask for the length.
                let size_bytes = self.store.head(&path).await.map_err(fault)?.size;
                let is_past_end = asked.start >= size_bytes;
                return Err(if is_past_end { ArtifactError::NotFound } else { fault(error) });
            }
            (Err(error), _) => return Err(fault(error)),
        };
        let (size_bytes, range) = (found.meta.size, found.range.clone());
        Ok(Download { size_bytes, range, stream: found.into_stream().map_err(fault).boxed() })
    }

    /// Deletes an object, there or not.
    pub(super) async fn delete(&self, key: Key<'_>) -> Result<(), ArtifactError> {
        match self.store.delete(&self.path(key.as_str())).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(unavailable(error)),
        }
    }

    /// The keys that begin like this, at most so many.
    pub(super) async fn list(&self, beginning: Key<'_>, limit: usize) -> Result<Vec<String>, ArtifactError> {
        let start = format!("{}{}", self.prefix, beginning.as_str());
        let folder = start.rsplit_once('/').map(|(folder, _)| Path::from(folder));
        // listings go by folder: it begins right before the first key that can be meant and ends after the last
        let mut found = self.store.list_with_offset(folder.as_ref(), &Path::from(start.as_str()));
        let mut keys = Vec::new();
        while let Some(object) = found.try_next().await.map_err(unavailable)? {
            let Some(key) = object.location.as_ref().strip_prefix(&self.prefix) else { break };
            if !key.starts_with(beginning.as_str()) || keys.len() == limit {
                break;
            }
            keys.push(key.to_owned());
        }
        Ok(keys)
    }

    /// Writes a small object, always the same one.
    pub(super) async fn probe(&self) -> Result<(), ArtifactError> {
        let path = Path::from(format!("{}{PROBE_KEY}", self.prefix));
        self.store.put(&path, "probe".into()).await.map(drop).map_err(unavailable)
    }

    async fn ticket(
        &self,
        method: Method,
        key: Key<'_>,
        valid_for: Duration,
        options: &SignedUrlOptions,
        headers: Vec<(String, String)>,
    ) -> Result<Ticket, ArtifactError> {
        let expires_at = in_future(valid_for);
        let name = method.as_str().to_owned();
        let url = self.store.signed_url_opts(method, &self.path(key.as_str()), valid_for, options).await;
        let url = Secret(url.map_err(unavailable)?.into());
        Ok(Ticket::Http { method: name, url, headers, expires_at })
    }

    /// Where the object of one of our keys is.
    pub(super) fn path(&self, key: &str) -> Path {
        Path::from(format!("{}{key}", self.prefix))
    }
}

/// A missing object is an answer.
pub(super) fn fault(error: object_store::Error) -> ArtifactError {
    match error {
        object_store::Error::NotFound { .. } => ArtifactError::NotFound,
        other => unavailable(other),
    }
}

/// For calls to which a missing object is no answer: then it is the bucket that is missing.
pub(super) fn unavailable(error: impl std::fmt::Display) -> ArtifactError {
    ArtifactError::Unavailable(error.to_string())
}
