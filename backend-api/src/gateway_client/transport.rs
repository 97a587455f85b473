//! One bounded HTTP exchange with the gateway.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url, redirect};
use secrecy::ExposeSecret as _;
use serde::Deserialize;

use super::{Options, Refusal, TransportError};
use crate::trace::{self, Trace};

/// A gateway that wishes for more is asked again after this.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);
/// Characters of a code and of a message that we pass on.
const REFUSAL_CODE_MAX: usize = 64;
const REFUSAL_MESSAGE_MAX: usize = 1_024;

/// A connection pool with the gateway's address and our key.
#[derive(Debug, Clone)]
pub(super) struct Transport {
    client: Client,
    base: Url,
    head_timeout: Duration,
    max_reply_bytes: usize,
}

/// What became of a question for a stream.
pub(super) enum Opened {
    /// Its head has come.
    Stream(Response),
    /// There is none.
    Refused(Reply),
}

/// A whole reply.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Vec<u8>,
    is_problem: bool,
}

impl Transport {
    pub(super) fn new(options: &Options) -> Result<Self, TransportError> {
        let mut headers = HeaderMap::new();
        if let Some(key) = &options.key {
            let mut value = HeaderValue::try_from(format!("Bearer {}", key.expose_secret()))
                .map_err(|_| TransportError::Key)?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let mut client = Client::builder()
            .default_headers(headers)
            .timeout(options.request_timeout)
            .redirect(redirect::Policy::none()) // a redirect could carry our key elsewhere
            .no_proxy(); // so could a proxy from the environment
        if options.url.scheme() == "http" {
            client = client.tls_certs_only([]); // an image without CA certificates suffices for plain HTTP
        }
        Ok(Self {
            client: client.build()?,
            base: options.url.clone(),
            head_timeout: options.request_timeout,
            max_reply_bytes: options.max_reply_bytes,
        })
    }

    /// A request to the base URL extended by `path`, each segment escaped.
    pub(super) fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path); // Err only for URLs such as `data:`, which the configuration refuses
        }
        let request = self.client.request(method, url);
        match Trace::current() {
            Some(trace) => request.header(trace::HEADER, trace.header()),
            None => request,
        }
    }

    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Reply, TransportError> {
        let response = request.send().await.map_err(reqwest::Error::without_url)?;
        self.whole(response).await
    }

    async fn whole(&self, response: Response) -> Result<Reply, TransportError> {
        Ok(Reply {
            status: response.status(),
            retry_after: retry_after(response.headers()),
            is_problem: is_problem(response.headers()),
            body: self.read(response).await?,
        })
    }

    /// Opens a reply that comes in the course of time; its head has to come at once.
    pub(super) async fn open(&self, request: RequestBuilder) -> Result<Opened, TransportError> {
        let head = tokio::time::timeout(self.head_timeout, request.send()).await;
        let response = head.map_err(|_| TransportError::Silent)?.map_err(reqwest::Error::without_url)?;
        if response.status().is_success() {
            return Ok(Opened::Stream(response));
        }
        let reply = tokio::time::timeout(self.head_timeout, self.whole(response)).await;
        Ok(Opened::Refused(reply.map_err(|_| TransportError::Silent)??))
    }

    /// The largest reply that is read, in bytes.
    pub(super) fn max_reply_bytes(&self) -> usize {
        self.max_reply_bytes
    }

    async fn read(&self, mut response: Response) -> Result<Vec<u8>, TransportError> {
        let limit = self.max_reply_bytes;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(reqwest::Error::without_url)? {
            if body.len() + chunk.len() > limit {
                return Err(TransportError::TooLong { limit });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

impl Reply {
    /// The gateway's problem document, if this is one.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        #[derive(Deserialize)]
        struct Problem {
            code: String,
            title: Option<String>,
            detail: Option<String>,
        }
        if !self.is_problem {
            return None;
        }
        let problem: Problem = serde_json::from_slice(&self.body).ok()?;
        let message = problem.detail.or(problem.title).unwrap_or_default();
        Some(Refusal {
            code: problem.code.chars().take(REFUSAL_CODE_MAX).collect(),
            message: message.chars().take(REFUSAL_MESSAGE_MAX).collect(),
        })
    }
}

fn is_problem(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    media_type
        .split(';')
        .next()
        .is_some_and(|name| name.trim().eq_ignore_ascii_case("application/problem+json"))
}

/// Whole seconds; the date form of RFC 9110 is not part of the contract.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}
