//! A node that has the checkpoint already, unless its queue is much longer than the shortest.

use super::least_queue::LeastQueue;
use super::queues::{Assign, Queues};
use crate::simulate::desk::Desk;
use crate::simulate::scenario::{JobIx, NodeIx};

/// How much longer a queue may be for the sake of its checkpoint.
const LONGER_BY: usize = 2;

/// `affinity` of the README.
#[derive(Debug, Default)]
pub(super) struct Affinity {
    balance: LeastQueue,
}

fn will_have(job: JobIx, node: NodeIx, queues: &Queues, desk: &Desk<'_, '_>) -> bool {
    let ckpt = desk.job(job).ckpt;
    match queues.last(node) {
        Some(last) => desk.job(last).ckpt == ckpt,
        None => desk.caches(node).in_vram(ckpt),
    }
}

impl Assign for Affinity {
    fn choose(
        &mut self,
        job: JobIx,
        candidates: &[NodeIx],
        queues: &Queues,
        desk: &Desk<'_, '_>,
    ) -> Option<NodeIx> {
        let warm: Vec<NodeIx> =
            candidates.iter().copied().filter(|node| will_have(job, *node, queues, desk)).collect();
        let shortest =
            |nodes: &[NodeIx]| nodes.iter().map(|node| queues.outstanding(*node, desk)).min().unwrap_or(0);
        let worth_it = !warm.is_empty() && shortest(&warm) <= shortest(candidates) + LONGER_BY;
        self.balance.take(if worth_it { &warm } else { candidates }, queues, desk)
    }
}
