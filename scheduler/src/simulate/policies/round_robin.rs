//! Nodes in turn.

use super::queues::{Assign, Queues};
use super::rotation::Rotation;
use crate::simulate::desk::Desk;
use crate::simulate::scenario::{JobIx, NodeIx};

/// `round_robin` of the README.
#[derive(Debug, Default)]
pub(super) struct RoundRobin {
    rotation: Rotation,
}

impl Assign for RoundRobin {
    fn choose(
        &mut self,
        _job: JobIx,
        candidates: &[NodeIx],
        queues: &Queues,
        _desk: &Desk<'_, '_>,
    ) -> Option<NodeIx> {
        self.rotation.take(candidates.iter().copied(), queues.nodes())
    }
}
