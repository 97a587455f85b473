//! What a policy sees of the world, and its hands.

use super::caches::Caches;
use super::scenario::{Job, JobIx, NodeIx, Setting};
use super::world::World;

/// Why an action was not carried out; the world is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The node is down.
    #[error("the node is down")]
    NodeDown,
    /// The node runs a job, or is still letting go of one.
    #[error("the node is busy")]
    NodeBusy,
    /// The node runs nothing that could be interrupted.
    #[error("the node runs nothing")]
    NothingRuns,
    /// The job runs, has ended or has not arrived.
    #[error("the job does not wait")]
    NotWaiting,
    /// The node cannot run the family, or the job's known peak exceeds its VRAM.
    #[error("the job does not fit the node")]
    DoesNotFit,
}

/// What a node runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running {
    /// The job.
    pub job: JobIx,
    /// Since when, ms.
    pub started_ms: i64,
}

/// What a policy may know, and what it may do, at one instant.
#[derive(Debug)]
pub struct Desk<'w, 's> {
    world: &'w mut World<'s>,
}

impl<'w, 's> Desk<'w, 's> {
    pub(super) fn new(world: &'w mut World<'s>) -> Self {
        Self { world }
    }

    /// The time, ms.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.world.now
    }

    /// Fleet, catalogue and constants.
    #[must_use]
    pub fn setting(&self) -> &'s Setting {
        &self.world.scenario.setting
    }

    /// A job that has arrived.
    #[must_use]
    pub fn job(&self, job: JobIx) -> &'s Job {
        &self.world.scenario.jobs[job.index()]
    }

    /// The peak of VRAM that is known by now, MiB: the trace's prediction, raised by each out-of-memory.
    #[must_use]
    pub fn est_vram_mib(&self, job: JobIx) -> i64 {
        self.world.jobs[job.index()].est_vram_mib
    }

    /// Counted failed attempts of a job so far.
    #[must_use]
    pub fn attempts(&self, job: JobIx) -> u32 {
        self.world.jobs[job.index()].attempts
    }

    /// Whether the node can run the job's family and has room for its known peak. Says nothing of up or idle.
    #[must_use]
    pub fn fits(&self, job: JobIx, node: NodeIx) -> bool {
        self.world.fits(job, node)
    }

    /// Whether a node is up.
    #[must_use]
    pub fn is_up(&self, node: NodeIx) -> bool {
        self.world.nodes[node.index()].is_up()
    }

    /// Whether a node is up and would start a job at once.
    #[must_use]
    pub fn is_idle(&self, node: NodeIx) -> bool {
        self.world.nodes[node.index()].is_idle()
    }

    /// What a node runs; nothing while it is letting go of an interrupted job.
    #[must_use]
    pub fn running(&self, node: NodeIx) -> Option<Running> {
        self.world.running(node)
    }

    /// Starts a waiting job on an idle node, now.
    ///
    /// # Errors
    /// Says what stands against it; nothing has changed then.
    pub fn start(&mut self, job: JobIx, node: NodeIx) -> Result<(), Refused> {
        self.world.start(job, node)
    }

    /// Takes a node's job away from it: its progress is lost, it waits at once and without a counted attempt, and
    /// the node is idle after `interrupt_ms` ([`super::Event::Freed`]).
    ///
    /// # Errors
    /// The node is down or runs nothing.
    pub fn interrupt(&mut self, node: NodeIx) -> Result<JobIx, Refused> {
        self.world.interrupt(node)
    }

    /// Asks for a [`super::Event::Timer`] at `at_ms`, or now if that has passed. Timers add up; none can be taken back.
    pub fn wake_at(&mut self, at_ms: i64) {
        self.world.wake_at(at_ms);
    }

    /// The model's own state of a node. For the simple policies, which are defined by it: a gateway has to infer it.
    pub(in crate::simulate) fn caches(&self, node: NodeIx) -> &Caches {
        &self.world.nodes[node.index()].caches
    }
}
