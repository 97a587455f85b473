//! A bucket of Google Cloud Storage as artifact store. Large objects go through resumable sessions: they need no
//! signature, so that a gateway with the credentials of its machine alone can hand uploads out.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream;
use object_store::gcp::{GcpCredential, GoogleCloudStorage, GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::{ObjectStoreExt, StaticCredentialProvider};
use reqwest::Body;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};

use super::bucket::{Bucket, OCTETS, PROBE_KEY, client_options, fault, retry, unavailable};
use super::key::Key;
use super::location::Place;
use super::parted::There;
use super::session::{self, Progress, SessionError};
use super::sums::{Sums, md5_of};
use super::{ArtifactError, OpenError, http};

/// Where credentials come from; without any of them, the machine's own.
const CREDENTIALS: [&str; 5] = [
    "GOOGLE_SERVICE_ACCOUNT",
    "GOOGLE_SERVICE_ACCOUNT_PATH",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_SKIP_SIGNATURE",
];
const DEFAULT_ENDPOINT: &str = "https://storage.googleapis.com";
/// A gateway that may not sign tries again after that.
const UNSIGNED_FOR: Duration = Duration::from_secs(600);
/// A chunk is sent again this often.
const RETRIES: u32 = 3;

/// The bucket.
#[derive(Debug)]
pub(super) struct Google {
    pub(super) bucket: Bucket<GoogleCloudStorage>,
    name: String,
    endpoint: String,
    /// A key is at hand, so that signing asks nobody.
    pub(super) has_key: bool,
    /// Since when signing did not work.
    unsigned: Mutex<Option<Instant>>,
}

/// Sets the client up; nothing is sent yet.
pub(super) fn open(place: Place, environment: &dyn Fn(&str) -> Option<String>) -> Result<Google, OpenError> {
    let wrong = |error: object_store::Error| OpenError { problems: vec![format!("gs: {error}")] };
    let mut builder = GoogleCloudStorageBuilder::new()
        .with_client_options(client_options(place.endpoint.as_deref()))
        .with_retry(retry())
        .with_bucket_name(&place.bucket);
    if let Some(endpoint) = &place.endpoint {
        builder = builder.with_base_url(endpoint);
    }
    let mut has_key = false;
    for name in CREDENTIALS {
        if let (Some(value), Ok(key)) =
            (environment(name), name.to_ascii_lowercase().parse::<GoogleConfigKey>())
        {
            has_key |= name != "GOOGLE_SKIP_SIGNATURE";
            builder = builder.with_config(key, value);
        }
    }
    if let Some(bearer) = environment("GOOGLE_BEARER_TOKEN") {
        builder = builder.with_credentials(Arc::new(StaticCredentialProvider::new(GcpCredential { bearer })));
    }
    let store = builder.build().map_err(wrong)?;
    let endpoint = place.endpoint.unwrap_or_else(|| DEFAULT_ENDPOINT.to_owned());
    let bucket = Bucket::new(store, place.prefix)?;
    Ok(Google { bucket, name: place.bucket, endpoint, has_key, unsigned: Mutex::new(None) })
}

impl Google {
    /// A URL that anybody may read until the time given with it; `None`: we may not sign (the service account lacks
    /// `iam.serviceAccounts.signBlob` on itself), so the gateway has to stream.
    pub(super) async fn signed_url(
        &self,
        key: Key<'_>,
        valid_for: Duration,
    ) -> Result<Option<(String, i64)>, ArtifactError> {
        let is_fresh = |at: &Instant| at.elapsed() < UNSIGNED_FOR;
        let unsigned = || self.unsigned.lock().unwrap_or_else(PoisonError::into_inner);
        if unsigned().as_ref().is_some_and(is_fresh) {
            return Ok(None);
        }
        match self.bucket.signed_url(key, valid_for).await {
            Ok(signed) => Ok(Some(signed)),
            Err(error) => {
                tracing::warn!(%error, "downloads are streamed: the bucket's URLs cannot be signed");
                *unsigned() = Some(Instant::now());
                Ok(None)
            }
        }
    }

    /// What is there under a key.
    pub(super) async fn head(&self, key: &str) -> Result<There, ArtifactError> {
        let there = self.bucket.store.head(&self.bucket.path(key)).await.map_err(fault)?;
        let md5 = there.e_tag.as_deref().and_then(md5_of).map(hex::encode);
        Ok(There { size_bytes: there.size, md5, crc64: None })
    }

    /// Writes an object that is at hand, and compares what arrived.
    pub(super) async fn put(&self, key: &str, pieces: &[Bytes]) -> Result<(), ArtifactError> {
        let sum = Sums::of(pieces.iter().map(|piece| &**piece));
        let mut tries = 0;
        loop {
            let body = pieces.to_vec().into_iter().map(Ok::<_, std::convert::Infallible>);
            let request = self.request("media", key).await?;
            let request = request.header(CONTENT_LENGTH, sum.size_bytes).header(CONTENT_TYPE, OCTETS);
            match session::judge(request.body(Body::wrap_stream(stream::iter(body))).send().await).await {
                Ok(Progress::Done(made)) if made.md5.as_ref().is_none_or(|md5| md5[..] == sum.md5) => {
                    return Ok(());
                }
                Ok(_) => return Err(unavailable("the bucket holds other bytes than were sent")),
                Err(SessionError::Again(..)) if tries < RETRIES => tries += 1,
                Err(error) => return Err(unavailable(error)),
            }
            tokio::time::sleep(http::pause(tries)).await;
        }
    }

    /// Writes a small object, always the same one.
    pub(super) async fn probe(&self) -> Result<(), ArtifactError> {
        self.put(PROBE_KEY, &[Bytes::from_static(b"probe")]).await
    }

    async fn request(&self, kind: &str, key: &str) -> Result<reqwest::RequestBuilder, ArtifactError> {
        let bearer = self.bucket.store.credentials().get_credential().await.map_err(unavailable)?;
        let url = format!("{}/upload/storage/v1/b/{}/o", self.endpoint, self.name);
        let path = self.bucket.path(key);
        let request = self.bucket.http.post(url).query(&[("uploadType", kind), ("name", path.as_ref())]);
        Ok(request.bearer_auth(&bearer.bearer))
    }

    /// Begins a resumable upload; its URL is a right to it.
    pub(super) async fn begin(&self, key: &str, content_type: Option<&str>) -> Result<String, ArtifactError> {
        let request = self.request("resumable", key).await?;
        let request = request.header("x-upload-content-type", content_type.unwrap_or(OCTETS));
        let answer = request.json(&serde_json::json!({})).send().await;
        let answer = answer.map_err(|error| unavailable(http::words(&error.without_url())))?;
        if !answer.status().is_success() {
            return Err(unavailable(format!("the bucket begins no upload: {}", answer.status())));
        }
        let location = answer.headers().get(LOCATION).and_then(|location| location.to_str().ok());
        location.map(str::to_owned).ok_or_else(|| unavailable("the bucket names no upload session"))
    }
}

/// An object that is not seen yet, in bounded memory: one PUT while it is small, chunks when it is not.
#[derive(Debug)]
pub(super) struct GoogleUpload {
    google: Arc<Google>,
    key: String,
    held: Vec<Bytes>,
    held_bytes: u64,
    session: Option<Session>,
}

#[derive(Debug)]
struct Session {
    url: String,
    sent: u64,
}

/// Bytes of a chunk; it bounds the memory of an upload.
const CHUNK_BYTES: u64 = 8 << 20;
const _: () = assert!(CHUNK_BYTES.is_multiple_of(session::UNIT_BYTES));

impl GoogleUpload {
    pub(super) fn new(google: Arc<Google>, key: &str) -> Self {
        Self { google, key: key.to_owned(), held: Vec::new(), held_bytes: 0, session: None }
    }

    /// Appends. After a failure nothing may be appended any more.
    pub(super) async fn write(&mut self, mut bytes: Bytes) -> Result<(), ArtifactError> {
        while !bytes.is_empty() {
            let room = usize::try_from(CHUNK_BYTES - self.held_bytes).unwrap_or(usize::MAX);
            let piece = bytes.split_to(bytes.len().min(room));
            self.held_bytes += piece.len() as u64;
            self.held.push(piece);
            if self.held_bytes == CHUNK_BYTES {
                self.send_chunk(false).await?;
            }
        }
        Ok(())
    }

    /// Makes it visible.
    pub(super) async fn finish(mut self) -> Result<(), ArtifactError> {
        if self.session.is_some() {
            return self.send_chunk(true).await;
        }
        self.google.put(&self.key, &self.held).await
    }

    /// Forgets what was taken.
    pub(super) async fn abort(mut self) {
        if let Some(session) = self.session.take() {
            session::cancel(&self.google.bucket.http, &session.url).await;
        }
    }

    async fn send_chunk(&mut self, is_last: bool) -> Result<(), ArtifactError> {
        if self.session.is_none() {
            let url = self.google.begin(&self.key, None).await?;
            self.session = Some(Session { url, sent: 0 });
        }
        let Some(session) = &mut self.session else { return Ok(()) };
        let end = session.sent + self.held_bytes;
        let pieces = std::mem::take(&mut self.held);
        self.held_bytes = 0;
        let done =
            deliver(&self.google.bucket.http, &session.url, session.sent, &pieces, is_last.then_some(end));
        done.await.map_err(unavailable)?;
        session.sent = end;
        if is_last {
            self.session = None;
        }
        Ok(())
    }
}

impl Drop for GoogleUpload {
    fn drop(&mut self) {
        if let (Some(session), Ok(runtime)) = (self.session.take(), tokio::runtime::Handle::try_current()) {
            let http = self.google.bucket.http.clone();
            runtime.spawn(async move { session::cancel(&http, &session.url).await });
        }
    }
}

/// Sends pieces at hand that begin at `start`, until the session holds them all.
async fn deliver(
    client: &reqwest::Client,
    url: &str,
    start: u64,
    pieces: &[Bytes],
    total: Option<u64>,
) -> Result<(), SessionError> {
    let end = start + pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
    let (mut from, mut tries) = (start, 0);
    loop {
        let rest = session::skip(pieces, from - start);
        let body = Body::wrap_stream(stream::iter(rest.into_iter().map(Ok::<_, std::convert::Infallible>)));
        let sent = session::send(client, url, from..end, total, body).await;
        let progress = match sent {
            Err(SessionError::Again(..)) if tries < RETRIES => session::ask(client, url).await,
            sent => sent,
        };
        tries += 1;
        match progress {
            Ok(Progress::Done(_)) => return Ok(()),
            Ok(Progress::Holds(held)) if held == end && total.is_none() => return Ok(()),
            Ok(Progress::Holds(held)) if (start..=end).contains(&held) && tries <= RETRIES => from = held,
            Ok(Progress::Holds(_)) => {
                return Err(SessionError::Refused("the upload session lost bytes".into()));
            }
            Err(SessionError::Again(..)) if tries <= RETRIES => tokio::time::sleep(http::pause(tries)).await,
            Err(error) => return Err(error),
        }
    }
}
