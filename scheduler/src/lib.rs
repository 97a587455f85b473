//! Darkroom's brain: events with time in, decisions out.
//!
//! **The contract.** One task owns a [`Scheduler`]. It hands in each [`Event`] of a turn with [`Scheduler::handle`],
//! then calls [`Scheduler::place`] once, writes the [`Record`]s of [`Decisions`] durably and only then carries out its
//! [`Effect`]s. It sends [`Event::Woke`] when [`Scheduler::next_wakeup`] has come. After a crash a new scheduler is fed
//! with [`Event::Restored`] for each open job and goes on.
//!
//! **The invariants** (checked by [`first_broken`] after every event of a debug build): no instance holds more than its
//! running prompt and one prefetched; every open attempt is on the list of its instance; a job waits in exactly one lane
//! or sits in exactly one place; whatever holds a seat has a time at which it will lose it.
//!
//! **Deliberately absent**: a clock, threads, logging, I/O, hash order, floating point and randomness other than the
//! seed. The same events give the same decisions, on every platform.
//!
//! Beside it, [`simulate`] replays traces against any policy in a model of a fleet; its figures, which decide nothing,
//! are the only floating point here.
#![warn(missing_docs)]

mod admission;
mod cache;
mod candidates;
mod config;
mod core;
mod costs;
mod decision;
mod device;
mod event;
mod explain;
mod figures;
mod fitting;
mod fleet;
mod ids;
mod invariants;
mod job;
mod jobs;
mod kinds;
mod learned;
mod lease;
mod life;
mod loads;
mod loss;
mod market;
mod offers;
mod orders;
mod placement;
mod pools;
mod preempt;
mod pressure;
mod rank;
mod repeats;
mod report;
mod rng;
mod rooms;
mod runs;
mod seating;
pub mod simulate;
mod spec;
mod tenants;
mod time;
mod waits;

pub use config::{Config, Mistake};
pub use core::Scheduler;
pub use decision::{Decisions, Effect, Record, Refusal, RefusalReason};
pub use event::{Event, Past};
pub use explain::{Cause, ClassSummary, Explanation, InstanceSummary, InstanceVerdict, Obstacle, Summary};
pub use ids::{
    AttemptNo, DeviceClassId, DeviceId, FamilyId, GraphId, HostId, InstanceId, JobId, ModelId, Part, ShapeId,
    TenantId,
};
pub use invariants::first_broken;
pub use job::{AttemptEnd, Failure, JobState, Outcome, Phase, Placement, Signal, StopReason};
pub use learned::Learned;
pub use spec::{
    Catalogue, Class, DeviceSample, InstanceProfile, JobSpec, Loading, ModelKind, ModelUse, Requirement,
    Shape,
};
pub use time::{Millis, Timestamp};
