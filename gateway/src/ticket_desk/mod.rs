//! Asks whoever submitted a job for tickets to a bucket of theirs (DESIGN §4.13): a signed request that lists the files,
//! an answer that is taken for hostile.

mod answer;
mod request;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::{StatusCode, Url};

pub use answer::Granted;
pub use request::{Ask, AskedFile, Role};

use crate::link::message::Secret;
use crate::store::WebhookKey;

/// How long one request may take, its answer included.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// An answer, bytes.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// The keys of a tenant, each of which signs by itself; none: nothing may be sent for it.
pub type KeysOf = dyn Fn(u32) -> Vec<WebhookKey> + Send + Sync;

/// Why there are no tickets now. No text of it holds a URL: it may carry a secret.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// The URL is one that is never spoken to, or the tenant has no key to sign with.
    #[error("refused: {0}")]
    Refused(String),
    /// No answer.
    #[error("no answer: {0}")]
    Unreachable(String),
    /// An answer other than 200.
    #[error("it answered {0}")]
    Status(StatusCode),
    /// An answer that is none.
    #[error("its answer is wrong: {0}")]
    Wrong(String),
}

/// The desk. Cheap to clone.
#[derive(Clone)]
pub struct TicketDesk {
    inner: Arc<Inner>,
}

struct Inner {
    client: reqwest::Client,
    keys: Box<KeysOf>,
    /// Whether plain `http` may be spoken: to this machine only.
    loopback: bool,
}

impl std::fmt::Debug for TicketDesk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TicketDesk").finish_non_exhaustive()
    }
}

impl TicketDesk {
    /// A desk that signs with these keys.
    ///
    /// # Errors
    /// The client cannot be built.
    pub fn open(keys: Box<KeysOf>, loopback: bool) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .timeout(ANSWER_WITHIN)
            .build()?;
        Ok(Self { inner: Arc::new(Inner { client, keys, loopback }) })
    }

    /// Whether a URL may be asked, or be uploaded to.
    ///
    /// # Errors
    /// Why not, safe to show to whoever named it.
    pub fn check(&self, url: &str) -> Result<Url, String> {
        let url = Url::parse(url).map_err(|_| "it is no URL".to_owned())?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("a URL must not hold a user name or a password".into());
        }
        match url.scheme() {
            "https" => Ok(url),
            "http" if self.inner.loopback && is_loopback(&url) => Ok(url),
            _ => Err("only https is spoken".into()),
        }
    }

    /// Asks for tickets: one a file, in the order of the files.
    ///
    /// # Errors
    /// See [`DeskError`]; asking again may help in every case.
    pub async fn ask(&self, url: &Secret, tenant: u32, ask: &Ask<'_>) -> Result<Vec<Granted>, DeskError> {
        let url = self.check(&url.0).map_err(DeskError::Refused)?;
        let keys = (self.inner.keys)(tenant);
        if keys.is_empty() {
            return Err(DeskError::Refused("the tenant has no key to sign with".into()));
        }
        let (body, signature) = request::signed(ask, &keys).map_err(DeskError::Refused)?;
        let answer = self.post(url, body, &signature).await?;
        let check = |url: &str| self.check(url).map(drop);
        answer::read(&answer, ask.files.len(), &check).map_err(DeskError::Wrong)
    }

    async fn post(&self, url: Url, body: String, signature: &str) -> Result<Bytes, DeskError> {
        let unreachable = |error: reqwest::Error| DeskError::Unreachable(error.without_url().to_string());
        let request = self
            .inner
            .client
            .post(url)
            .header(reqwest::header::CONTENT_TYPE, "application/json")
            .header("darkroom-signature", signature)
            .body(body);
        let mut response = request.send().await.map_err(unreachable)?;
        if response.status() != StatusCode::OK {
            return Err(DeskError::Status(response.status()));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if bytes.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(DeskError::Wrong(format!("it is larger than {MAX_ANSWER_BYTES} bytes")));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes.into())
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host_str() {
        Some("localhost") => true,
        Some(host) => {
            host.trim_matches(['[', ']']).parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
        }
        None => false,
    }
}
