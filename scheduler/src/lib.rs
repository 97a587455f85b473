//! Darkroom's brain: events with time in, decisions out.
#![warn(missing_docs)]

mod config;
mod core;
mod decision;
mod event;
mod explain;
mod ids;
mod job;
mod learned;
mod spec;
mod time;

pub use config::{Config, Mistake};
pub use core::Scheduler;
pub use decision::{Decisions, Effect, Record, Refusal, RefusalReason};
pub use event::{Event, Past};
pub use explain::{Cause, Explanation, InstanceSummary, InstanceVerdict, Obstacle, Summary};
pub use ids::{
    AttemptNo, DeviceClassId, DeviceId, HostId, InstanceId, JobId, ModelId, Part, ShapeId, TenantId,
};
pub use job::{AttemptEnd, Failure, JobState, Outcome, Phase, Placement, Signal, StopReason};
pub use learned::Learned;
pub use spec::{
    Catalogue, Class, DeviceSample, InstanceProfile, JobSpec, ModelKind, ModelUse, Requirement, Shape,
};
pub use time::{Millis, Timestamp};
