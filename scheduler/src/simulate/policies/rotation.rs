//! Ties go round.

use crate::simulate::scenario::NodeIx;

/// A pointer that walks round the fleet.
#[derive(Debug, Default)]
pub(super) struct Rotation {
    next: usize,
}

impl Rotation {
    /// The candidate that comes next from the pointer on, which then stands behind it.
    pub(super) fn take(&mut self, candidates: impl Iterator<Item = NodeIx>, nodes: usize) -> Option<NodeIx> {
        let next = self.next;
        let chosen = candidates.min_by_key(|node| (node.index() + nodes - next) % nodes)?;
        self.next = (chosen.index() + 1) % nodes;
        Some(chosen)
    }
}
