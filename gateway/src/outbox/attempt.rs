//! One event on its way to one receiver, once.

use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue};

use super::{Bodies, KeysOf, signature};
use crate::outside::{Outside, Request};
use crate::store::Delivery;

const EVENT_ID: HeaderName = HeaderName::from_static("darkroom-event-id");
const EVENT_TYPE: HeaderName = HeaderName::from_static("darkroom-event-type");
const TIMESTAMP: HeaderName = HeaderName::from_static("darkroom-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("darkroom-signature");

/// The body of an answer means nothing to us; so long it may take for the sake of the connection.
const DRAIN: Duration = Duration::from_secs(1);

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Any 2xx.
    Delivered,
    /// 410: the receiver does not want this event, now or later.
    Gone,
    /// Anything else, silence included.
    Failed {
        /// In words, without the URL.
        reason: String,
        /// How long the receiver wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// It was not sent, through no fault of the receiver.
    NotSent(String),
}

/// What sending takes.
pub(super) struct Sender {
    pub(super) outside: Outside,
    pub(super) bodies: Arc<dyn Bodies>,
    pub(super) keys: Arc<KeysOf>,
    pub(super) timeout: Duration,
}

impl Sender {
    /// Sends an event.
    pub(super) async fn send(&self, delivery: &Delivery) -> Verdict {
        let request = match self.request(delivery).await {
            Ok(request) => request,
            Err(verdict) => return verdict,
        };
        let answer = match self.outside.send(request).await {
            Ok(answer) => answer,
            Err(error) => return failed(error.to_string()),
        };
        let (status, retry_after) = (answer.status(), answer.retry_after());
        // The head is the answer; a body that comes slowly changes nothing.
        let _ = tokio::time::timeout(DRAIN, answer.drain()).await;
        judge(status, retry_after)
    }

    async fn request(&self, delivery: &Delivery) -> Result<Request, Verdict> {
        let url =
            self.outside.check(&delivery.url).map_err(|refusal| failed(format!("refused: {refusal}")))?;
        let keys = (self.keys)(delivery.event.tenant);
        if keys.is_empty() {
            return Err(Verdict::NotSent("the tenant has no signing key".to_owned()));
        }
        let body = self.bodies.body(&delivery.event).await;
        let body = body.map_err(|_| Verdict::NotSent("the event could not be read".to_owned()))?;
        // Receivers compare with their own clocks: this is the wall's.
        let sent_at = jiff::Timestamp::now().as_second();
        let signature = signature::sign(&keys, sent_at, body.as_bytes());
        let headers = headers(delivery, sent_at, &signature)
            .map_err(|_| Verdict::NotSent("a signing key's id is no header text".to_owned()))?;
        Ok(Request { headers, within: Some(self.timeout), ..Request::post(url, body) })
    }
}

fn headers(delivery: &Delivery, sent_at: i64, signature: &str) -> Result<HeaderMap, InvalidHeaderValue> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(EVENT_ID, HeaderValue::from_str(&delivery.event.id())?);
    headers.insert(EVENT_TYPE, HeaderValue::from_static(delivery.event.kind.name()));
    headers.insert(TIMESTAMP, HeaderValue::from(sent_at));
    headers.insert(SIGNATURE, HeaderValue::from_str(signature)?);
    Ok(headers)
}

fn failed(reason: String) -> Verdict {
    Verdict::Failed { reason, retry_after: None }
}

fn judge(status: StatusCode, retry_after: Option<Duration>) -> Verdict {
    match status {
        status if status.is_success() => Verdict::Delivered,
        StatusCode::GONE => Verdict::Gone,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            Verdict::Failed { reason: format!("answered {}", status.as_u16()), retry_after }
        }
        status => failed(format!("answered {}", status.as_u16())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_success_is_success() {
        let soon = Some(Duration::from_secs(3));
        assert_eq!(judge(StatusCode::NO_CONTENT, None), Verdict::Delivered);
        assert_eq!(judge(StatusCode::GONE, None), Verdict::Gone);
        let failed =
            |status: u16, retry_after| Verdict::Failed { reason: format!("answered {status}"), retry_after };
        assert_eq!(judge(StatusCode::SERVICE_UNAVAILABLE, soon), failed(503, soon));
        assert_eq!(judge(StatusCode::TOO_MANY_REQUESTS, soon), failed(429, soon));
        for status in [StatusCode::FOUND, StatusCode::NOT_FOUND, StatusCode::INTERNAL_SERVER_ERROR] {
            assert_eq!(judge(status, soon), failed(status.as_u16(), None));
        }
    }
}
