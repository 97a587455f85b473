//! One job's life: every state, every legal step, on one screen (DESIGN §5).

use serde::{Deserialize, Serialize};

use crate::ids::{AttemptNo, InstanceId};
use crate::time::Timestamp;

/// Where an attempt is, since when, and until when it may stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// Which try.
    pub attempt: AttemptNo,
    /// Where.
    pub instance: InstanceId,
    /// When it was placed.
    pub placed_at: Timestamp,
    /// When ComfyUI started it, once known.
    pub started_at: Option<Timestamp>,
    /// The placement lease: the right to the device, renewed by any sign of the attempt.
    pub lease_until: Timestamp,
}

/// The state of an open job, and its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// In the backlog, not before the given instant (back-off after a loss).
    Queued {
        /// Earliest next placement.
        not_before: Timestamp,
    },
    /// Given to an instance; ComfyUI has not started it (it may be prefetched behind another prompt).
    Dispatching {
        /// Where.
        on: Placement,
    },
    /// ComfyUI executes it.
    Running {
        /// Where.
        on: Placement,
    },
    /// Contact is lost; it is being looked up.
    InDoubt {
        /// Where it was.
        on: Placement,
        /// Whether it had started: a fault then is its own.
        was_running: bool,
    },
    /// ComfyUI is done with it; its outputs are on their way to the store. The device is free.
    Collecting {
        /// Where.
        on: Placement,
    },
    /// It is not wanted any more and an instance is being told so.
    Canceling {
        /// Where.
        on: Placement,
        /// Why.
        why: StopReason,
    },
    /// Over.
    Ended(Outcome),
}

/// Why an attempt is being stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The user's will.
    Canceled,
    /// A deadline passed.
    Expired,
}

/// The end of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "outcome", content = "failure", rename_all = "snake_case")]
pub enum Outcome {
    /// Its outputs are stored.
    Succeeded,
    /// It cannot succeed, and why.
    Failed(Failure),
    /// The user ended it.
    Canceled,
    /// A deadline passed.
    Expired,
}

/// Why a job failed. Closed: it is an error code on the wire and a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// A node raised an error: the same graph fails everywhere.
    NodeError,
    /// ComfyUI's validation refused the graph.
    InvalidWorkflow,
    /// It was the running prompt of too many deaths.
    PoisonJob,
    /// An output is over its bound.
    OutputTooLarge,
    /// It needs more VRAM than any device of the fleet has.
    OutOfMemory,
    /// The workflow or an input of it cannot be read any more.
    InputUnavailable,
}

/// Why an attempt ended without ending the job. Closed: it is a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptEnd {
    /// No trace of it on its instance (a restart, a POST that never arrived).
    NoTrace,
    /// The instance could not be reached and surely never got it.
    Unreachable,
    /// Contact was lost and did not come back within the lease.
    LeaseExpired,
    /// The instance died while it ran.
    InstanceDied,
    /// The instance hung while it ran.
    Hung,
    /// Out of memory.
    OutOfMemory,
    /// A CUDA fault, an XID, a lost GPU.
    DeviceFault,
    /// The host's disk or network failed it.
    HostFault,
    /// A listed output was gone or its set incomplete.
    OutputsGone,
    /// The host is being drained or went away.
    Drained,
}

impl AttemptEnd {
    /// A fault counts against the job when it was the running prompt; a loss never does (DESIGN §5).
    #[must_use]
    pub fn is_fault(self, was_running: bool) -> bool {
        match self {
            Self::InstanceDied | Self::Hung | Self::OutOfMemory | Self::DeviceFault => was_running,
            Self::NoTrace
            | Self::Unreachable
            | Self::LeaseExpired
            | Self::HostFault
            | Self::OutputsGone
            | Self::Drained => false,
        }
    }
}

/// What was heard of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// ComfyUI took the prompt into its queue, or a look-up found it waiting there.
    Accepted,
    /// ComfyUI started it, or a look-up found it running.
    Started,
    /// A sign of life of the running prompt.
    Progress,
    /// Its fate is unknown; it is being looked up.
    ContactLost,
    /// ComfyUI is done with it and its files are listed.
    Executed,
    /// Its complete output set is in the store.
    Published,
    /// ComfyUI refused the graph.
    Invalid,
    /// A node raised an error.
    NodeFailed,
    /// An output is over its bound.
    OutputTooLarge,
    /// The workflow or an input cannot be read any more.
    InputUnavailable,
    /// This try is over and the job is not: elsewhere, again.
    Lost(AttemptEnd),
    /// It is certain that nothing of it runs any more (answer to a withdrawal).
    Stopped,
}

/// A state without its data, as watchers see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// In the backlog.
    Queued,
    /// On its way to an instance, or prefetched there.
    Dispatching,
    /// Executing.
    Running,
    /// Contact lost.
    InDoubt,
    /// Outputs on their way.
    Collecting,
    /// Being stopped.
    Canceling,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
    /// Ended by its user.
    Canceled,
    /// Ended by a deadline.
    Expired,
}

impl Phase {
    /// Whether nothing more will happen.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Canceled | Self::Expired)
    }
}

impl From<Outcome> for Phase {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Succeeded => Self::Succeeded,
            Outcome::Failed(_) => Self::Failed,
            Outcome::Canceled => Self::Canceled,
            Outcome::Expired => Self::Expired,
        }
    }
}

impl From<JobState> for Phase {
    fn from(state: JobState) -> Self {
        match state {
            JobState::Queued { .. } => Self::Queued,
            JobState::Dispatching { .. } => Self::Dispatching,
            JobState::Running { .. } => Self::Running,
            JobState::InDoubt { .. } => Self::InDoubt,
            JobState::Collecting { .. } => Self::Collecting,
            JobState::Canceling { .. } => Self::Canceling,
            JobState::Ended(outcome) => outcome.into(),
        }
    }
}
