//! Tencent COS as artifact store, in its own dialect: what its S3 interface refuses of newer clients, or does not know
//! (a refusal to overwrite), is no matter here (wechat FACTS §6.2).

mod client;
mod parts;
mod place;
mod sign;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use reqwest::Method;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, RANGE};

use self::client::{Call, Cos, CosError};
pub(super) use self::place::Place;
use self::sign::Keys;
use super::http::{client, words};
use super::key::Key;
use super::sums::{Sums, Verdict};
use super::xml::ObjectList;
use super::{ArtifactError, Download, OpenError};
use crate::link::message::{Secret, Ticket};

/// What the readiness probe writes.
const PROBE_KEY: &str = "probe";
/// Asks COS to refuse a second object under a key with 409.
const FORBID_OVERWRITE: (&str, &str) = ("x-cos-forbid-overwrite", "true");

/// The bucket.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    cos: Arc<Cos>,
}

impl Bucket {
    /// Sets the client up; nothing is sent yet.
    pub(super) fn open(
        place: Place,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, OpenError> {
        let wrong = |problem: String| OpenError { problems: vec![problem] };
        let given = |name| environment(name).filter(|value| !value.is_empty());
        let keys = match (given("COS_SECRET_ID"), given("COS_SECRET_KEY")) {
            (Some(id), Some(key)) => {
                Keys { id, key: Secret(key), token: given("COS_SESSION_TOKEN").map(Secret) }
            }
            _ => return Err(wrong("cos: set COS_SECRET_ID and COS_SECRET_KEY".into())),
        };
        let http = client().map_err(|error| wrong(format!("cos: {}", words(&error))))?;
        Ok(Self { cos: Arc::new(Cos::new(http, place, keys)) })
    }

    /// A presigned PUT that fixes the media type.
    pub(super) fn put_ticket(&self, key: Key<'_>, content_type: &str, valid_for: Duration) -> Ticket {
        let mut headers = vec![(CONTENT_TYPE.as_str().to_owned(), content_type.to_owned())];
        if self.cos.place().forbid_overwrite {
            headers.push((FORBID_OVERWRITE.0.to_owned(), FORBID_OVERWRITE.1.to_owned()));
        }
        self.ticket(Method::PUT, key, valid_for, headers)
    }

    /// A presigned GET.
    pub(super) fn get_ticket(&self, key: Key<'_>, valid_for: Duration) -> Ticket {
        self.ticket(Method::GET, key, valid_for, Vec::new())
    }

    /// A URL that anybody may read until the time given with it.
    pub(super) fn signed_url(&self, key: Key<'_>, valid_for: Duration) -> (String, i64) {
        let expires_at = super::in_future(valid_for);
        (self.cos.presign(&Call::new(Method::GET, &self.cos.key(key.as_str())), valid_for), expires_at)
    }

    /// Writes an object that is at hand; one that is there already with the same bytes is as good.
    pub(super) async fn put(&self, key: &str, pieces: Vec<Bytes>) -> Result<(), ArtifactError> {
        let key = self.cos.key(key);
        let sum = Sums::of(pieces.iter().map(|piece| &**piece));
        let put = self.guarded(Call::new(Method::PUT, &key)).body(pieces);
        let verdict = match self.cos.send(&put).await {
            Ok(reply) => sum.judge(reply.headers()),
            Err(CosError::There) => {
                let there = self.cos.send(&Call::new(Method::HEAD, &key)).await?;
                let is_as_long = length(there.headers()) == Some(sum.size_bytes);
                if is_as_long { sum.judge(there.headers()) } else { Verdict::Different("length") }
            }
            Err(error) => return Err(error.into()),
        };
        match verdict {
            Verdict::Same | Verdict::Untold => Ok(()),
            Verdict::Different(by) => {
                Err(ArtifactError::Unavailable(format!("the bucket holds other bytes than were sent ({by})")))
            }
        }
    }

    /// Streams an object.
    pub(super) async fn download(
        &self,
        key: Key<'_>,
        range: Option<Range<u64>>,
    ) -> Result<Download, ArtifactError> {
        let mut call = Call::new(Method::GET, &self.cos.key(key.as_str()));
        if let Some(range) = &range {
            call = call.header(RANGE.as_str(), format!("bytes={}-{}", range.start, range.end - 1));
        }
        let answer = self.cos.send(&call).await?;
        let told = match range {
            None => length(answer.headers()).map(|size| (0..size, size)),
            Some(_) => content_range(answer.headers()),
        };
        let (range, size_bytes) =
            told.ok_or_else(|| unavailable("the bucket does not say which bytes it sends"))?;
        let stream = answer.bytes_stream().map_err(|error| unavailable(&words(&error.without_url()))).boxed();
        Ok(Download { size_bytes, range, stream })
    }

    /// Deletes an object, there or not.
    pub(super) async fn delete(&self, key: Key<'_>) -> Result<(), ArtifactError> {
        match self.cos.send(&Call::new(Method::DELETE, &self.cos.key(key.as_str()))).await {
            Ok(_) | Err(CosError::Missing) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The keys that begin like this, at most so many.
    pub(super) async fn list(&self, beginning: Key<'_>, limit: usize) -> Result<Vec<String>, ArtifactError> {
        let call = Call::new(Method::GET, "")
            .query("prefix", self.cos.key(beginning.as_str()))
            .query("max-keys", limit);
        let text = self.cos.text(&call).await?;
        let page: ObjectList =
            quick_xml::de::from_str(&text).map_err(|error| unavailable(&error.to_string()))?;
        let prefix = &self.cos.place().prefix;
        let keys =
            page.objects.into_iter().filter_map(|object| Some(object.key.strip_prefix(prefix)?.to_owned()));
        Ok(keys.collect())
    }

    /// Writes a small object, always the same one.
    pub(super) async fn probe(&self) -> Result<(), ArtifactError> {
        let call = Call::new(Method::PUT, &self.cos.key(PROBE_KEY)).body(vec![Bytes::from_static(b"probe")]);
        match self.cos.send(&call).await {
            Ok(_) => Ok(()),
            // what has no bucket has no object either
            Err(error) => Err(unavailable(&error.to_string())),
        }
    }

    /// The call, with the request not to overwrite where that is configured.
    fn guarded(&self, call: Call) -> Call {
        match self.cos.place().forbid_overwrite {
            true => call.header(FORBID_OVERWRITE.0, FORBID_OVERWRITE.1),
            false => call,
        }
    }

    fn ticket(
        &self,
        method: Method,
        key: Key<'_>,
        valid_for: Duration,
        headers: Vec<(String, String)>,
    ) -> Ticket {
        let expires_at = super::in_future(valid_for);
        let mut call = Call::new(method.clone(), &self.cos.key(key.as_str()));
        for (name, value) in &headers {
            call = call.header(name, value);
        }
        let url = Secret(self.cos.presign(&call, valid_for));
        Ticket::Http { method: method.as_str().to_owned(), url, headers, expires_at }
    }
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// `bytes 0-9/100`.
fn content_range(headers: &HeaderMap) -> Option<(Range<u64>, u64)> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    Some((first.parse().ok()?..last.parse::<u64>().ok()?.checked_add(1)?, size.parse().ok()?))
}

fn unavailable(why: &str) -> ArtifactError {
    ArtifactError::Unavailable(why.to_owned())
}
