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
    /// More important work wants its place: its instance is being told to stop it, and then it waits again. If it is done
    /// first, its result counts.
    Preempting {
        /// Where.
        on: Placement,
        /// Whether it had started.
        was_running: bool,
    },
    /// Over.
    Ended(Outcome),
}

/// The instant of a step, and how far a sign of life would renew the lease.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) now: Timestamp,
    pub(crate) lease_until: Timestamp,
}

/// What may move a job: a word of its attempt, or a decision of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// It was given to an instance.
    Placed(Placement),
    /// Word of its current attempt; a loss comes as [`Step::Over`], after its verdict.
    Heard(Signal),
    /// Its attempt is over: wait for the next one, or fail.
    Over(AfterLoss),
    /// It is not wanted any more.
    Stop(StopReason),
    /// More important work wants its place.
    Preempt,
    /// No answer to the withdrawal within its grace.
    GraceOver,
    /// The output set of an earlier attempt is in the store: the first set wins.
    Overtaken,
    /// Judged again, and no instance would run it.
    Unrunnable,
}

/// What follows a lost attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AfterLoss {
    /// Again, not before this.
    Wait(Timestamp),
    /// Never again.
    Fail(Failure),
}

/// A step that the table of [`JobState::next`] does not list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no step from {from:?} by {step:?}")]
pub(crate) struct IllegalStep {
    pub(crate) from: JobState,
    pub(crate) step: Step,
}

impl Placement {
    fn renewed(self, at: Moment) -> Self {
        Self { lease_until: at.lease_until.max(self.lease_until), ..self }
    }

    fn started(self, at: Moment) -> Self {
        Self { started_at: self.started_at.or(Some(at.now)), ..self.renewed(at) }
    }
}

impl JobState {
    /// Where the job is on an instance, if it is.
    #[must_use]
    pub fn placement(&self) -> Option<&Placement> {
        match self {
            Self::Dispatching { on }
            | Self::Running { on }
            | Self::InDoubt { on, .. }
            | Self::Collecting { on }
            | Self::Preempting { on, .. }
            | Self::Canceling { on, .. } => Some(on),
            Self::Queued { .. } | Self::Ended(_) => None,
        }
    }

    pub(crate) fn placement_mut(&mut self) -> Option<&mut Placement> {
        match self {
            Self::Dispatching { on }
            | Self::Running { on }
            | Self::InDoubt { on, .. }
            | Self::Collecting { on }
            | Self::Preempting { on, .. }
            | Self::Canceling { on, .. } => Some(on),
            Self::Queued { .. } | Self::Ended(_) => None,
        }
    }

    /// Whether it is the running prompt, as far as is known: then a fault is its own.
    pub(crate) fn was_running(&self) -> bool {
        matches!(
            self,
            Self::Running { .. }
                | Self::InDoubt { was_running: true, .. }
                | Self::Preempting { was_running: true, .. }
        )
    }

    /// Every legal step. What is not listed is illegal, and a stray when it came from outside.
    pub(crate) fn next(self, at: Moment, step: Step) -> Result<Self, IllegalStep> {
        use JobState::{Canceling, Collecting, Dispatching, Ended, InDoubt, Preempting, Queued, Running};
        use Signal::{
            Accepted, ContactLost, Executed, InputUnavailable, Invalid, Lost, NodeFailed, OutputTooLarge,
            Progress, Published, Started, Stopped, Undeliverable,
        };
        use Step::{GraceOver, Heard, Over, Overtaken, Placed, Preempt, Stop, Unrunnable};
        Ok(match (self, step) {
            (Queued { .. }, Placed(on)) => Dispatching { on },
            // Accepted may be a prefetch; only ComfyUI's start makes it run. The socket may overtake the reply.
            (Dispatching { on } | InDoubt { on, .. }, Heard(Accepted)) => Dispatching { on: on.renewed(at) },
            (Running { on }, Heard(Accepted)) => Running { on: on.renewed(at) },
            (Dispatching { on } | InDoubt { on, .. } | Running { on }, Heard(Started | Progress)) => {
                Running { on: on.started(at) }
            }
            // The lease goes on: it says how long a doubt may last.
            (Dispatching { on }, Heard(ContactLost)) => InDoubt { on, was_running: false },
            (Running { on }, Heard(ContactLost)) => InDoubt { on, was_running: true },
            (doubt @ InDoubt { .. }, Heard(ContactLost)) => doubt,
            (Dispatching { on }, Preempt) => Preempting { on, was_running: false },
            (Running { on }, Preempt) => Preempting { on, was_running: true },
            // It may still start behind what it shared its instance with.
            (Preempting { on, .. }, Heard(Started | Progress)) => {
                Preempting { on: on.started(at), was_running: true }
            }
            (late @ Preempting { .. }, Heard(Accepted | ContactLost)) => late,
            (
                Dispatching { on } | InDoubt { on, .. } | Running { on } | Preempting { on, .. },
                Heard(Executed),
            ) => Collecting { on },
            (late @ Collecting { .. }, Heard(Accepted | Started | Progress | ContactLost | Executed)) => late,
            (
                Dispatching { .. } | InDoubt { .. } | Running { .. } | Preempting { .. } | Collecting { .. },
                Heard(Published),
            )
            | (
                Queued { .. }
                | Dispatching { .. }
                | InDoubt { .. }
                | Running { .. }
                | Preempting { .. }
                | Collecting { .. },
                Overtaken,
            ) => Ended(Outcome::Succeeded),
            (Dispatching { .. } | InDoubt { .. } | Running { .. } | Preempting { .. }, Heard(Invalid)) => {
                Ended(Outcome::Failed(Failure::InvalidWorkflow))
            }
            (Dispatching { .. } | InDoubt { .. } | Running { .. } | Preempting { .. }, Heard(NodeFailed)) => {
                Ended(Outcome::Failed(Failure::NodeError))
            }
            (
                Dispatching { .. } | InDoubt { .. } | Running { .. } | Preempting { .. },
                Heard(InputUnavailable),
            ) => Ended(Outcome::Failed(Failure::InputUnavailable)),
            (
                Dispatching { .. } | InDoubt { .. } | Running { .. } | Preempting { .. } | Collecting { .. },
                Heard(OutputTooLarge),
            ) => Ended(Outcome::Failed(Failure::OutputTooLarge)),
            (
                Dispatching { .. } | InDoubt { .. } | Running { .. } | Preempting { .. } | Collecting { .. },
                Heard(Undeliverable),
            ) => Ended(Outcome::Failed(Failure::Undeliverable)),
            // Sets of two attempts are never mixed: what a lost one had collected is void.
            (
                Dispatching { .. } | InDoubt { .. } | Running { .. } | Preempting { .. } | Collecting { .. },
                Over(after),
            ) => match after {
                AfterLoss::Wait(not_before) => Queued { not_before },
                AfterLoss::Fail(failure) => Ended(Outcome::Failed(failure)),
            },
            (Queued { .. }, Stop(why)) => Ended(why.into()),
            (Queued { .. }, Unrunnable) => Ended(Outcome::Failed(Failure::InvalidWorkflow)),
            (Dispatching { on } | InDoubt { on, .. } | Running { on } | Preempting { on, .. }, Stop(why)) => {
                Canceling { on, why }
            }
            // Whatever ends the attempt ends the job, the way its stop was meant.
            (
                Canceling { why, .. },
                GraceOver
                | Heard(
                    Stopped | Executed | Published | Invalid | NodeFailed | OutputTooLarge | Undeliverable
                    | InputUnavailable | Lost(_),
                ),
            ) => Ended(why.into()),
            (late @ Canceling { .. }, Heard(Accepted | Started | Progress | ContactLost)) => late,
            (from, step) => return Err(IllegalStep { from, step }),
        })
    }
}

impl From<StopReason> for Outcome {
    fn from(why: StopReason) -> Self {
        match why {
            StopReason::Canceled => Self::Canceled,
            StopReason::Expired => Self::Expired,
        }
    }
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
    /// Its outputs cannot be delivered the way it asks for.
    Undeliverable,
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
    /// More important work took its place.
    Preempted,
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
            | Self::Drained
            | Self::Preempted => false,
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
    /// Its outputs cannot be delivered the way the job asks for.
    Undeliverable,
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
            JobState::Running { .. } | JobState::Preempting { was_running: true, .. } => Self::Running,
            JobState::Dispatching { .. } | JobState::Preempting { .. } => Self::Dispatching,
            JobState::InDoubt { .. } => Self::InDoubt,
            JobState::Collecting { .. } => Self::Collecting,
            JobState::Canceling { .. } => Self::Canceling,
            JobState::Ended(outcome) => outcome.into(),
        }
    }
}
