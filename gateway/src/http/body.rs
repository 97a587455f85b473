//! JSON bodies, read within bounds: of one body, and of all bodies that are being worked on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::Request;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use futures_util::StreamExt as _;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::error::{ApiError, ErrorKind};
use super::state::Shared;
use crate::tenant::Caller;

/// Bodies up to this size are judged on the spot; larger ones would hold up other requests of the same thread.
pub(super) const INLINE_BYTES: usize = 256 << 10;

/// Bodies up to this size are not worth counting.
const UNCOUNTED_BYTES: usize = 64 << 10;

/// A body that waits for memory takes it in steps of this size.
const STEP_BYTES: usize = 256 << 10;

/// Longest pause within a body.
const PAUSE: Duration = Duration::from_secs(5);

/// A body may take this long, and a second more for every so many bytes: memory is not held by those who trickle.
const GRACE: Duration = Duration::from_secs(10);
const LEAST_BYTES_PER_SECOND: usize = 256 << 10;

/// Longest wait for memory.
const MEMORY_PATIENCE: Duration = Duration::from_secs(10);

/// A body, and its share of the memory for bodies.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) bytes: Bytes,
    _share: Share,
}

/// Reads a JSON body.
pub(super) async fn read(app: &Shared, request: Request) -> Result<Read, ApiError> {
    require_json(request.headers())?;
    read_any(app, request, app.limits.max_body_bytes).await
}

/// Reads a body of at most so many bytes, whatever it is said to be.
pub(super) async fn read_any(app: &Shared, request: Request, limit: usize) -> Result<Read, ApiError> {
    let (parts, body) = request.into_parts();
    require_plain(&parts.headers)?;
    let declared = declared_length(&parts.headers);
    if declared.is_some_and(|length| length > limit) {
        return Err(ApiError::too_large(limit as u64));
    }
    let tenant = parts.extensions.get::<Arc<Caller>>().map(|caller| caller.tenant.id);
    let mut share = Share { budget: app.bodies.clone(), tenant, declared, taken: 0, permits: Vec::new() };
    let bytes = collect(body, limit, &mut share).await?;
    Ok(Read { bytes, _share: share })
}

/// Reads a JSON body and makes something of it.
pub(super) async fn read_as<T: Send + 'static>(
    app: &Arc<Shared>,
    request: Request,
    with: impl FnOnce(&Shared, &[u8]) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let read = read(app, request).await?;
    make(app, read, with).await
}

/// Makes something of a body, off the request threads when it is large.
pub(super) async fn make<T: Send + 'static>(
    app: &Arc<Shared>,
    read: Read,
    with: impl FnOnce(&Shared, &[u8]) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    if read.bytes.len() <= INLINE_BYTES {
        return with(app, &read.bytes);
    }
    let app = app.clone();
    let made = tokio::task::spawn_blocking(move || with(&app, &read.bytes)).await;
    made.map_err(|error| ApiError::internal(&error))?
}

/// Compressed bodies are not taken: a few bytes could become any number.
pub(super) fn require_plain(headers: &HeaderMap) -> Result<(), ApiError> {
    let is_plain =
        |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity") || value.is_empty();
    if headers.get_all(CONTENT_ENCODING).iter().all(is_plain) {
        return Ok(());
    }
    Err(ApiError::new(
        ErrorKind::UnsupportedMedia,
        "unsupported_media_type",
        "the body must not be compressed (Content-Encoding)",
    ))
}

fn require_json(headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(given) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let essence = given.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(ApiError::new(
        ErrorKind::UnsupportedMedia,
        "unsupported_media_type",
        "the body must be application/json",
    ))
}

fn declared_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn collect(body: Body, limit: usize, share: &mut Share) -> Result<Bytes, ApiError> {
    let mut stream = body.into_data_stream();
    let mut first = Bytes::new();
    let mut rest: Vec<u8> = Vec::new();
    let began = Instant::now();
    loop {
        let length = first.len().max(rest.len());
        let Some(chunk) = next(&mut stream, began, length).await? else { break };
        if length + chunk.len() > limit {
            return Err(ApiError::too_large(limit as u64));
        }
        share.cover(length + chunk.len(), limit).await?;
        if rest.is_empty() && first.is_empty() {
            first = chunk; // Most bodies are one chunk: no copy.
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&chunk);
        }
    }
    Ok(if rest.is_empty() { first } else { rest.into() })
}

/// The next bytes of a body that keeps its pace.
async fn next(stream: &mut BodyDataStream, began: Instant, length: usize) -> Result<Option<Bytes>, ApiError> {
    let earned = Duration::from_secs((length / LEAST_BYTES_PER_SECOND) as u64);
    let until = (began + GRACE + earned).min(Instant::now() + PAUSE);
    let slow = |_| ApiError::new(ErrorKind::TimedOut, "timeout", "the body came too slowly");
    let chunk = tokio::time::timeout_at(until, stream.next()).await.map_err(slow)?;
    chunk.transpose().map_err(|_| ApiError::invalid("the body broke off"))
}

/// Memory for bodies: of all, and of each tenant a part of it, so that one cannot keep the others waiting.
#[derive(Debug)]
pub(super) struct Budget {
    all: Arc<Semaphore>,
    /// Permits of one tenant.
    each: usize,
    tenants: Mutex<HashMap<u32, Weak<Semaphore>>>,
}

/// A tenant's part of the memory for bodies.
const PART_OF_ONE: usize = 4;

impl Budget {
    /// One permit a KiB.
    pub(super) fn new(bytes: usize, largest: usize) -> Self {
        let permits = (bytes >> 10).clamp(1, Semaphore::MAX_PERMITS);
        // One body of the largest size must fit.
        let each = (permits / PART_OF_ONE).max((largest >> 10) + 1).min(permits);
        Self { all: Arc::new(Semaphore::new(permits)), each, tenants: Mutex::default() }
    }

    fn of(&self, tenant: u32) -> Arc<Semaphore> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = tenants.get(&tenant).and_then(Weak::upgrade) {
            return own;
        }
        tenants.retain(|_, own| own.strong_count() > 0);
        let own = Arc::new(Semaphore::new(self.each));
        tenants.insert(tenant, Arc::downgrade(&own));
        own
    }
}

/// What one body holds of the budget: nothing while it is small. One of unknown length takes as it grows; one that said
/// its length takes all of it once it has shown that it comes.
#[derive(Debug)]
struct Share {
    budget: Arc<Budget>,
    tenant: Option<u32>,
    declared: Option<usize>,
    taken: usize,
    permits: Vec<OwnedSemaphorePermit>,
}

impl Share {
    /// Sees to it that so many bytes are covered.
    async fn cover(&mut self, bytes: usize, limit: usize) -> Result<(), ApiError> {
        if bytes <= UNCOUNTED_BYTES || bytes <= self.taken {
            return Ok(());
        }
        let wanted =
            self.declared.unwrap_or_else(|| bytes.next_multiple_of(STEP_BYTES).min(limit)).max(bytes);
        let permits = (wanted >> 10) - (self.taken >> 10);
        let permits = u32::try_from(permits.min(self.budget.each)).unwrap_or(u32::MAX);
        let taking = async {
            if let Some(tenant) = self.tenant {
                self.permits.push(self.budget.of(tenant).acquire_many_owned(permits).await?);
            }
            self.permits.push(self.budget.all.clone().acquire_many_owned(permits).await?);
            Ok::<_, AcquireError>(())
        };
        let taken = tokio::time::timeout(MEMORY_PATIENCE, taking).await;
        taken
            .map_err(|_| ApiError::unavailable("too many large bodies at once"))?
            .map_err(|error| ApiError::internal(&error))?;
        self.taken = wanted;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use futures_util::stream;

    use super::*;

    fn share(budget: &Arc<Budget>, tenant: u32, declared: Option<usize>) -> Share {
        Share { budget: budget.clone(), tenant: Some(tenant), declared, taken: 0, permits: Vec::new() }
    }

    fn dripping(pause: Duration, chunk: usize) -> Body {
        Body::from_stream(stream::unfold((), move |()| async move {
            tokio::time::sleep(pause).await;
            Some((Ok::<_, std::io::Error>(Bytes::from(vec![b' '; chunk])), ()))
        }))
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_pauses_or_trickles_is_given_up() {
        let budget = Arc::new(Budget::new(8 << 20, 1 << 20));
        for (pause, chunk) in [(PAUSE * 2, 1000), (PAUSE / 2, 10)] {
            let mut share = share(&budget, 1, None);
            let failure = collect(dripping(pause, chunk), 8 << 20, &mut share).await.unwrap_err();
            assert_eq!(failure.code(), "timeout");
        }
        let mut steady = share(&budget, 1, None);
        let failure = collect(dripping(PAUSE / 10, 1 << 20), 2 << 20, &mut steady).await.unwrap_err();
        assert_eq!(failure.code(), "payload_too_large");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_holds_what_has_come_and_one_tenant_not_all() {
        let budget = Arc::new(Budget::new(8 << 20, 1 << 20));
        let all = || budget.all.available_permits() >> 10;
        let mut slow = share(&budget, 1, None);
        slow.cover(100, 1 << 20).await.unwrap();
        assert_eq!(all(), 8, "nothing for a small one");
        slow.cover(300 << 10, 1 << 20).await.unwrap();
        assert_eq!(budget.all.available_permits(), (8 << 10) - 512);
        let mut large = share(&budget, 1, Some(1 << 20));
        large.cover(100 << 10, 1 << 20).await.unwrap();
        let mut third = share(&budget, 1, Some(1 << 20));
        assert_eq!(third.cover(1 << 20, 1 << 20).await.unwrap_err().code(), "unavailable");
        share(&budget, 2, Some(1 << 20)).cover(1 << 20, 1 << 20).await.unwrap();
        drop((slow, large, third));
        assert_eq!(all(), 8);
        share(&budget, 1, Some(1 << 20)).cover(1 << 20, 1 << 20).await.unwrap();
    }
}
