//! The one HTTP client for URLs that callers name: webhooks, tickets, inputs (DESIGN §9).
//!
//! Such a URL may point anywhere, our own network and the cloud's metadata server included. So: https unless the
//! operator names the host for plain http; no user info, no redirects, no proxy of the environment, no cookies;
//! configured ports; and no address inside private networks unless the operator allows it. The rule about addresses is
//! applied where the connection is made, to the very addresses that are connected to: a name that answers
//! differently the second time gains nothing. Every answer has a bound in bytes and one in time, and one destination
//! gets a few requests at a time.

mod address;
mod destinations;
mod resolve;
mod rules;

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Method, Response, StatusCode, Url};
use tokio::time::Instant;

pub use rules::Refusal;

use crate::config;
use destinations::{Destinations, Permit};
use resolve::{Guarded, System};
use rules::Rules;

/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(30);

/// What callers call us by.
const USER_AGENT: &str = concat!("darkroom-gateway/", env!("CARGO_PKG_VERSION"));

/// Why there is no answer. No text of it holds the URL: it may carry a secret.
#[derive(Debug, thiserror::Error)]
pub enum OutsideError {
    /// The URL, or every address its host has, is one we do not speak to. Asking again helps only when the name's
    /// addresses or our configuration change.
    #[error("refused: {0}")]
    Refused(#[from] Refusal),
    /// The destination has its share of requests under way, and none ended in time.
    #[error("too many requests to this destination at once")]
    Busy,
    /// It took longer than it may.
    #[error("no answer in time")]
    TimedOut,
    /// The answer is over its bound.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    /// Nothing was sent: no address, no connection, no TLS.
    #[error("cannot connect: {0}")]
    Unreachable(String),
    /// It broke off; the request may have been heard.
    #[error("the connection broke off: {0}")]
    Broken(String),
}

/// The settings of the client make no sense.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// An entry of a list.
    #[error("{0}")]
    Entry(String),
    /// The client cannot be built.
    #[error("cannot build the client for outside URLs")]
    Client(#[from] reqwest::Error),
}

/// The client. Cheap to clone.
#[derive(Clone)]
pub struct Outside(Arc<Inner>);

struct Inner {
    client: reqwest::Client,
    rules: Arc<Rules>,
    resolver: Arc<Guarded>,
    destinations: Destinations,
    timeout: Duration,
    max_answer_bytes: usize,
}

impl std::fmt::Debug for Outside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outside").field("rules", &self.0.rules).finish_non_exhaustive()
    }
}

/// A request to somebody outside.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`, `POST` …
    pub method: Method,
    /// Where to; checked again when it is sent.
    pub url: Url,
    /// Headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Bound of all of it, answer included; `None`: `outside.timeout_seconds`.
    pub within: Option<Duration>,
    /// Bound of the answer's body, bytes; `None`: `outside.max_answer_bytes`.
    pub max_answer_bytes: Option<usize>,
}

impl Request {
    /// A `POST` with this body and the usual bounds.
    #[must_use]
    pub fn post(url: Url, body: impl Into<Bytes>) -> Self {
        let (within, max_answer_bytes) = (None, None);
        Self {
            method: Method::POST,
            url,
            headers: HeaderMap::new(),
            body: body.into(),
            within,
            max_answer_bytes,
        }
    }

    /// A `GET` with the usual bounds.
    #[must_use]
    pub fn get(url: Url) -> Self {
        Self { method: Method::GET, ..Self::post(url, Bytes::new()) }
    }
}

/// An answer whose body is still to be read. Dropped, the rest is not read.
#[derive(Debug)]
pub struct Answer {
    response: Response,
    deadline: Instant,
    max_bytes: usize,
    read: usize,
    _permit: Permit,
}

impl Outside {
    /// A client with these settings and the system's resolver.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(settings: &config::Outside) -> Result<Self, OpenError> {
        Self::with_resolver(settings, Arc::new(System))
    }

    /// A client that asks `resolver` for addresses; they are judged all the same.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn with_resolver(
        settings: &config::Outside,
        resolver: Arc<dyn reqwest::dns::Resolve>,
    ) -> Result<Self, OpenError> {
        let rules = Arc::new(Rules::new(settings).map_err(OpenError::Entry)?);
        let resolver = Arc::new(Guarded::new(rules.clone(), resolver));
        let timeout = Duration::from_secs(settings.timeout_seconds);
        let client = reqwest::Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .referer(false)
            .user_agent(USER_AGENT)
            .connect_timeout(timeout)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(settings.per_destination)
            .dns_resolver(resolver.clone())
            .build()?;
        Ok(Self(Arc::new(Inner {
            client,
            rules,
            resolver,
            destinations: Destinations::new(settings.per_destination),
            timeout,
            max_answer_bytes: settings.max_answer_bytes,
        })))
    }

    /// What is wrong with these settings, one line a mistake.
    #[must_use]
    pub fn mistakes(settings: &config::Outside) -> Vec<String> {
        rules::mistakes(settings)
    }

    /// Reads a URL and applies every rule that needs no look-up: for a refusal at the door, while the caller listens.
    ///
    /// # Errors
    /// Why it will never be spoken to, safe to show to whoever named it.
    pub fn check(&self, url: &str) -> Result<Url, Refusal> {
        let url = rules::read(url)?;
        self.0.rules.check(&url)?;
        Ok(url)
    }

    /// The resolver of this client, for another one that speaks to URLs that callers name.
    #[must_use]
    pub fn resolver(&self) -> Arc<dyn reqwest::dns::Resolve> {
        self.0.resolver.clone()
    }

    /// Sends a request; returns with the head of the answer, whatever its status. A redirect is such an answer.
    ///
    /// # Errors
    /// See [`OutsideError`].
    pub async fn send(&self, request: Request) -> Result<Answer, OutsideError> {
        let inner = &*self.0;
        inner.rules.check(&request.url)?;
        let deadline = Instant::now() + request.within.unwrap_or(inner.timeout);
        let permit = tokio::time::timeout_at(deadline, inner.destinations.enter(&request.url));
        let permit = permit.await.map_err(|_| OutsideError::Busy)?;
        let call = inner
            .client
            .request(request.method, request.url)
            .headers(request.headers)
            .body(request.body)
            .send();
        let response = tokio::time::timeout_at(deadline, call).await.map_err(|_| OutsideError::TimedOut)?;
        let max_bytes = request.max_answer_bytes.unwrap_or(inner.max_answer_bytes);
        Ok(Answer { response: response.map_err(failure)?, deadline, max_bytes, read: 0, _permit: permit })
    }
}

impl Answer {
    /// Its status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// Its headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// `Retry-After`, where it is given in seconds.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        let value = self.headers().get(RETRY_AFTER).map(HeaderValue::to_str)?.ok()?;
        value.trim().parse().ok().map(Duration::from_secs)
    }

    /// The next bytes of the body; `None` at its end.
    ///
    /// # Errors
    /// Over a bound, or broken off: see [`OutsideError`].
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, OutsideError> {
        let chunk = tokio::time::timeout_at(self.deadline, self.response.chunk());
        let chunk = chunk.await.map_err(|_| OutsideError::TimedOut)?.map_err(failure)?;
        self.read = self.read.saturating_add(chunk.as_ref().map_or(0, Bytes::len));
        if self.read > self.max_bytes { Err(OutsideError::TooLarge(self.max_bytes)) } else { Ok(chunk) }
    }

    /// The whole body.
    ///
    /// # Errors
    /// As [`Answer::chunk`].
    pub async fn bytes(mut self) -> Result<Bytes, OutsideError> {
        let mut whole = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.freeze())
    }

    /// Reads what is left within the bounds and forgets it, so that the connection can be used again.
    pub async fn drain(mut self) {
        while let Ok(Some(_)) = self.chunk().await {}
    }
}

/// A failure in words that hold no URL.
fn failure(error: reqwest::Error) -> OutsideError {
    let error = error.without_url();
    let mut words = Vec::new();
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(refusal) = inner.downcast_ref::<Refusal>() {
            return OutsideError::Refused(refusal.clone());
        }
        words.push(inner.to_string());
        cause = inner.source();
    }
    let words = words.pop().unwrap_or_else(|| "no reason was given".to_owned());
    match (error.is_timeout(), error.is_connect()) {
        (true, _) => OutsideError::TimedOut,
        (false, true) => OutsideError::Unreachable(words),
        (false, false) => OutsideError::Broken(words),
    }
}
