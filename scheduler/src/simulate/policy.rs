//! What a policy is told and how it answers.

use super::desk::Desk;
use super::scenario::{JobIx, NodeIx};

/// What becomes of a job whose attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It waits again.
    Waits,
    /// It used up its attempts or fits no node of the fleet any more.
    Lost,
}

/// Something that happened, as a gateway would learn of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A job arrived and waits. Jobs that fit no node of the fleet are lost without a word.
    Arrived {
        /// The job.
        job: JobIx,
    },
    /// An attempt succeeded; the node is idle. Only now the true times are known.
    Completed {
        /// Where.
        node: NodeIx,
        /// The job.
        job: JobIx,
        /// When the attempt started, ms.
        started_ms: i64,
        /// Time it spent loading and patching, ms.
        load_ms: i64,
        /// Time it ran, ms; overhead and loading not counted.
        exec_ms: i64,
        /// Its true peak of VRAM, MiB.
        peak_vram_mib: i64,
    },
    /// An attempt ran out of memory; the node is idle, and its VRAM is empty.
    OutOfMemory {
        /// Where.
        node: NodeIx,
        /// The job; its [`Desk::est_vram_mib`] now exceeds this node.
        job: JobIx,
        /// What becomes of the job.
        fate: Fate,
    },
    /// An interrupted attempt has let go of its node; the node is idle. The job waits since the interrupt.
    Freed {
        /// Where.
        node: NodeIx,
    },
    /// A node went away with its caches and what it ran.
    Down {
        /// Which.
        node: NodeIx,
        /// The job it ran, if any, and what becomes of it.
        lost: Option<(JobIx, Fate)>,
    },
    /// A node is back, idle and cold.
    Up {
        /// Which.
        node: NodeIx,
    },
    /// A spot node will be taken away.
    Notice {
        /// Which.
        node: NodeIx,
        /// When, ms.
        down_at_ms: i64,
    },
    /// The time of a [`Desk::wake_at`] has come.
    Timer,
}

/// Decides which waiting job starts where.
///
/// It is told of every single event in the order of the model (time, then completions, node events, arrivals and
/// timers) and may act on the [`Desk`] each time. It must not depend on anything but what it is told and shown.
pub trait Policy {
    /// One thing happened; act through the desk.
    fn on_event(&mut self, event: Event, desk: &mut Desk<'_, '_>);
}
