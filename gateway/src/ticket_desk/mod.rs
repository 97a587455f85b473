//! Asks whoever submitted a job for tickets to a bucket of theirs (DESIGN §4.13): a signed request that lists the files,
//! an answer that is taken for hostile.

mod answer;
mod request;

use std::sync::Arc;

use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{StatusCode, Url};

pub use answer::Granted;
pub use request::{Ask, AskedFile, Role};

use crate::link::message::Secret;
use crate::outbox::{KeysOf, signature};
use crate::outside::{Outside, OutsideError, Refusal, Request};

const SIGNATURE: HeaderName = HeaderName::from_static("darkroom-signature");

/// Why there are no tickets now. No text of it holds a URL: it may carry a secret.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// The URL is one that is never spoken to, or the tenant has no key to sign with.
    #[error("refused: {0}")]
    Refused(String),
    /// No answer.
    #[error("no answer: {0}")]
    Unreachable(#[source] OutsideError),
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
    outside: Outside,
    keys: Arc<KeysOf>,
}

impl std::fmt::Debug for TicketDesk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TicketDesk").finish_non_exhaustive()
    }
}

impl TicketDesk {
    /// A desk that speaks through `outside` and signs with these keys.
    #[must_use]
    pub fn new(outside: Outside, keys: Box<KeysOf>) -> Self {
        Self { outside, keys: keys.into() }
    }

    /// Whether a URL may be asked, or be uploaded to.
    ///
    /// # Errors
    /// Why not, safe to show to whoever named it.
    pub fn check(&self, url: &str) -> Result<Url, Refusal> {
        self.outside.check(url)
    }

    /// Asks for tickets: one a file, in the order of the files.
    ///
    /// # Errors
    /// See [`DeskError`]; asking again may help in every case.
    pub async fn ask(&self, url: &Secret, tenant: u32, ask: &Ask<'_>) -> Result<Vec<Granted>, DeskError> {
        let refused = |why: String| DeskError::Refused(why);
        let url = self.check(&url.0).map_err(|refusal| refused(refusal.to_string()))?;
        let keys = (self.keys)(tenant);
        if keys.is_empty() {
            return Err(refused("the tenant has no key to sign with".into()));
        }
        let body = serde_json::to_vec(ask).map_err(|error| refused(error.to_string()))?;
        let signature = signature::sign(&keys, jiff::Timestamp::now().as_second(), &body);
        let mut request = Request::post(url, body);
        request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let signature = HeaderValue::from_str(&signature).map_err(|error| refused(error.to_string()))?;
        request.headers.insert(SIGNATURE, signature);
        let answer = self.outside.send(request).await.map_err(unreachable)?;
        if answer.status() != StatusCode::OK {
            let status = answer.status();
            answer.drain().await;
            return Err(DeskError::Status(status));
        }
        let answer = answer.bytes().await.map_err(unreachable)?;
        let check = |url: &str| self.check(url).map(drop).map_err(|refusal| refusal.to_string());
        answer::read(&answer, ask.files.len(), &check).map_err(DeskError::Wrong)
    }
}

fn unreachable(error: OutsideError) -> DeskError {
    match error {
        OutsideError::Refused(refusal) => DeskError::Refused(refusal.to_string()),
        error => DeskError::Unreachable(error),
    }
}
