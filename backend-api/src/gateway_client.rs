//! Client of the gateway's private face `/v1`, with its own small view of the contract.
//!
//! One call is one attempt: who calls decides about repeats, because only the caller knows what is recorded.
//! Every call is bounded in time and in the size of its reply.

mod assets;
mod error;
mod feed;
mod sse;
mod transport;
mod wire;

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Url};
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::Instant;

pub use assets::{AssetGone, NewAsset};
pub use error::{AskError, FollowError, Refusal, SubmitError, TransportError};
pub use feed::{Feed, Word};
pub use wire::{
    Class, Event, EventPage, Job, JobError, JobStatus, Output, Progress, Standing, SubmitTemplate, Template,
    TemplateCall, Ticket, TicketMeta, TicketRequest, TicketedFile, Tickets, Webhook,
};

use transport::{Reply, Transport};
use wire::{Standings, TemplatePage};

/// How long a readiness question to the gateway may take.
const READY_TIMEOUT: Duration = Duration::from_secs(1);
/// Following starts with this pause between polls …
const POLL_FIRST: Duration = Duration::from_millis(250);
/// … makes it half as long again each time, up to this.
const POLL_MAX: Duration = Duration::from_secs(5);

/// The events that end a job.
const ENDS: &str = "job.succeeded,job.failed,job.canceled,job.expired";

/// Where the gateway is and within what bounds it is asked.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its base URL; `/v1/…` is appended to its path.
    pub url: Url,
    /// Sent as a bearer token; `None` for a gateway without keys.
    pub key: Option<SecretString>,
    /// Bound of one call, connecting and reading the reply included.
    pub request_timeout: Duration,
    /// The largest reply that is read.
    pub max_reply_bytes: usize,
}

/// What the gateway says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// It takes jobs.
    Ready,
    /// It answers, but does not serve now (recovering, draining, wrong address).
    NotReady,
    /// No answer in time.
    Unreachable,
}

impl Readiness {
    /// In one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ok",
            Self::NotReady => "not_ready",
            Self::Unreachable => "unreachable",
        }
    }
}

/// Speaks `/v1`. Cheap to clone; clones share connections.
#[derive(Debug, Clone)]
pub struct GatewayClient {
    transport: Transport,
}

impl GatewayClient {
    /// Prepares a client; connects to nothing yet.
    ///
    /// # Errors
    /// When the key cannot be a header or no TLS roots are found for an `https` gateway.
    pub fn new(options: &Options) -> Result<Self, TransportError> {
        Ok(Self { transport: Transport::new(options)? })
    }

    /// Submits a body made by [`SubmitTemplate::encode`], perhaps long ago, under `idempotency_key` (1–255 printable
    /// ASCII characters): a repeat has to carry the very same bytes.
    ///
    /// # Errors
    /// See [`SubmitError`]: its variants say whether to repeat, and with which key.
    pub async fn submit(&self, body: String, idempotency_key: &str) -> Result<Job, SubmitError> {
        let request = self
            .transport
            .request(Method::POST, &["v1", "jobs"])
            .header("idempotency-key", idempotency_key)
            .header("content-type", "application/json")
            .body(body);
        let reply = self.transport.send(request).await?;
        match reply.status {
            status if status.is_success() => Ok(decode(&reply)?),
            status => Err(SubmitError::from_refusal(status, reply.retry_after, reply.refusal())),
        }
    }

    /// The job as it is now.
    ///
    /// # Errors
    /// See [`AskError`]; asking again is always safe.
    pub async fn job(&self, id: &str) -> Result<Job, AskError> {
        self.ask(Method::GET, &["v1", "jobs", id]).await
    }

    /// Wants the job canceled; the answer is the job, perhaps still `canceling`. Repeating it changes nothing.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn cancel(&self, id: &str) -> Result<Job, AskError> {
        self.ask(Method::POST, &["v1", "jobs", id, "cancel"]).await
    }

    /// Polls the job until it ended. Asks at least once, even when `deadline` is past; the last poll starts at the
    /// deadline at the latest. A gateway that is away for a while is waited for.
    ///
    /// # Errors
    /// [`FollowError::StillOpen`] at the deadline, [`FollowError::Ask`] when the last poll was
    /// not answered or no poll ever will be.
    pub async fn follow(&self, id: &str, deadline: Instant) -> Result<Job, FollowError> {
        let mut pause = POLL_FIRST;
        loop {
            let not_ended = match self.job(id).await {
                Ok(job) if job.status.is_ended() => return Ok(job),
                Ok(job) => FollowError::StillOpen { last: Box::new(job) },
                Err(error @ AskError::Unavailable { .. }) => error.into(),
                Err(error) => return Err(error.into()),
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(not_ended);
            }
            tokio::time::sleep(pause.min(left)).await;
            pause = (pause * 3 / 2).min(POLL_MAX);
        }
    }

    /// Up to `most` templates that may be used, by name.
    ///
    /// # Errors
    /// See [`AskError`]; asking again is always safe.
    pub async fn templates(&self, most: usize) -> Result<Vec<Template>, AskError> {
        let mut templates = Vec::new();
        let mut cursor: Option<String> = None;
        while templates.len() < most {
            let query = cursor.iter().map(|cursor| ("cursor", cursor.as_str()));
            let request = self.transport.request(Method::GET, &["v1", "templates"]);
            let request = request.query(&query.chain([("limit", "100")]).collect::<Vec<_>>());
            let page: TemplatePage = self.answer(request).await?;
            templates.extend(page.templates);
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        templates.truncate(most);
        Ok(templates)
    }

    /// The ends of jobs after `cursor`; without one from the oldest that is kept, `latest` from now on.
    ///
    /// # Errors
    /// [`AskError::Refused`] with `cursor_expired` when the cursor is too old; else see [`AskError`].
    pub async fn ends(&self, cursor: Option<&str>, limit: u32) -> Result<EventPage, AskError> {
        let limit = limit.to_string();
        let mut query = vec![("types", ENDS), ("limit", limit.as_str())];
        query.extend(cursor.map(|cursor| ("after", cursor)));
        self.answer(self.transport.request(Method::GET, &["v1", "events"]).query(&query)).await
    }

    /// Where up to 100 jobs stand.
    ///
    /// # Errors
    /// See [`AskError`]; asking again is always safe.
    pub async fn standings(&self, ids: &[String]) -> Result<Vec<Standing>, AskError> {
        let request = self.transport.request(Method::POST, &["v1", "jobs", "status"]);
        Ok(self.answer::<Standings>(request.json(&json!({ "ids": ids }))).await?.jobs)
    }

    /// Whether the gateway would take a job now.
    pub async fn readiness(&self) -> Readiness {
        let request = self.transport.request(Method::GET, &["readyz"]).timeout(READY_TIMEOUT);
        match self.transport.send(request).await {
            Ok(reply) if reply.status.is_success() => Readiness::Ready,
            Ok(_) => Readiness::NotReady,
            Err(_) => Readiness::Unreachable,
        }
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, path: &[&str]) -> Result<T, AskError> {
        self.answer(self.transport.request(method, path)).await
    }

    async fn answer<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, AskError> {
        let reply = self.transport.send(request).await?;
        match reply.status {
            status if status.is_success() => Ok(decode(&reply)?),
            status => Err(AskError::from_refusal(status, reply.retry_after, reply.refusal())),
        }
    }
}

fn decode<T: DeserializeOwned>(reply: &Reply) -> Result<T, TransportError> {
    serde_json::from_slice(&reply.body).map_err(TransportError::Unreadable)
}
