//! Everything the scheduler may ask for.
//!
//! A *record* must be durable before any *effect* of the same turn runs (DESIGN §4.2). An effect may be repeated
//! after a crash, so each names job and attempt and is idempotent by them.

use serde::{Deserialize, Serialize};

use crate::ids::{AttemptNo, InstanceId, JobId};
use crate::job::{AttemptEnd, Outcome, Phase};
use crate::learned::Learned;
use crate::spec::Class;
use crate::time::{Millis, Timestamp};

/// What one turn decided, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decisions {
    /// To be written in the transaction of the turn.
    pub records: Vec<Record>,
    /// To be carried out after the commit.
    pub effects: Vec<Effect>,
}

impl Decisions {
    /// Whether there is nothing to write and nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.effects.is_empty()
    }
}

/// A fact to be made durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// Admission refused it: its row goes, its idempotency key with it.
    Refused {
        /// Which job.
        job: JobId,
    },
    /// It was given to an instance.
    Placed {
        /// Which job.
        job: JobId,
        /// Which try.
        attempt: AttemptNo,
        /// Where.
        instance: InstanceId,
        /// When.
        at: Timestamp,
    },
    /// One try is over and the job goes on waiting.
    AttemptEnded {
        /// Which job.
        job: JobId,
        /// Which try.
        attempt: AttemptNo,
        /// Why.
        end: AttemptEnd,
        /// The job's count of faults after it.
        faults: u32,
        /// The job's count of losses after it.
        losses: u32,
    },
    /// The user's cancel of a job that is on an instance.
    CancelIntended {
        /// Which job.
        job: JobId,
    },
    /// Another service level.
    ClassChanged {
        /// Which job.
        job: JobId,
        /// The new level.
        class: Class,
    },
    /// It ended. Outputs and artifacts of `attempt` go into the same transaction.
    Ended {
        /// Which job.
        job: JobId,
        /// The try that ended it; for a success the one whose outputs count. `None`: it never was placed.
        attempt: Option<AttemptNo>,
        /// When its winning attempt started to run, where known.
        started_at: Option<Timestamp>,
        /// How.
        outcome: Outcome,
    },
    /// A cost was learned.
    Learned(Learned),
}

/// A thing to be done after the commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Tell the caller that the job is accepted.
    Admitted {
        /// Which job.
        job: JobId,
    },
    /// Tell the caller: not now.
    Refused {
        /// Which job.
        job: JobId,
        /// Why and for how long.
        refusal: Refusal,
    },
    /// Submit the prompt of this attempt to the instance.
    Dispatch {
        /// Which job.
        job: JobId,
        /// Which try.
        attempt: AttemptNo,
        /// Where.
        instance: InstanceId,
    },
    /// Find out what became of this attempt and report it.
    LookUp {
        /// Which job.
        job: JobId,
        /// Which try.
        attempt: AttemptNo,
        /// Where.
        instance: InstanceId,
    },
    /// Give upload tickets for the files that this attempt has listed.
    Grant {
        /// Which job.
        job: JobId,
        /// Which try.
        attempt: AttemptNo,
    },
    /// The attempt is not wanted any more: delete it from ComfyUI's queue or interrupt it, drop its files,
    /// report `Stopped` when that is certain.
    Withdraw {
        /// Which job.
        job: JobId,
        /// Which try.
        attempt: AttemptNo,
        /// Where.
        instance: InstanceId,
    },
    /// More important work wants its place: as [`Effect::Withdraw`], unless it is done by then. In that case its result
    /// counts, and nothing is to be stopped.
    Preempt {
        /// Which job.
        job: JobId,
        /// Which try.
        attempt: AttemptNo,
        /// Where.
        instance: InstanceId,
    },
    /// The outputs of this attempt are committed: its spool and its files on the instance may go.
    Settle {
        /// Which job.
        job: JobId,
        /// Which try.
        attempt: AttemptNo,
        /// Where.
        instance: InstanceId,
    },
    /// Ask the instance to unload its models and empty its node cache.
    Free {
        /// Which one.
        instance: InstanceId,
    },
    /// Ask for a restart of an instance that hangs.
    Restart {
        /// Which one.
        instance: InstanceId,
    },
    /// Tell the watchers of a job where it stands.
    Announce {
        /// Which job.
        job: JobId,
        /// Where it stands.
        phase: Phase,
    },
}

/// Our door says "not now".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Why.
    pub reason: RefusalReason,
    /// When to try again, from the rate at which the backlog drains; at least one second.
    pub retry_after: Millis,
}

/// Why our door says "not now". Closed: it is a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalReason {
    /// The whole backlog is at its high watermark.
    QueueFull,
    /// The tenant's own backlog is full.
    TenantQueueFull,
    /// No host can take outputs.
    SpoolFull,
    /// The process is going away.
    Draining,
}
