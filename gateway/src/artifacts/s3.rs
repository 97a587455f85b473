//! A bucket of S3, or of what speaks like it, as artifact store.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::signer::{Method, SignedUrlOptions, Signer};
use object_store::{Attribute, AttributeValue, Attributes, ObjectStoreExt, PutMultipartOptions, PutPayload};

use super::bucket::{Bucket, client_options, fault, retry, unavailable};
use super::location::Place;
use super::parted::{Completed, Parted, There};
use super::sums::md5_of;
use super::xml::{Part, Unfinished, UploadList};
use super::{ArtifactError, OpenError, http};

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
/// How long a request that is signed to be sent at once counts.
const REQUEST_FOR: Duration = Duration::from_secs(300);

/// Sets the client up; nothing is sent yet.
pub(super) fn open(
    place: Place,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Bucket<AmazonS3>, OpenError> {
    let region = place
        .region
        .or_else(|| environment("AWS_REGION"))
        .or_else(|| environment("AWS_DEFAULT_REGION"))
        .unwrap_or_else(|| "us-east-1".into());
    let mut builder = AmazonS3Builder::new()
        .with_client_options(client_options(place.endpoint.as_deref()))
        .with_retry(retry())
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
    Bucket::new(store, place.prefix)
}

impl Parted for Bucket<AmazonS3> {
    fn put<'a>(&'a self, key: &'a str, pieces: Vec<Bytes>) -> BoxFuture<'a, Result<(), ArtifactError>> {
        async move {
            let path = self.path(key);
            self.store.put(&path, payload(pieces)).await.map(drop).map_err(unavailable)
        }
        .boxed()
    }

    fn initiate<'a>(
        &'a self,
        key: &'a str,
        content_type: Option<&'a str>,
    ) -> BoxFuture<'a, Result<String, ArtifactError>> {
        async move {
            let given =
                content_type.map(|given| (Attribute::ContentType, AttributeValue::from(given.to_owned())));
            let attributes = Attributes::from_iter(given);
            let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
            self.store.create_multipart_opts(&self.path(key), options).await.map_err(unavailable)
        }
        .boxed()
    }

    fn put_part<'a>(
        &'a self,
        key: &'a str,
        upload: &'a str,
        number: u32,
        pieces: Vec<Bytes>,
    ) -> BoxFuture<'a, Result<Part, ArtifactError>> {
        async move {
            let (path, id, index) = (self.path(key), upload.to_owned(), number.saturating_sub(1) as usize);
            let put = self.store.put_part(&path, &id, index, payload(pieces)).await;
            Ok(Part { number, etag: put.map_err(fault)?.content_id })
        }
        .boxed()
    }

    fn complete<'a>(
        &'a self,
        key: &'a str,
        upload: &'a str,
        parts: Vec<Part>,
    ) -> BoxFuture<'a, Result<Completed, ArtifactError>> {
        async move {
            let (path, id) = (self.path(key), upload.to_owned());
            let parts = parts.into_iter().map(|part| PartId { content_id: part.etag }).collect();
            let done = self.store.complete_multipart(&path, &id, parts).await.map_err(fault)?;
            Ok(Completed { crc64: None, etag: done.e_tag })
        }
        .boxed()
    }

    fn abort<'a>(&'a self, key: &'a str, upload: &'a str) -> BoxFuture<'a, Result<(), ArtifactError>> {
        async move {
            match self.store.abort_multipart(&self.path(key), &upload.to_owned()).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(unavailable(error)),
            }
        }
        .boxed()
    }

    fn head<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<There, ArtifactError>> {
        async move {
            let there = self.store.head(&self.path(key)).await.map_err(fault)?;
            let md5 = there.e_tag.as_deref().and_then(md5_of).map(hex::encode);
            Ok(There { size_bytes: there.size, md5, crc64: None })
        }
        .boxed()
    }

    fn part_url<'a>(
        &'a self,
        key: &'a str,
        upload: &'a str,
        number: u32,
        valid_for: Duration,
    ) -> BoxFuture<'a, Result<String, ArtifactError>> {
        async move {
            let number = number.to_string();
            let query = [("partNumber", number.as_str()), ("uploadId", upload)];
            let options = SignedUrlOptions::new().with_query(query);
            let url = self.store.signed_url_opts(Method::PUT, &self.path(key), valid_for, &options).await;
            url.map(String::from).map_err(unavailable)
        }
        .boxed()
    }

    fn unfinished(&self) -> BoxFuture<'_, Result<Vec<Unfinished>, ArtifactError>> {
        async move {
            let mut all = Vec::new();
            let (mut key, mut upload) = (String::new(), String::new());
            loop {
                let page = self.unfinished_page(&key, &upload).await?;
                all.extend(page.uploads.into_iter().filter_map(|found| {
                    let key = found.key.strip_prefix(&self.prefix)?.to_owned();
                    Some(Unfinished { key, ..found })
                }));
                match (page.truncated, page.next_key) {
                    (true, Some(next)) if next != key || page.next_upload.is_some() => {
                        (key, upload) = (next, page.next_upload.unwrap_or_default());
                    }
                    _ => return Ok(all),
                }
            }
        }
        .boxed()
    }
}

impl Bucket<AmazonS3> {
    async fn unfinished_page(&self, key: &str, upload: &str) -> Result<UploadList, ArtifactError> {
        let query =
            [("uploads", ""), ("prefix", &self.prefix), ("key-marker", key), ("upload-id-marker", upload)];
        let query = query.into_iter().filter(|(name, value)| !value.is_empty() || *name == "uploads");
        let options = SignedUrlOptions::new().with_query(query);
        let url = self.store.signed_url_opts(Method::GET, &Path::default(), REQUEST_FOR, &options).await;
        let answer = self.http.get(url.map_err(unavailable)?).send().await;
        let answer = answer.map_err(|error| unavailable(http::words(&error.without_url())))?;
        let status = answer.status();
        let text = http::read(answer).await.map_err(unavailable)?;
        if !status.is_success() {
            return Err(unavailable(format!("the bucket does not list its begun uploads: {status}")));
        }
        quick_xml::de::from_str(&text).map_err(unavailable)
    }
}

fn payload(pieces: Vec<Bytes>) -> PutPayload {
    pieces.into_iter().collect()
}
