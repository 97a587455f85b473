//! The policies that can be replayed, by name.

mod affinity;
mod darkroom;
mod ect;
mod fifo;
mod least_queue;
mod queues;
mod rotation;
mod round_robin;

use std::fmt;
use std::str::FromStr;

use super::policy::Policy;
use super::scenario::Setting;
use crate::config::Config;

pub use darkroom::{SEED as DARKROOM_SEED, config as darkroom_config, shape as darkroom_shape};

/// Every policy that has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PolicyKind {
    /// One queue, in the order of arrival.
    Fifo,
    /// Nodes in turn.
    RoundRobin,
    /// The node with the fewest outstanding prompts.
    LeastQueue,
    /// A node that has the checkpoint, unless its queue is much longer.
    Affinity,
    /// The node with the earliest predicted completion.
    Ect,
    /// The production scheduler.
    Darkroom,
}

impl PolicyKind {
    /// All of them, the simplest first.
    pub const ALL: [Self; 6] =
        [Self::Fifo, Self::RoundRobin, Self::LeastQueue, Self::Affinity, Self::Ect, Self::Darkroom];

    /// Its name on the command line and in results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fifo => "fifo",
            Self::RoundRobin => "round_robin",
            Self::LeastQueue => "least_queue",
            Self::Affinity => "affinity",
            Self::Ect => "ect",
            Self::Darkroom => "darkroom",
        }
    }

    /// A fresh policy for a fleet.
    #[must_use]
    pub fn build(self, setting: &Setting) -> Box<dyn Policy> {
        let nodes = setting.nodes.len();
        match self {
            Self::Fifo => Box::new(fifo::Fifo::default()),
            Self::RoundRobin => Box::new(queues::Queued::new(nodes, round_robin::RoundRobin::default())),
            Self::LeastQueue => Box::new(queues::Queued::new(nodes, least_queue::LeastQueue::default())),
            Self::Affinity => Box::new(queues::Queued::new(nodes, affinity::Affinity::default())),
            Self::Ect => Box::new(queues::Queued::new(nodes, ect::Ect)),
            Self::Darkroom => Box::new(darkroom::Darkroom::new(darkroom_config(setting))),
        }
    }

    /// [`PolicyKind::build`] with preemption where the policy knows it: running work gives its place to more important
    /// work when that saves `preemption` times the work that is lost; 0: never.
    #[must_use]
    pub fn build_preempting(self, setting: &Setting, preemption: u32) -> Box<dyn Policy> {
        match self {
            Self::Darkroom => {
                let config = Config { preemption, ..darkroom_config(setting) };
                Box::new(darkroom::Darkroom::new(config))
            }
            _ => self.build(setting),
        }
    }
}

impl fmt::Display for PolicyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no policy's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no policy `{0}`; there are fifo, round_robin, least_queue, affinity, ect and darkroom")]
pub struct UnknownPolicy(String);

impl FromStr for PolicyKind {
    type Err = UnknownPolicy;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| UnknownPolicy(name.to_owned()))
    }
}
