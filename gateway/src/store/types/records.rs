//! What a turn writes about jobs.

use std::sync::Arc;

use scheduler::{AttemptEnd, Class, Learned, Outcome};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Used;
use crate::delivery::Place;
use crate::link::message::{OutputKind, Receipt};

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
    /// What ComfyUI's history said of the attempt that is about to end it, in the caller's words: JSON text.
    Told {
        /// Internal id.
        job: Uuid,
        /// What it said.
        record: Arc<str>,
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
        /// What it used, for a success.
        used: Option<Used>,
        /// Milliseconds since the epoch.
        started_at: Option<i64>,
        /// Milliseconds since the epoch.
        at: i64,
    },
    /// A cost was learned.
    Learned(Learned),
}

impl JobRecord {
    /// The job whose row gets a newer revision by it.
    #[must_use]
    pub fn changes(&self) -> Option<Uuid> {
        match self {
            Self::Placed { job, .. }
            | Self::AttemptEnded { job, .. }
            | Self::CancelIntended { job }
            | Self::ClassChanged { job, .. }
            | Self::Respecified { job, .. }
            | Self::Ended { job, .. } => Some(*job),
            Self::Refused { .. } | Self::Told { .. } | Self::Learned(_) => None,
        }
    }
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

/// An output whose files are stored: what callers see of it is its primary deliverable, or the original itself.
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
    /// What is known and was made of it; `None`: the original is all there is, in the gateway's own store.
    pub made: Option<Box<NewMade>>,
}

/// What an output has beside its original in the gateway's own store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewMade {
    /// Which store holds the primary deliverable.
    pub place: Place,
    /// What the owner of that store calls it, for [`Place::Caller`].
    pub receipt: Option<Receipt>,
    /// Width and height of the primary deliverable, pixels.
    pub size: Option<(u32, u32)>,
    /// A few characters that stand for the picture until it is loaded.
    pub placeholder: Option<String>,
    /// The original, where another file is the primary deliverable.
    pub original: Option<NewOriginal>,
    /// Further files.
    pub variants: Vec<NewVariant>,
}

/// An original that another file stands for; in the gateway's own store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOriginal {
    /// The row of its bytes.
    pub blob: Uuid,
    /// Its name, with the number of [`NewOutput::name`].
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

/// A further file of an output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewVariant {
    /// The id it is fetched by.
    pub id: Uuid,
    /// The row of its bytes.
    pub blob: Uuid,
    /// Its name in the job's policy.
    pub name: String,
    /// Media type.
    pub content_type: String,
    /// Bytes.
    pub size_bytes: u64,
    /// BLAKE3, lower-case hex.
    pub hash: String,
    /// Width and height, pixels.
    pub size: Option<(u32, u32)>,
    /// Which store holds it.
    pub place: Place,
    /// Where the bytes are there.
    pub object_key: String,
    /// What the owner of that store calls it, for [`Place::Caller`].
    pub receipt: Option<Receipt>,
}
