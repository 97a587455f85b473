//! Jobs as they are read.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use scheduler::Class;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Face, JobError, JobPlan, TemplateUse, Used};
use crate::delivery::Place;
use crate::link::message::{OutputKind, Receipt};

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
    /// Opaque key of the person it is done for.
    pub user: Option<Arc<str>>,
    /// The template it was made from.
    pub template: Option<TemplateUse>,
    /// Public id of the ended job that it repeats.
    pub retry_of: Option<Arc<str>>,
    /// The batch it was submitted in.
    pub batch: Option<Uuid>,
    /// Milliseconds since the epoch.
    pub accepted_at: i64,
    /// Milliseconds since the epoch; known from the end on.
    pub started_at: Option<i64>,
    /// Milliseconds since the epoch.
    pub ended_at: Option<i64>,
    /// Milliseconds since the epoch.
    pub start_deadline: Option<i64>,
    /// When it is wanted, milliseconds since the epoch.
    pub due_at: Option<i64>,
    /// Milliseconds since the epoch.
    pub deadline: i64,
    /// When the record may be forgotten; before the end: as if it ended at its deadline.
    pub expires_at: i64,
    /// Why it failed.
    pub error: Option<JobError>,
    /// What it used, once it has succeeded.
    pub used: Option<Used>,
}

/// A job with its outputs in server order, none before its end.
pub type JobWithOutputs = (JobRow, Vec<OutputRow>);

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
    /// Which store holds them.
    pub place: Place,
    /// What the owner of that store calls it, for [`Place::Caller`].
    pub receipt: Option<Receipt>,
    /// Width and height of the picture, pixels, where known.
    pub size: Option<(u32, u32)>,
    /// A few characters that stand for the picture until it is loaded.
    pub placeholder: Option<String>,
    /// Further files.
    pub variants: Vec<VariantRow>,
}

/// What stands behind an output whose row is another file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginalRow {
    /// The output.
    pub output: Uuid,
    /// Its name in the caller's eyes.
    pub name: String,
    /// Media type.
    pub content_type: String,
    /// Bytes.
    pub size_bytes: u64,
    /// BLAKE3, lower-case hex.
    pub hash: String,
    /// Where the bytes are, in the gateway's own store.
    pub object_key: String,
}

/// A further file of an output, as read.
#[derive(Debug, Clone)]
pub struct VariantRow {
    /// The id it is fetched by.
    pub id: Uuid,
    /// Its name in the job's policy.
    pub name: String,
    /// Media type.
    pub content_type: String,
    /// Bytes.
    pub size_bytes: u64,
    /// BLAKE3, lower-case hex.
    pub hash: String,
    /// Width and height, pixels, where known.
    pub size: Option<(u32, u32)>,
    /// Which store holds it.
    pub place: Place,
    /// Where the bytes are there.
    pub object_key: String,
    /// What the owner of that store calls it, for [`Place::Caller`].
    pub receipt: Option<Receipt>,
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
    /// Only of this person.
    pub user: Option<String>,
    /// Only of this template.
    pub template: Option<String>,
    /// Only of this service level.
    pub class: Option<Class>,
    /// Only of this batch.
    pub batch: Option<Uuid>,
    /// Only those accepted within, milliseconds since the epoch.
    pub accepted: Option<Range<i64>>,
    /// Strictly older than this internal id.
    pub before: Option<Uuid>,
    /// At most so many.
    pub limit: u32,
}

/// One page of a list.
#[derive(Debug, Clone, Default)]
pub struct Listed {
    /// Newest first.
    pub rows: Vec<JobRow>,
    /// Present when the store stopped looking before it had found enough or seen everything: no request walks a
    /// tenant's whole history. To go on, ask for what is before this id.
    pub more_before: Option<Uuid>,
}
