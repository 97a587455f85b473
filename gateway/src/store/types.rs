//! What goes into the store and comes out of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use scheduler::{AttemptEnd, Class, Learned, Outcome};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::link::message::OutputKind;

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
    /// Milliseconds since the epoch.
    pub accepted_at: i64,
    /// When its record may be forgotten after its end: `ended_at + retention_ms`.
    pub retention_ms: i64,
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
    /// What an instance must offer.
    pub requirement: Arc<scheduler::Requirement>,
    /// No catalogue was known when it was accepted: judge it again when one is.
    pub provisional: bool,
    /// What it costs.
    pub shape: scheduler::Shape,
}

/// The bulky part of a job, read again at dispatch.
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// A decided fact about a job, with its payload.
#[derive(Debug, Clone)]
pub enum JobRecord {
    /// Admission refused it in the turn that inserted it: row, body, pins and key go.
    Refused {
        /// Internal id.
        job: Uuid,
    },
    /// It was given to an instance.
    Placed {
        /// Internal id.
        job: Uuid,
        /// Attempt number.
        attempt: u32,
        /// Instance row.
        instance: u32,
        /// The attempt's id at ComfyUI.
        prompt: Uuid,
        /// Milliseconds since the epoch.
        at: i64,
    },
    /// An attempt ended and the job waits again.
    AttemptEnded {
        /// Internal id.
        job: Uuid,
        /// Attempt number.
        attempt: u32,
        /// Why.
        end: AttemptEnd,
        /// In words.
        message: Option<String>,
        /// Counted faults after it.
        faults: u32,
        /// Losses after it.
        losses: u32,
        /// Milliseconds since the epoch.
        at: i64,
    },
    /// A cancel is intended.
    CancelIntended {
        /// Internal id.
        job: Uuid,
    },
    /// Its service level changed.
    ClassChanged {
        /// Internal id.
        job: Uuid,
        /// The new level.
        class: Class,
    },
    /// It was judged again against a catalogue.
    Respecified {
        /// Internal id.
        job: Uuid,
        /// What it needs now.
        requirement: Arc<scheduler::Requirement>,
        /// What it costs now.
        shape: scheduler::Shape,
    },
    /// It ended; its pins go, its outputs come.
    Ended {
        /// Internal id.
        job: Uuid,
        /// The attempt that ended it.
        attempt: Option<u32>,
        /// How.
        outcome: Outcome,
        /// Why, for a failure.
        error: Option<JobError>,
        /// The outputs of the winning attempt.
        outputs: Vec<NewOutput>,
        /// Milliseconds since the epoch.
        started_at: Option<i64>,
        /// Milliseconds since the epoch.
        at: i64,
    },
    /// A cost was learned.
    Learned(Learned),
}

/// A failure in the words of every face.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct JobError {
    /// Stable code (`docs/ERRORS.md`).
    pub code: String,
    /// For people; no internals.
    pub message: String,
    /// The node at fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_id: Option<String>,
    /// Its class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_type: Option<String>,
    /// ComfyUI's traceback, paths removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceback: Option<String>,
    /// ComfyUI's `node_errors`, JSON object text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_errors: Option<String>,
}

/// An output file that is in the artifact store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOutput {
    /// Its asset id.
    pub id: Uuid,
    /// The row of its bytes.
    pub blob: Uuid,
    /// The node that made it.
    pub node_id: String,
    /// What it is.
    pub kind: OutputKind,
    /// Its name in the caller's eyes. Where it carries ComfyUI's running number (`x_00001_.png`), the store replaces
    /// the number by the tenant's own next one for that prefix (DESIGN §4.9).
    pub name: String,
    /// Media type.
    pub content_type: String,
    /// Bytes.
    pub size_bytes: u64,
    /// BLAKE3, lower-case hex.
    pub hash: String,
    /// Where the bytes are in the artifact store.
    pub object_key: String,
}

/// A job that must be taken up again.
#[derive(Debug, Clone)]
pub struct OpenJob {
    /// Internal id.
    pub id: Uuid,
    /// Who pays.
    pub tenant: u32,
    /// What the scheduler needs.
    pub plan: JobPlan,
    /// Milliseconds since the epoch.
    pub accepted_at: i64,
    /// Last attempt, 0 before the first.
    pub attempt: u32,
    /// Where that attempt is open.
    pub open_on: Option<u32>,
    /// When it was placed.
    pub placed_at: i64,
    /// Counted faults.
    pub faults: u32,
    /// Losses.
    pub losses: u32,
    /// A cancel is intended.
    pub cancel_requested: bool,
}

/// Where a job stands as far as the store knows: progress and `running` are not persisted (DESIGN §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoredState {
    /// Waiting.
    Queued,
    /// On an instance.
    Placed,
    /// On an instance, not wanted any more.
    Canceling,
    /// Ended.
    Succeeded,
    /// Ended.
    Failed,
    /// Ended.
    Canceled,
    /// Ended.
    Expired,
}

impl StoredState {
    /// Whether nothing more will happen.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Canceled | Self::Expired)
    }
}

/// A job as read.
#[derive(Debug, Clone)]
pub struct JobRow {
    /// Internal id.
    pub id: Uuid,
    /// Public id.
    pub public_id: String,
    /// Who pays.
    pub tenant: u32,
    /// Which door.
    pub face: Face,
    /// Where it stands.
    pub state: StoredState,
    /// Counts up with each committed change.
    pub revision: u64,
    /// Service level.
    pub class: Class,
    /// Last attempt, 0 before the first.
    pub attempt: u32,
    /// Where that attempt was placed.
    pub instance: Option<u32>,
    /// Counted faults.
    pub faults: u32,
    /// Losses.
    pub losses: u32,
    /// Caller's labels.
    pub labels: BTreeMap<String, String>,
    /// Milliseconds since the epoch.
    pub accepted_at: i64,
    /// Milliseconds since the epoch; known from the end on.
    pub started_at: Option<i64>,
    /// Milliseconds since the epoch.
    pub ended_at: Option<i64>,
    /// Milliseconds since the epoch.
    pub start_deadline: Option<i64>,
    /// Milliseconds since the epoch.
    pub deadline: i64,
    /// When the record may be forgotten; before the end: as if it ended at its deadline.
    pub expires_at: i64,
    /// Why it failed.
    pub error: Option<JobError>,
}

/// An output as read.
#[derive(Debug, Clone)]
pub struct OutputRow {
    /// Its asset id.
    pub id: Uuid,
    /// Its job.
    pub job: Uuid,
    /// The node that made it.
    pub node_id: String,
    /// What it is.
    pub kind: OutputKind,
    /// Its name in the caller's eyes.
    pub name: String,
    /// Media type.
    pub content_type: String,
    /// Bytes.
    pub size_bytes: u64,
    /// BLAKE3, lower-case hex.
    pub hash: String,
    /// Where the bytes are.
    pub object_key: String,
}

/// Which jobs to list.
#[derive(Debug, Clone, Default)]
pub struct ListQuery {
    /// Whose.
    pub tenant: u32,
    /// Only these; empty: all.
    pub states: Vec<StoredState>,
    /// Every pair must match.
    pub labels: BTreeMap<String, String>,
    /// Strictly older than this internal id.
    pub before: Option<Uuid>,
    /// At most so many.
    pub limit: u32,
}

/// A call about assets, decided inside a turn.
#[derive(Debug, Clone)]
pub enum AssetCall {
    /// Bytes that were uploaded and are in the artifact store now.
    Mint(NewAsset),
    /// A new record for bytes the tenant holds.
    FromHash {
        /// The record.
        asset: NewRecord,
        /// BLAKE3, lower-case hex.
        hash: String,
    },
    /// Forgets a record; its bytes stay while anything else holds them.
    Delete {
        /// Whose.
        tenant: u32,
        /// Which.
        id: Uuid,
        /// Milliseconds since the epoch.
        now: i64,
    },
}

/// An asset record without its bytes.
#[derive(Debug, Clone)]
pub struct NewRecord {
    /// The record's id.
    pub id: Uuid,
    /// Whose.
    pub tenant: u32,
    /// Name, optionally with folders.
    pub file_path: String,
    /// Media type as the caller says.
    pub content_type: String,
    /// Caller's tags.
    pub tags: Vec<String>,
    /// Milliseconds since the epoch.
    pub created_at: i64,
    /// Milliseconds since the epoch; `None`: kept.
    pub expires_at: Option<i64>,
}

/// An asset record with freshly uploaded bytes.
#[derive(Debug, Clone)]
pub struct NewAsset {
    /// The record.
    pub record: NewRecord,
    /// BLAKE3, lower-case hex.
    pub hash: String,
    /// Bytes.
    pub size_bytes: u64,
    /// The row of the bytes.
    pub blob: Uuid,
    /// Where the bytes are.
    pub object_key: String,
}

/// The answer to an [`AssetCall`].
#[derive(Debug, Clone)]
pub enum AssetAnswer {
    /// The record is there. `fresh` tells whether it is new; `keep` whether the uploaded object is the one kept (a
    /// dedup hit leaves it unused and its bytes may go).
    Minted {
        /// The record.
        asset: AssetRow,
        /// Newly made, rather than an identical one that existed.
        fresh: bool,
        /// The uploaded object is in use.
        keep: bool,
    },
    /// The tenant does not hold such bytes.
    BlobNotFound,
    /// Deleted.
    Deleted,
    /// There is no such record.
    NotFound,
    /// An open job has pinned it.
    InUse,
}

/// An asset record or an output, as read.
#[derive(Debug, Clone)]
pub struct AssetRow {
    /// Its id.
    pub id: Uuid,
    /// Whose.
    pub tenant: u32,
    /// BLAKE3, lower-case hex.
    pub hash: String,
    /// Bytes.
    pub size_bytes: u64,
    /// Media type.
    pub content_type: String,
    /// Name.
    pub file_path: String,
    /// Where the bytes are.
    pub object_key: String,
    /// Milliseconds since the epoch.
    pub created_at: i64,
    /// Milliseconds since the epoch; `None`: kept.
    pub expires_at: Option<i64>,
    /// Public id of the job it is an output of.
    pub job: Option<String>,
}

/// A fact about the fleet worth keeping.
#[derive(Debug, Clone)]
pub enum FleetFact {
    /// An instance and the catalogue it offers.
    Instance(KnownInstance),
    /// A catalogue's body.
    Catalogue {
        /// BLAKE3 of the body, lower-case hex.
        hash: String,
        /// `/object_info` as received.
        body: Arc<str>,
    },
}

/// An instance seen before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownInstance {
    /// Its row, the id the scheduler knows it by.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Its host.
    pub host: String,
    /// Its catalogue's hash.
    pub catalogue: Option<String>,
    /// The facts it reported last ([`crate::link::message::InstanceFacts`] as JSON).
    pub facts: Option<String>,
    /// Milliseconds since the epoch.
    pub seen_at: i64,
}

/// Who pays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantRow {
    /// Its row.
    pub id: u32,
    /// Its name, unique.
    pub name: String,
    /// Share against other tenants, at least 1.
    pub weight: u32,
    /// Most attempts on devices at once; `u32::MAX`: no bound.
    pub concurrency: u32,
}

/// What a key may do. Ordered: each includes the ones before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Scrape metrics only.
    Metrics,
    /// Read its tenant's jobs and assets.
    Read,
    /// Submit and cancel too.
    Submit,
    /// Operate the fleet.
    Admin,
}

/// A key as stored: never the key itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    /// Its id, shown by `key list`.
    pub id: String,
    /// BLAKE3 of the key.
    pub hash: [u8; 32],
    /// First characters, to recognise it by.
    pub prefix: String,
    /// Whose.
    pub tenant: TenantRow,
    /// What it may do.
    pub scope: Scope,
    /// Milliseconds since the epoch.
    pub created_at: i64,
    /// Milliseconds since the epoch.
    pub revoked_at: Option<i64>,
}

/// A key to be stored.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// Its id.
    pub id: String,
    /// BLAKE3 of the key.
    pub hash: [u8; 32],
    /// First characters.
    pub prefix: String,
    /// The tenant's name; made when new.
    pub tenant: String,
    /// Weight of a new tenant.
    pub weight: u32,
    /// Concurrency of a new tenant.
    pub concurrency: u32,
    /// What it may do.
    pub scope: Scope,
    /// Milliseconds since the epoch.
    pub created_at: i64,
}

/// What a sweep found.
#[derive(Debug, Clone, Default)]
pub struct Swept {
    /// Objects without rows now; their bytes may go.
    pub object_keys: Vec<String>,
    /// Jobs forgotten.
    pub jobs: u64,
    /// Idempotency keys forgotten.
    pub keys: u64,
    /// Asset records expired.
    pub assets: u64,
}
