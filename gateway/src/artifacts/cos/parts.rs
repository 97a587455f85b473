//! Large objects of COS, in parts.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, ETAG};

use super::client::{Call, CosError, describe};
use super::{Bucket, length, unavailable};
use crate::artifacts::ArtifactError;
use crate::artifacts::http::read;
use crate::artifacts::parted::{Completed, Parted, There};
use crate::artifacts::sums::{Sums, Verdict, md5_of};
use crate::artifacts::xml::{Complete, Fault, Initiated, Part, Unfinished, UploadList};

/// Where a part belongs.
const NUMBER: &str = "partNumber";
const UPLOAD: &str = "uploadId";

impl Parted for Bucket {
    fn put<'a>(&'a self, key: &'a str, pieces: Vec<Bytes>) -> BoxFuture<'a, Result<(), ArtifactError>> {
        Bucket::put(self, key, pieces).boxed()
    }

    fn initiate<'a>(
        &'a self,
        key: &'a str,
        content_type: Option<&'a str>,
    ) -> BoxFuture<'a, Result<String, ArtifactError>> {
        async move {
            let mut call = Call::new(Method::POST, &self.cos.key(key)).query("uploads", "");
            if let Some(content_type) = content_type {
                call = call.header(CONTENT_TYPE.as_str(), content_type);
            }
            let text = self.cos.text(&self.guarded(call)).await?;
            let Initiated { upload } = quick_xml::de::from_str(&text).map_err(not_xml)?;
            Ok(upload)
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
            let sum = Sums::of(pieces.iter().map(|piece| &**piece));
            let reply = self.cos.send(&self.part(key, upload, number).body(pieces)).await?;
            if let Verdict::Different(by) = sum.judge(reply.headers()) {
                return Err(unavailable(&format!("the bucket holds another part than was sent ({by})")));
            }
            let etag = reply.headers().get(ETAG).and_then(|etag| etag.to_str().ok());
            let etag = etag.ok_or_else(|| unavailable("the bucket gave a part no ETag"))?.to_owned();
            Ok(Part { number, etag })
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
            let body = quick_xml::se::to_string(&Complete { parts }).map_err(not_xml)?;
            let call = Call::new(Method::POST, &self.cos.key(key)).query(UPLOAD, upload);
            let call = call.header(CONTENT_TYPE.as_str(), "application/xml").body(vec![body.into()]);
            let reply = self.cos.send(&self.guarded(call)).await?;
            let (status, headers) = (reply.status(), reply.headers().clone());
            let text = read(reply).await.map_err(|why| unavailable(&why))?;
            // joining may take long: the status is sent before the outcome is known
            if let Some(fault) = Fault::find(&text) {
                return Err(unavailable(&describe(status, &fault)));
            }
            Ok(Completed { crc64: crc64(&headers), etag: None })
        }
        .boxed()
    }

    fn abort<'a>(&'a self, key: &'a str, upload: &'a str) -> BoxFuture<'a, Result<(), ArtifactError>> {
        async move {
            let call = Call::new(Method::DELETE, &self.cos.key(key)).query(UPLOAD, upload);
            match self.cos.send(&call).await {
                Ok(_) | Err(CosError::Missing) => Ok(()),
                Err(error) => Err(error.into()),
            }
        }
        .boxed()
    }

    fn head<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<There, ArtifactError>> {
        async move {
            let reply = self.cos.send(&Call::new(Method::HEAD, &self.cos.key(key))).await?;
            let headers = reply.headers();
            let etag = headers.get(ETAG).and_then(|etag| etag.to_str().ok());
            Ok(There {
                size_bytes: length(headers).ok_or_else(|| unavailable("the bucket tells no length"))?,
                md5: etag.and_then(md5_of).map(hex::encode),
                crc64: crc64(headers),
            })
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
        let url = self.cos.presign(&self.part(key, upload, number), valid_for);
        futures_util::future::ready(Ok(url)).boxed()
    }

    fn unfinished(&self) -> BoxFuture<'_, Result<Vec<Unfinished>, ArtifactError>> {
        async move {
            let mut all = Vec::new();
            let (mut key, mut upload) = (String::new(), String::new());
            loop {
                let call = Call::new(Method::GET, "")
                    .query("uploads", "")
                    .query("prefix", &self.cos.place().prefix)
                    .query("key-marker", &key)
                    .query("upload-id-marker", &upload);
                let text = self.cos.text(&call).await?;
                let page: UploadList = quick_xml::de::from_str(&text).map_err(not_xml)?;
                let ours = page.uploads.into_iter().filter_map(|found| {
                    let key = found.key.strip_prefix(&self.cos.place().prefix)?.to_owned();
                    Some(Unfinished { key, ..found })
                });
                all.extend(ours);
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

impl Bucket {
    fn part(&self, key: &str, upload: &str, number: u32) -> Call {
        Call::new(Method::PUT, &self.cos.key(key)).query(NUMBER, number).query(UPLOAD, upload)
    }
}

fn crc64(headers: &reqwest::header::HeaderMap) -> Option<u64> {
    headers.get("x-cos-hash-crc64ecma")?.to_str().ok()?.parse().ok()
}

fn not_xml(error: impl std::fmt::Display) -> ArtifactError {
    ArtifactError::Unavailable(format!("the bucket's answer cannot be read: {error}"))
}
