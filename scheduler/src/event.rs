//! Everything the world may tell the scheduler.

use std::sync::Arc;

use crate::ids::{AttemptNo, DeviceId, InstanceId, JobId};
use crate::job::Signal;
use crate::learned::Learned;
use crate::spec::{Catalogue, Class, DeviceSample, InstanceProfile, JobSpec, Requirement, Shape};
use crate::time::Timestamp;

/// One thing that happened. Events are applied in the order given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A new job is in the store and asks for admission.
    Submitted {
        /// Its id.
        job: JobId,
        /// What it needs.
        spec: JobSpec,
    },
    /// A job that was open when the process stopped; it was admitted long ago.
    Restored {
        /// Its id.
        job: JobId,
        /// What it needs.
        spec: JobSpec,
        /// How far it had come.
        past: Past,
    },
    /// The user's will to end it.
    CancelRequested {
        /// Which job.
        job: JobId,
    },
    /// A waiting job was judged again: it was accepted before any catalogue was known.
    Respecified {
        /// Which job.
        job: JobId,
        /// What an instance must offer, as known now.
        requirement: Arc<Requirement>,
        /// What it costs, as known now.
        shape: Shape,
    },
    /// A waiting job was judged again, and no instance would run it.
    Unrunnable {
        /// Which job.
        job: JobId,
    },
    /// Another service level was asked for.
    ClassChanged {
        /// Which job.
        job: JobId,
        /// The new level.
        class: Class,
    },
    /// Word of one attempt.
    Attempt {
        /// Which job.
        job: JobId,
        /// Which try at it.
        attempt: AttemptNo,
        /// What happened.
        signal: Signal,
    },
    /// An instance is configured, or its profile changed. It starts down, without contact.
    InstanceJoined {
        /// Its id, stable across restarts.
        instance: InstanceId,
        /// What it is.
        profile: InstanceProfile,
    },
    /// Contact with an instance came or went.
    InstanceUp {
        /// Which one.
        instance: InstanceId,
        /// Whether it answers.
        up: bool,
    },
    /// What an instance offers became known or changed.
    InstanceCatalogue {
        /// Which one.
        instance: InstanceId,
        /// What it offers now.
        catalogue: Arc<Catalogue>,
    },
    /// An instance has no room for outputs (its host's spool is full) or has it again.
    InstanceSpool {
        /// Which one.
        instance: InstanceId,
        /// Whether placing on it must stop.
        full: bool,
    },
    /// An instance was taken out of the configuration.
    InstanceLeft {
        /// Which one.
        instance: InstanceId,
    },
    /// The process of an instance, or its host, is a new one: nothing it kept can be counted on.
    InstanceRestarted {
        /// Which one.
        instance: InstanceId,
    },
    /// An instance will be taken away (a spot notice, maintenance): nothing is placed that would not end before.
    InstanceLeaves {
        /// Which one.
        instance: InstanceId,
        /// When; `None`: it stays after all.
        at: Option<Timestamp>,
    },
    /// Take no new work on one instance (`true`), or again (`false`).
    Cordoned {
        /// Which one.
        instance: InstanceId,
        /// On or off.
        on: bool,
    },
    /// A reading of a device.
    Sampled {
        /// Which one.
        device: DeviceId,
        /// The reading.
        sample: DeviceSample,
    },
    /// Costs that an earlier life of the process had learned.
    Remembered(Learned),
    /// Close the door and place nothing more; what runs may finish.
    DrainRequested,
    /// Time passed: the wake-up that was asked for.
    Woke,
}

/// How far a restored job had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Past {
    /// The last attempt that was placed, if any.
    pub attempt: Option<AttemptNo>,
    /// Where that attempt is still open; `None` when it had ended and the job waits again.
    pub open_on: Option<InstanceId>,
    /// When it was placed.
    pub placed_at: Timestamp,
    /// Times it was the running prompt when its instance died, hung or ran out of memory.
    pub faults: u32,
    /// Attempts lost through no fault of its own.
    pub losses: u32,
    /// A cancel was committed.
    pub cancel_requested: bool,
}
