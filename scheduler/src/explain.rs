//! Why a job waits: in numbers here, in words at the edge (promise 6).

use crate::ids::{AttemptNo, DeviceClassId, InstanceId, Part};
use crate::job::Phase;
use crate::time::{Millis, Timestamp};

/// Where a job stands and what it waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Where it stands.
    pub phase: Phase,
    /// Attempts so far.
    pub attempt: Option<AttemptNo>,
    /// The instance that has it, if any.
    pub instance: Option<InstanceId>,
    /// Counted faults.
    pub faults: u32,
    /// Losses.
    pub losses: u32,
    /// Jobs that would be placed before it, counted among those that want the same instances; `None` when the
    /// backlog is too long to count on request.
    pub position: Option<u64>,
    /// What holds it, when it waits: the one thing whose change would move it.
    pub cause: Option<Cause>,
    /// What each instance says to it, best first; bounded to the first 64.
    pub instances: Vec<InstanceVerdict>,
    /// Predicted start, when it can be predicted.
    pub predicted_start: Option<Timestamp>,
    /// Predicted end, likewise.
    pub predicted_end: Option<Timestamp>,
}

/// One instance's answer to one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceVerdict {
    /// Which instance.
    pub instance: InstanceId,
    /// What stands in the way; `None` when it could take the job now.
    pub obstacle: Option<Obstacle>,
    /// When the job would end there, if it can be predicted.
    pub predicted_end: Option<Timestamp>,
    /// Whether all models of the job are believed to be in its VRAM.
    pub warm: bool,
}

/// What stands between a job and an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// It does not answer.
    Down,
    /// It takes no new work (cordon, drain).
    Drained,
    /// Its device reports a fault.
    DeviceFaulty,
    /// Its host cannot take outputs.
    SpoolFull,
    /// What it offers is not known yet.
    CatalogueUnknown,
    /// It lacks these.
    Lacks(Vec<Part>),
    /// The job needs more memory than the device can give.
    Room {
        /// Believed need, MiB.
        need_mib: u32,
        /// What the device can give, MiB.
        have_mib: u32,
    },
    /// It has all the work it may hold.
    Busy {
        /// When that changes, as predicted.
        free_at: Timestamp,
    },
}

/// What a waiting job waits for. Closed: seconds are accounted under it (STYLE §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// No instance is known, or none answers.
    Device,
    /// No device has the memory.
    Room,
    /// No instance offers what it needs.
    Catalogue,
    /// Every instance that could take it is being drained.
    Drain,
    /// All instances that could take it are busy with others' turns.
    Busy,
    /// Other tenants or its own tenant's bound come first.
    Share,
    /// It was lost and pauses before the next try.
    Backoff,
    /// A busy instance that holds its models is worth the wait.
    Model,
}

/// What the fleet and the backlog look like, for gauges and the console.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// Jobs in the backlog, by class: batch, normal, interactive.
    pub queued: [u64; 3],
    /// Attempts on instances that have not started.
    pub dispatching: u64,
    /// Attempts that run.
    pub running: u64,
    /// Attempts in doubt.
    pub in_doubt: u64,
    /// Attempts whose outputs are being stored.
    pub collecting: u64,
    /// Jobs being stopped.
    pub canceling: u64,
    /// Predicted work of the backlog on the reference device class, milliseconds.
    pub backlog_ms: u64,
    /// How long the fleet would take for the backlog, were every device busy with what it does best.
    pub drain: Millis,
    /// Device classes with a usable instance: where another device would help most, and where one is spare.
    pub classes: Vec<ClassSummary>,
    /// The instances, by id.
    pub instances: Vec<InstanceSummary>,
    /// Words that moved nothing since the start: late, doubled, or of a job that had ended.
    pub strays: u64,
}

/// A device class, as the scheduler values it: advice for whoever sizes the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClassSummary {
    /// Which one.
    pub class: DeviceClassId,
    /// Usable instances.
    pub usable: u32,
    /// Those with an open seat.
    pub open: u32,
    /// What one more device of the class would be worth, thousandths of the mean device of the fleet. Set against its
    /// price per hour it says what to add while `drain` grows, and what to give up while seats stay open.
    pub worth_milli: u32,
}

/// One instance, as the scheduler sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceSummary {
    /// Which one.
    pub instance: InstanceId,
    /// It answers.
    pub up: bool,
    /// It takes no new work.
    pub cordoned: bool,
    /// Its device reports a fault.
    pub faulty: bool,
    /// Attempts it holds: the running one and the prefetched one.
    pub holds: u32,
    /// When it is predicted to be free; `None` when it is.
    pub free_at: Option<Timestamp>,
    /// Models believed to be in its VRAM, most recent last.
    pub warm: Vec<crate::ids::ModelId>,
}
