//! What a tenant may do and how it is served, beyond its share: kept as one JSON column, so that a setting more needs no
//! new table. Everything has a default, which bounds nothing; unknown members are refused, so that a typo is found.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::pictures;

/// The settings of one tenant. The default bounds nothing beyond what the configuration bounds for all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TenantSettings {
    /// How much it may have, ask for and keep.
    pub limits: TenantLimits,
    /// What its workflows may use.
    pub allow: Allowed,
    /// Names of the sinks its jobs may ask for; the gateway's own store needs no name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sinks: Vec<String>,
    /// The sink of a job that asks for none; `None`: the gateway's own store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sink: Option<String>,
    /// What is done to its pictures; a job chooses within it.
    #[serde(skip_serializing_if = "is_unset")]
    pub pictures: pictures::Policy,
    /// Where its events go, and how they are signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<crate::outbox::TenantWebhook>,
}

fn is_unset(policy: &pictures::Policy) -> bool {
    *policy == pictures::Policy::default()
}

impl TenantSettings {
    /// As it may be shown: the ids of webhook keys stay, the keys go.
    #[must_use]
    pub fn shown(&self) -> serde_json::Value {
        let mut shown = serde_json::to_value(self).unwrap_or_default();
        let keys = shown.pointer_mut("/webhook/keys").and_then(serde_json::Value::as_array_mut);
        for key in keys.into_iter().flatten().filter_map(serde_json::Value::as_object_mut) {
            key.shift_remove("secret");
        }
        shown
    }
}

/// Bounds of one tenant; `None`: no bound of its own. How many of its attempts run at once is
/// [`super::TenantRow::concurrency`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TenantLimits {
    /// Jobs that wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queued: Option<u32>,
    /// Submissions a minute, on average; over it 429 with `Retry-After`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub submissions_per_minute: Option<NonZeroU32>,
    /// Submissions that may come at once; `None`: as many as a minute's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub submissions_burst: Option<NonZeroU32>,
    /// Steps of one sampler.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u32>,
    /// Size of one picture, in units of 1024 × 1024 pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub megapixels: Option<u32>,
    /// Pictures or frames that one node makes at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frames: Option<u32>,
    /// Uploads, originals and deliverables it holds in stores of the gateway's, bytes; over it uploads and submissions are refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored_bytes: Option<u64>,
    /// How long things of an ended job are kept.
    #[serde(skip_serializing_if = "TenantRetention::is_default")]
    pub retention: TenantRetention,
}

/// How long things of an ended job are kept, seconds; `None`: as long as the job's record, which is the most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TenantRetention {
    /// The record itself; `None`: `retention.jobs_seconds` of the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jobs_seconds: Option<u64>,
    /// What was submitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bodies_seconds: Option<u64>,
    /// Original outputs: chaining reads them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub originals_seconds: Option<u64>,
    /// What was made of the originals: shown to others. A file that is both is kept as long as either.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deliverables_seconds: Option<u64>,
}

impl TenantRetention {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What the workflows of a tenant may use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Allowed {
    /// Node classes by name.
    pub classes: Rules,
    /// Model files by name, folders included.
    pub models: Rules,
}

/// A name passes when it matches `allow` (or that is empty) and does not match `deny`. Patterns may have `*` (any
/// characters) and `?` (one).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// Only these; empty: all. Of node classes, `@core` stands for the shipped list of those that only compute.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// Not these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<String>,
}
