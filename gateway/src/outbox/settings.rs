//! Whom a tenant's events are sent to, and what they are signed with.

use reqwest::Url;
use serde::{Deserialize, Serialize};

use super::signature::SigningKey;
use crate::outside::{Outside, Refusal};
use crate::store::{EventKind, EventKinds, Webhook};

/// What a tenant's webhooks are sent to and signed with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TenantWebhook {
    /// Where events of a job go that names no webhook of its own; unset: nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Which events go there; empty: the ends of jobs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<EventKind>,
    /// Keys; each event is signed with all of them, so that one can be replaced without a gap.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<SigningKey>,
}

/// Why a webhook is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// Nobody could tell its events from forged ones.
    #[error("webhooks are off: this tenant has no signing key")]
    NoKey,
    /// We do not speak to that URL.
    #[error("the webhook's URL is refused: {0}")]
    Refused(#[from] Refusal),
}

impl TenantWebhook {
    /// What is wrong with it, one line a mistake, each beginning with the setting's name.
    #[must_use]
    pub fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        if self.url.as_ref().is_some_and(|url| Url::parse(url).is_err()) {
            mistakes.push("url: not a URL".to_owned());
        }
        if self.url.is_some() && self.keys.is_empty() {
            mistakes.push("keys: events are sent only signed; add a key".to_owned());
        }
        for (index, key) in self.keys.iter().enumerate() {
            if let Some(problem) = key.problem() {
                mistakes.push(format!("keys[{index}]: {problem}"));
            }
            if self.keys.iter().skip(index + 1).any(|other| other.id == key.id) {
                mistakes.push(format!("keys[{index}].id: \"{}\" is there twice", key.id));
            }
        }
        mistakes
    }

    /// Where the events of a job go: to what the job names, else to the tenant's own receiver.
    ///
    /// # Errors
    /// See [`WebhookError`]; a job that names nothing is taken all the same.
    pub fn of_job(
        &self,
        wanted: Option<(String, Vec<EventKind>)>,
        outside: &Outside,
    ) -> Result<Option<Webhook>, WebhookError> {
        let own = self.url.as_ref().map(|url| (url.clone(), self.events.clone()));
        let Some((url, events)) = wanted.or(own) else { return Ok(None) };
        if self.keys.is_empty() {
            return Err(WebhookError::NoKey);
        }
        let url = outside.check(&url)?;
        let events: EventKinds = events.into_iter().collect();
        let events = if events.is_empty() { EventKinds::ends() } else { events };
        Ok(Some(Webhook { receiver: receiver(&url).into(), url: url.as_str().into(), events }))
    }
}

/// What makes a receiver, with its tenant: its URL without query and fragment.
#[must_use]
pub fn receiver(url: &Url) -> String {
    let mut bare = url.clone();
    bare.set_query(None);
    bare.set_fragment(None);
    bare.into()
}
