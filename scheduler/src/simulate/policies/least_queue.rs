//! The fewest outstanding prompts: what generic balancers do.

use super::queues::{Assign, Queues};
use super::rotation::Rotation;
use crate::simulate::desk::Desk;
use crate::simulate::scenario::{JobIx, NodeIx};

/// `least_queue` of the README.
#[derive(Debug, Default)]
pub(super) struct LeastQueue {
    rotation: Rotation,
}

impl LeastQueue {
    /// One of the candidates with the fewest outstanding prompts.
    pub(super) fn take(
        &mut self,
        candidates: &[NodeIx],
        queues: &Queues,
        desk: &Desk<'_, '_>,
    ) -> Option<NodeIx> {
        let least = candidates.iter().map(|node| queues.outstanding(*node, desk)).min()?;
        let shortest = candidates.iter().copied().filter(|node| queues.outstanding(*node, desk) == least);
        self.rotation.take(shortest, queues.nodes())
    }
}

impl Assign for LeastQueue {
    fn choose(
        &mut self,
        _job: JobIx,
        candidates: &[NodeIx],
        queues: &Queues,
        desk: &Desk<'_, '_>,
    ) -> Option<NodeIx> {
        self.take(candidates, queues, desk)
    }
}
