//! Jobs on their way into the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use scheduler::Class;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::delivery::Delivery;

/// Which door a job came by: ids and idempotency keys are unique per tenant and face.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Face {
    /// Comfy API v2.
    V2,
    /// ComfyUI's own API.
    Native,
    /// The private API.
    Private,
}

/// A job as submitted, checked and analysed.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// Internal id, UUIDv7.
    pub id: Uuid,
    /// Public id, unique per tenant among live jobs.
    pub public_id: String,
    /// Who pays.
    pub tenant: u32,
    /// Which door.
    pub face: Face,
    /// Single-use (v2) or replaying (`/v1`) key.
    pub idempotency: Option<IdempotencyKey>,
    /// What is asked of the scheduler, and what is kept of it.
    pub plan: JobPlan,
    /// What was submitted.
    pub body: JobBody,
    /// References to be resolved and pinned in this transaction (DESIGN §4.8).
    pub references: Vec<Reference>,
    /// Caller's labels.
    pub labels: BTreeMap<String, String>,
    /// Opaque key of the person it is done for; never sent to ComfyUI.
    pub user: Option<Arc<str>>,
    /// The template it was made from.
    pub template: Option<TemplateUse>,
    /// Public id of the ended job that it repeats.
    pub retry_of: Option<Arc<str>>,
    /// The batch it was submitted in.
    pub batch: Option<Uuid>,
    /// Milliseconds since the epoch.
    pub accepted_at: i64,
    /// When its record may be forgotten after its end: `ended_at + retention_ms`.
    pub retention_ms: i64,
    /// Who is told of its events.
    pub webhook: Option<super::Webhook>,
    /// What of it is forgotten before its record.
    pub keep_for: KeepFor,
    /// Most jobs of the tenant that may wait with it; `u32::MAX`: no bound of its own. Not kept.
    pub queue: u32,
}

/// Which template a job was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateUse {
    /// Its name.
    pub name: Arc<str>,
    /// Its version, from 1.
    pub version: u32,
    /// The seeds it runs with, by parameter, so that a lucky draw can be repeated.
    pub seeds: BTreeMap<String, u64>,
}

/// How long things of an ended job are kept, milliseconds after its end; `None`: as long as its record. Longer than that
/// is as long as that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeepFor {
    /// What was submitted.
    pub body_ms: Option<i64>,
    /// Original outputs.
    pub originals_ms: Option<i64>,
    /// What was made of them.
    pub deliverables_ms: Option<i64>,
}

/// A caller's promise about repeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// 1 to 255 printable ASCII characters.
    pub key: String,
    /// BLAKE3 of the raw body (DESIGN §4.3).
    pub body_hash: [u8; 32],
    /// Milliseconds since the epoch; 24 h after the claim.
    pub expires_at: i64,
    /// The answer that repeats will get, where the face replays (`/v1`).
    pub response: Option<StoredResponse>,
}

/// What the scheduler needs of a job, as kept in its row: rebuilding a million of them must not parse a workflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobPlan {
    /// Service level.
    pub class: Class,
    /// The tenant's weight at acceptance.
    pub weight: u32,
    /// The tenant's concurrency at acceptance.
    pub concurrency: u32,
    /// The caller's own order.
    pub order: Option<i64>,
    /// Milliseconds since the epoch.
    pub start_deadline: Option<i64>,
    /// Milliseconds since the epoch.
    pub deadline: i64,
    /// When it is wanted, milliseconds since the epoch; a late job still runs.
    pub due_at: Option<i64>,
    /// What an instance must offer.
    pub requirement: Arc<scheduler::Requirement>,
    /// No catalogue was known when it was accepted: judge it again when one is.
    pub provisional: bool,
    /// What it costs.
    pub shape: scheduler::Shape,
    /// Its graph, for exact repeats. Not kept: node caches are short-lived, so after a restart of the gateway the jobs
    /// that wait are sent where their models are.
    pub graph: Option<scheduler::GraphId>,
}

/// The bulky part of a job, read again at dispatch.
#[derive(Debug, Clone, PartialEq)]
pub struct JobBody {
    /// The caller's graph, verbatim JSON text.
    pub workflow: Arc<str>,
    /// The caller's `extra_pnginfo`, JSON object text.
    pub extra_pnginfo: Option<Arc<str>>,
    /// Resolved references: filled by the store when it inserts the job.
    pub inputs: Vec<PinnedInput>,
    /// Refuse ComfyUI's `200 with node_errors`.
    pub strict: bool,
    /// It came with a partner key, which is never stored (DESIGN §9): without it in memory the job cannot run.
    pub needs_partner_key: bool,
    /// What becomes of its files; `None`: the originals are all that is delivered.
    pub delivery: Option<Arc<Delivery>>,
    /// What was said of it by ComfyUI's own API; `None`: it came by another face.
    pub native: Option<Arc<super::NativeFacts>>,
}

impl JobBody {
    /// Whether the reference at `pointer` was resolved and pinned.
    #[must_use]
    pub fn holds(&self, pointer: &str) -> bool {
        self.inputs.iter().any(|input| input.pointer == pointer)
    }
}

/// Something in a workflow that names bytes the tenant holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Where it stands (RFC 6901 pointer).
    pub pointer: String,
    /// What it names.
    pub names: Named,
}

/// How a workflow names bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// An asset record or an output, by id (`core/ASSET`).
    Asset(Uuid),
    /// The tenant's newest asset with this `file_path`.
    Upload(String),
    /// The tenant's newest output with this name (`name [output]`).
    Output(String),
    /// The very bytes that an earlier job read, if they are still there.
    Again(Box<PinnedInput>),
}

/// A reference after its resolution: these very bytes, whatever happens to the record it named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedInput {
    /// Where it stands (RFC 6901 pointer).
    pub pointer: String,
    /// The blob's row.
    pub blob: Uuid,
    /// BLAKE3, lower-case hex.
    pub hash: String,
    /// Bytes.
    pub size_bytes: u64,
    /// Media type.
    pub content_type: String,
    /// File name the record had; gives the staged file its extension.
    pub name: String,
    /// Where the bytes are in the artifact store.
    pub object_key: String,
    /// The sink that holds them; `None`: the gateway's own store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sink: Option<Arc<str>>,
}

/// What became of a submission in its turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inserted {
    /// It is a new row; the scheduler is to hear of it.
    Fresh,
    /// Its idempotency key was used before, by this job.
    DuplicateKey {
        /// Internal id of the earlier job.
        job: Uuid,
        /// Whether the body was the same, byte for byte.
        same_body: bool,
        /// The stored first answer.
        response: Option<StoredResponse>,
    },
    /// A live job of the tenant has this public id.
    DuplicateId,
    /// These references name nothing the tenant holds.
    MissingAssets(Vec<String>),
}

/// The first answer to a `/v1` submission, replayed to repeats.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredResponse {
    /// HTTP status.
    pub status: u16,
    /// Body, as sent.
    pub body: String,
}

/// What an idempotency key leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// Internal id of the job.
    pub job: Uuid,
    /// BLAKE3 of the first body.
    pub body_hash: [u8; 32],
    /// The first answer, where the face replays.
    pub response: Option<StoredResponse>,
}
