//! A small, exact model of a fleet, and the replay of a trace against a policy.
//!
//! **The world** (the rules are those of `tests/fixtures/scheduling/README.md`): every node is one device that runs one
//! prompt at a time, keeps recently used models in VRAM and host RAM and needs seconds to switch. Times are integer
//! milliseconds, divisions round up, nothing is random while a trace is replayed.
//!
//! **The contract.** [`Scenario::parse`] reads the three files, [`replay()`] plays them against a [`Policy`] and gives a
//! [`Replay`], [`Metrics::of`] measures it. A policy sees [`Event`]s and acts through a [`Desk`], which shows only what a
//! gateway could know: the true run times and peaks lie in a part of the scenario that no policy can reach.
//!
//! **Words.** The files say "node" for a device with its instance and `prio` for the service class; inside this module
//! the files' words are kept, so that the model and its description can be compared line by line.
//!
//! **Deliberately absent**: files, clocks, threads, hash order. Floating point appears in metrics only, where nothing is
//! decided by it, and only as operations that IEEE 754 defines to the last bit.

mod caches;
mod compare;
mod desk;
mod estimate;
mod files;
mod fixed;
mod generate;
mod metrics;
mod policies;
mod policy;
mod replay;
mod scenario;
mod stage;
mod timeline;
mod world;

pub use compare::{Comparison, Run};
pub use desk::{Desk, Refused, Running};
pub use files::{BadFile, File};
pub use generate::{Generated, UnknownRecipe};
pub use metrics::Metrics;
pub use policies::{DARKROOM_SEED, PolicyKind, UnknownPolicy, darkroom_config, darkroom_shape};
pub use policy::{Event, Fate, Policy};
pub use replay::{Attempt, AttemptOutcome, JobEnd, Replay, UpPeriod, replay};
pub use scenario::{
    ClassIx, Constants, DeviceClass, FamilyIx, Job, JobIx, Model, ModelIx, ModelRole, Node, NodeIx, Scenario,
    Setting, Speed, Tenant, TenantIx,
};
pub use stage::Stage;
pub use timeline::timeline;
