//! Plays a trace against a policy.

use super::caches::Found;
use super::policy::Policy;
use super::scenario::{JobIx, NodeIx, Scenario};
use super::stage::Stage;

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// The job is done.
    Completed,
    /// The node's VRAM did not do.
    OutOfMemory,
    /// The policy took the job away.
    Interrupted,
    /// The node went down.
    NodeLost,
}

/// One try of one job on one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The job.
    pub job: JobIx,
    /// Where.
    pub node: NodeIx,
    /// Start, ms.
    pub start_ms: i64,
    /// When the node was free again, ms.
    pub end_ms: i64,
    /// Planned time of loading and patching, ms; an attempt that was cut short may have ended within it.
    pub load_ms: i64,
    /// Planned time of running, ms, or until an out-of-memory shows.
    pub exec_ms: i64,
    /// How it ended.
    pub outcome: AttemptOutcome,
    pub(super) found: Found,
    pub(super) cold_loras: usize,
}

impl Attempt {
    /// How much of the attempt went into loading, ms.
    #[must_use]
    pub fn loaded_ms(&self, overhead_ms: i64) -> i64 {
        (self.end_ms - self.start_ms - overhead_ms).clamp(0, self.load_ms)
    }
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobEnd {
    /// By this attempt of [`Replay::attempts`].
    Completed {
        /// Position of the attempt.
        attempt: usize,
    },
    /// Out of attempts, or it fits no node, or nothing was left that could have started it.
    Lost,
}

/// A time in which a node was up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpPeriod {
    /// Which.
    pub node: NodeIx,
    /// From, ms.
    pub from_ms: i64,
    /// Until, ms.
    pub until_ms: i64,
}

/// Everything that happened in one replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// All attempts in the order of their starts.
    pub attempts: Vec<Attempt>,
    /// How each job ended, by its position in the trace.
    pub ends: Vec<JobEnd>,
    /// Counted failed attempts of each job.
    pub failed_attempts: Vec<u32>,
    /// When nodes were up, until [`Replay::end_ms`].
    pub ups: Vec<UpPeriod>,
    /// When the last job ended, ms.
    pub end_ms: i64,
}

/// Plays `scenario` against `policy` until no job is left or nothing can happen any more.
///
/// The same scenario and policy give the same replay, on every platform.
pub fn replay(scenario: &Scenario, policy: &mut dyn Policy) -> Replay {
    let mut stage = Stage::new(scenario);
    while let Some(heard) = stage.step() {
        if let Some(event) = heard {
            policy.on_event(event, &mut stage.desk());
        }
    }
    stage.close()
}
