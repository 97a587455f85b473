//! The earliest predicted completion at arrival; knows speeds and switch costs.

use super::queues::{Assign, Queues};
use crate::simulate::caches::patch_cost;
use crate::simulate::desk::Desk;
use crate::simulate::scenario::{JobIx, Ms, NodeIx, Speed, cdiv};

/// `ect` of the README.
#[derive(Debug)]
pub(super) struct Ect;

/// What a reference device is; stands for a speed that is hidden.
const REFERENCE_MILLI: i64 = 1000;

/// Predicted execution on a node, ms.
pub(super) fn predicted_exec_ms(job: JobIx, node: NodeIx, desk: &Desk<'_, '_>) -> Ms {
    let known = desk.job(job);
    let milli = match desk.setting().class_of(node).speed(known.family) {
        Speed::Milli(milli) => milli,
        Speed::Unknown | Speed::CannotRun => REFERENCE_MILLI,
    };
    cdiv(known.est_ms.saturating_mul(1000), milli)
}

/// Predicted loading in the state as of now, ms.
pub(super) fn predicted_load_ms(job: JobIx, node: NodeIx, desk: &Desk<'_, '_>) -> Ms {
    let setting = desk.setting();
    desk.caches(node).load_ms(setting, setting.class_of(node), desk.job(job))
}

/// Predicted loading behind what is queued, ms.
fn load_behind_ms(job: JobIx, node: NodeIx, queues: &Queues, desk: &Desk<'_, '_>) -> Ms {
    let known = desk.job(job);
    match queues.last(node).map(|last| desk.job(last)) {
        Some(last) if last.ckpt == known.ckpt && last.loras == known.loras => 0,
        Some(last) if last.ckpt == known.ckpt => patch_cost(desk.setting(), known),
        Some(_) | None => predicted_load_ms(job, node, desk),
    }
}

impl Assign for Ect {
    fn choose(
        &mut self,
        job: JobIx,
        candidates: &[NodeIx],
        queues: &Queues,
        desk: &Desk<'_, '_>,
    ) -> Option<NodeIx> {
        let completion = |node: NodeIx| {
            queues.work_ms(node, desk.now_ms()).saturating_add(self.cost_ms(job, node, queues, desk))
        };
        candidates.iter().copied().min_by_key(|node| (completion(*node), *node))
    }

    fn cost_ms(&self, job: JobIx, node: NodeIx, queues: &Queues, desk: &Desk<'_, '_>) -> Ms {
        desk.setting()
            .constants
            .overhead_ms
            .saturating_add(load_behind_ms(job, node, queues, desk))
            .saturating_add(predicted_exec_ms(job, node, desk))
    }
}
