//! What every handler may reach, and the bounds they keep.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::body::Budget;
use super::editor::Editor;
use super::error::{ApiError, ErrorKind};
use super::native::{Desk, Forwarding, Nodes};
use super::private::AvailabilityCache;
use super::quota::{Rates, Reserved};
use crate::artifacts::Artifacts;
use crate::engine::EngineHandle;
use crate::metrics::Metrics;
use crate::network::Network;
use crate::outside::Outside;
use crate::pictures;
use crate::prices::Prices;
use crate::sinks::Sinks;
use crate::tenant::{Caller, Tenants};
use crate::ticket_desk::TicketDesk;
use crate::workflow;

/// Told to a caller with too many event streams.
const STREAM_RETRY_AFTER_SECONDS: u64 = 5;

/// What the composition root hands to [`super::router`].
#[derive(Debug, Clone)]
pub struct State {
    /// Everything that decides.
    pub engine: EngineHandle,
    /// The gateway's own store.
    pub artifacts: Artifacts,
    /// Every store that outputs may be in.
    pub sinks: Sinks,
    /// Asks callers for tickets to their own buckets.
    pub desk: TicketDesk,
    /// Who may call.
    pub tenants: Tenants,
    /// What is counted.
    pub metrics: Metrics,
    /// Bounds.
    pub limits: Limits,
    /// How callers without a key are met.
    pub doors: Doors,
    /// Base of absolute URLs, without a slash at its end; `None`: the request's own host.
    pub public_url: Option<String>,
    /// File names that every instance has in its input folder.
    pub shared_inputs: Arc<[String]>,
    /// The way to URLs that callers name.
    pub outside: Outside,
    /// What GPU time costs.
    pub prices: Prices,
    /// How long an ended job is remembered.
    pub retention: Duration,
    /// Jobs and sockets of ComfyUI's own API.
    pub native: Desk,
    /// The web editor, where one is served.
    pub editor: Option<Editor>,
    /// Cancelled when the process goes away: event streams end.
    pub closing: CancellationToken,
}

/// Bounds of the faces. Over a bound the caller gets 413, 422 or 429.
#[derive(Debug, Clone)]
pub struct Limits {
    /// A JSON body, bytes.
    pub max_body_bytes: usize,
    /// JSON bodies that are being read or judged at one time, bytes altogether; more have to wait.
    pub max_bodies_bytes: usize,
    /// An uploaded file, bytes.
    pub max_asset_bytes: u64,
    /// Templates of one tenant: names, and versions of each.
    pub max_templates: (u32, u32),
    /// What a template carries for people, bytes of JSON.
    pub max_meta_bytes: usize,
    /// Bounds of a workflow.
    pub workflow: workflow::Limits,
    /// Event streams of one key.
    pub max_streams_per_key: usize,
    /// Jobs of one request that is about many.
    pub max_batch_jobs: usize,
    /// Uploads of one key at once.
    pub max_uploads_per_key: usize,
    /// How long a request may take, reading its body included; uploads and streams excepted.
    pub request_timeout: Duration,
    /// How long an upload may pause.
    pub upload_idle_timeout: Duration,
    /// How long a reader may take nothing of an answer that an instance gives.
    pub answer_idle_timeout: Duration,
    /// Total deadline of a job that asks for none.
    pub default_deadline: Duration,
    /// Longest wait of a request for events.
    pub feed_wait: Duration,
    /// Pixels of all pictures that one node may make at once, in units of 1024 × 1024.
    pub max_megapixels: u64,
    /// Steps of one node.
    pub max_steps: u64,
    /// Bounds of one picture.
    pub pictures: pictures::Limits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_body_bytes: 8 << 20,
            max_bodies_bytes: 128 << 20,
            max_asset_bytes: 100 << 20,
            workflow: workflow::Limits::default(),
            max_streams_per_key: 10_000,
            max_batch_jobs: 100,
            max_templates: (1_000, 1_000),
            max_meta_bytes: 16 << 10,
            request_timeout: Duration::from_secs(30),
            upload_idle_timeout: Duration::from_secs(30),
            answer_idle_timeout: Duration::from_secs(75),
            default_deadline: Duration::from_secs(24 * 3600),
            feed_wait: Duration::from_secs(60),
            max_uploads_per_key: 64,
            max_megapixels: 4096,
            max_steps: 10_000,
            pictures: pictures::Limits::default(),
        }
    }
}

/// How callers without a key are met (DESIGN §7).
#[derive(Debug, Clone, Default)]
pub struct Doors {
    /// The listener can be reached by this machine only: while no key was ever created, everybody may enter.
    /// `false`: nobody enters without a key, ever.
    pub loopback: bool,
    /// Origins of foreign web pages that may call, such as `https://editor.example`.
    pub allowed_origins: Vec<String>,
    /// The listener speaks TLS.
    pub tls: bool,
    /// Proxies whose `X-Forwarded-*` headers are believed.
    pub trusted_proxies: Vec<Network>,
}

/// [`State`] and what the faces keep beside it.
#[derive(Debug)]
pub(super) struct Shared {
    state: State,
    pub(super) streams: Streams,
    /// Shares out [`Limits::max_bodies_bytes`].
    pub(super) bodies: Arc<Budget>,
    /// Submissions of each tenant, counted against its rate.
    pub(super) rates: Rates,
    /// Uploads that are coming in, by key.
    pub(super) uploads: Streams,
    /// Uploads that are coming in, counted against the tenant's bound of bytes.
    pub(super) reserved: Reserved,
    /// Streams that ask the engine for a queue position at the same time.
    pub(super) askers: Semaphore,
    /// The OpenAPI document, once the routes are known.
    document: OnceLock<Bytes>,
    /// What the fleet says to templates.
    pub(super) availability: AvailabilityCache,
    /// The node classes of the whole fleet, as ComfyUI's own API shows them.
    pub(super) nodes: Nodes,
    /// Pictures that are being converted.
    pub(super) conversions: Semaphore,
    /// What is passed on to custom nodes.
    pub(super) forwarding: Forwarding,
    /// Held while the name of an upload is chosen, by tenant.
    pub(super) naming: [tokio::sync::Mutex<()>; 16],
}

/// What handlers take.
pub(super) type App = axum::extract::State<Arc<Shared>>;

/// Streams may bother the engine this many at a time.
const MAX_ASKERS: usize = 8;

impl Shared {
    pub(super) fn new(state: State) -> Self {
        Self {
            streams: Streams::default(),
            bodies: Arc::new(Budget::new(state.limits.max_bodies_bytes, state.limits.max_body_bytes)),
            uploads: Streams::default(),
            rates: Rates::default(),
            reserved: Reserved::default(),
            askers: Semaphore::new(MAX_ASKERS),
            document: OnceLock::new(),
            availability: AvailabilityCache::default(),
            nodes: Nodes::default(),
            conversions: Semaphore::new(state.native.settings().conversions),
            forwarding: Forwarding::new(state.native.settings()),
            naming: Default::default(),
            state,
        }
    }

    /// One more event stream of the caller's.
    ///
    /// # Errors
    /// 429 when it has as many as it may.
    pub(super) fn enter_stream(&self, caller: &Caller) -> Result<StreamPermit, ApiError> {
        self.streams.enter(caller, self.limits.max_streams_per_key).ok_or_else(|| {
            ApiError::new(ErrorKind::Busy, "too_many_streams", "too many event streams are open")
                .retry_after(STREAM_RETRY_AFTER_SECONDS)
        })
    }

    /// Keeps the OpenAPI document.
    pub(super) fn document(&self, text: String) {
        let _ = self.document.set(text.into()); // A second one is the same.
    }

    /// The OpenAPI document, JSON text.
    pub(super) fn documented(&self) -> Bytes {
        self.document.get().cloned().unwrap_or_default()
    }
}

impl std::ops::Deref for Shared {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

/// Open event streams, by key.
#[derive(Debug, Default, Clone)]
pub(super) struct Streams(Arc<Mutex<HashMap<StreamKey, usize>>>);

type StreamKey = (u32, Option<String>);

/// The right to one stream; given back when dropped.
#[derive(Debug)]
pub(super) struct StreamPermit {
    streams: Streams,
    key: StreamKey,
}

impl Streams {
    /// One more stream for this caller, if there may be.
    pub(super) fn enter(&self, caller: &Caller, max: usize) -> Option<StreamPermit> {
        let key = (caller.tenant.id, caller.key_id.clone());
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(key.clone()).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        drop(open);
        Some(StreamPermit { streams: self.clone(), key })
    }

    /// Streams open now.
    pub(super) fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        let mut open = self.streams.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.key);
            }
        }
    }
}
