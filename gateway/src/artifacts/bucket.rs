//! An S3-compatible bucket as artifact store.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::path::Path;
use object_store::signer::{HeaderValue, Method, SignedUrlOptions, Signer};
use object_store::{
    BackoffConfig, ClientOptions, GetOptions, GetRange, ObjectStore, ObjectStoreExt, RetryConfig,
};

use super::key::Key;
use super::location::Place;
use super::multipart::BucketUpload;
use super::{ArtifactError, Download, OpenError};
use crate::link::message::{Secret, Ticket};

/// Where credentials come from: keys, a web identity, or the container's own.
const CREDENTIALS: [&str; 9] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
];
/// A call is tried again this often, and not beyond [`RETRY_FOR`].
const RETRIES: usize = 3;
/// Beyond it whoever asked decides.
const RETRY_FOR: Duration = Duration::from_secs(10);
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Longest silence in the middle of a call.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// What the readiness probe writes.
const PROBE_KEY: &str = "probe";
/// Taken for a type that cannot stand in a header.
const OCTETS: &str = "application/octet-stream";

/// The bucket.
#[derive(Debug)]
pub(super) struct Bucket {
    store: Arc<AmazonS3>,
    prefix: String,
}

impl Bucket {
    /// Sets the client up; nothing is sent yet.
    pub(super) fn open(
        place: Place,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, OpenError> {
        let region = place
            .region
            .or_else(|| environment("AWS_REGION"))
            .or_else(|| environment("AWS_DEFAULT_REGION"))
            .unwrap_or_else(|| "us-east-1".into());
        let is_plain = place.endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://"));
        let client = ClientOptions::new()
            .with_allow_http(is_plain)
            .with_connect_timeout(CONNECT_WITHIN)
            .with_read_timeout(SILENCE_MAX)
            .with_timeout_disabled();
        let retry =
            RetryConfig { backoff: BackoffConfig::default(), max_retries: RETRIES, retry_timeout: RETRY_FOR };
        let mut builder = AmazonS3Builder::new()
            .with_client_options(client)
            .with_retry(retry)
            .with_conditional_put(S3ConditionalPut::Disabled)
            .with_bucket_name(place.bucket)
            .with_region(region)
            .with_virtual_hosted_style_request(place.virtual_hosted);
        if let Some(endpoint) = place.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        for name in CREDENTIALS {
            if let (Some(value), Ok(key)) =
                (environment(name), name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>())
            {
                builder = builder.with_config(key, value);
            }
        }
        let store = builder.build().map_err(|error| OpenError { problems: vec![error.to_string()] })?;
        Ok(Self { store: Arc::new(store), prefix: place.prefix })
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
        let url =
            self.store.signed_url(Method::GET, &self.path(key), valid_for).await.map_err(unavailable)?;
        Ok((url.into(), expires_at))
    }

    /// Begins an upload.
    pub(super) fn begin(&self, key: Key<'_>) -> BucketUpload {
        BucketUpload::new(Arc::clone(&self.store), self.path(key))
    }

    /// Streams an object.
    pub(super) async fn download(
        &self,
        key: Key<'_>,
        range: Option<Range<u64>>,
    ) -> Result<Download, ArtifactError> {
        let path = self.path(key);
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
        match self.store.delete(&self.path(key)).await {
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
        let url = self.store.signed_url_opts(method, &self.path(key), valid_for, options).await;
        let url = Secret(url.map_err(unavailable)?.into());
        Ok(Ticket::Http { method: name, url, headers, expires_at })
    }

    fn path(&self, key: Key<'_>) -> Path {
        Path::from(format!("{}{}", self.prefix, key.as_str()))
    }
}

/// Milliseconds since the epoch; counted from before the signature, so never too late.
fn in_future(valid_for: Duration) -> i64 {
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_add(valid_for);
    i64::try_from(at.as_millis()).unwrap_or(i64::MAX)
}

fn fault(error: object_store::Error) -> ArtifactError {
    match error {
        object_store::Error::NotFound { .. } => ArtifactError::NotFound,
        other => unavailable(other),
    }
}

/// For calls to which a missing object is no answer: then it is the bucket that is missing.
pub(super) fn unavailable(error: impl std::fmt::Display) -> ArtifactError {
    ArtifactError::Unavailable(error.to_string())
}
