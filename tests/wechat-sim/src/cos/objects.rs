//! Whole objects.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use md5::{Digest as _, Md5};

use super::{Answer, Asked, Bucket, Object, refuse};

/// A body as it came.
pub(super) struct Received {
    pub(super) bytes: Vec<u8>,
    pub(super) size_bytes: u64,
    keep: bool,
    md5: Md5,
    crc64: crc_fast::Digest,
}

impl Received {
    pub(super) fn new(keep: bool) -> Self {
        let crc64 = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Xz);
        Self { bytes: Vec::new(), size_bytes: 0, keep, md5: Md5::new(), crc64 }
    }

    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.size_bytes += bytes.len() as u64;
        self.md5.update(bytes);
        self.crc64.update(bytes);
        if self.keep {
            self.bytes.extend_from_slice(bytes);
        }
    }

    pub(super) fn into_object(self, headers: &HeaderMap) -> Object {
        let kept = |name: &str| name.starts_with("x-cos-meta-") || name.starts_with("content-type");
        let headers = headers
            .iter()
            .filter(|(name, _)| kept(name.as_str()))
            .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
            .collect();
        Object {
            etag: format!("\"{}\"", hex::encode(self.md5.finalize())),
            crc64: self.crc64.finalize(),
            bytes: self.bytes,
            size_bytes: self.size_bytes,
            headers,
        }
    }
}

impl Object {
    /// As the replies about it say it.
    pub(super) fn describe(&self, mut response: Response) -> Response {
        let headers = response.headers_mut();
        if let Ok(etag) = HeaderValue::try_from(&self.etag) {
            headers.insert("etag", etag);
        }
        headers.insert("x-cos-hash-crc64ecma", self.crc64.into());
        for (name, value) in &self.headers {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                headers.insert(name, value);
            }
        }
        response
    }

    pub(super) fn joined(etag: String, crc64: u64, bytes: Vec<u8>, size_bytes: u64) -> Self {
        Self { bytes, size_bytes, etag, crc64, headers: std::collections::BTreeMap::new() }
    }

    pub(super) fn etag(&self) -> &str {
        &self.etag
    }

    pub(super) fn crc64(&self) -> u64 {
        self.crc64
    }
}

/// Refuses a second object where the request says so.
pub(super) fn guard(bucket: &Bucket, asked: &Asked) -> Result<(), super::Refusal> {
    let forbidden = asked.headers.get("x-cos-forbid-overwrite").is_some_and(|value| value == "true");
    if forbidden && bucket.objects.contains_key(&asked.key) {
        return refuse(409, "FileAlreadyExists", "the object is there already");
    }
    Ok(())
}

impl Bucket {
    pub(super) fn put(&mut self, asked: Asked, body: Received) -> Answer {
        guard(self, &asked)?;
        let object = body.into_object(&asked.headers);
        let answer = object.describe(StatusCode::OK.into_response());
        self.objects.insert(asked.key, object);
        Ok(answer)
    }

    pub(super) fn get(&self, asked: &Asked) -> Answer {
        let Some(object) = self.objects.get(&asked.key) else {
            return refuse(404, "NoSuchKey", &asked.key);
        };
        let range = asked.headers.get("range").and_then(|range| range.to_str().ok());
        let range = range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
        let size = object.bytes.len();
        let answer = match range {
            None if asked.method == Method::HEAD => {
                ([("content-length", object.size_bytes.to_string())], Body::empty()).into_response()
            }
            None => object.bytes.clone().into_response(),
            Some((first, last)) => {
                let Some(first) = first.parse::<usize>().ok().filter(|first| *first < size) else {
                    return refuse(416, "InvalidRange", "outside");
                };
                let last = last.parse::<usize>().unwrap_or(usize::MAX).min(size - 1);
                let told = [("content-range", format!("bytes {first}-{last}/{size}"))];
                (StatusCode::PARTIAL_CONTENT, told, object.bytes[first..=last].to_vec()).into_response()
            }
        };
        Ok(object.describe(answer))
    }
}
