//! One queue in the order of arrival; whoever fits an idle node first.

use std::collections::BTreeSet;

use crate::simulate::desk::Desk;
use crate::simulate::policy::{Event, Fate, Policy};
use crate::simulate::scenario::{JobIx, NodeIx};

/// `fifo` of the README.
#[derive(Debug, Default)]
pub(super) struct Fifo {
    /// Positions in the trace are in the order of arrival, and a requeued job takes its old place.
    queue: BTreeSet<JobIx>,
}

impl Policy for Fifo {
    fn on_event(&mut self, event: Event, desk: &mut Desk<'_, '_>) {
        match event {
            Event::Arrived { job }
            | Event::OutOfMemory { job, fate: Fate::Waits, .. }
            | Event::Down { lost: Some((job, Fate::Waits)), .. } => {
                self.queue.insert(job);
            }
            _ => {}
        }
        let mut idle: Vec<NodeIx> = desk.setting().node_ixs().filter(|node| desk.is_idle(*node)).collect();
        let mut started = Vec::new();
        for &job in &self.queue {
            if idle.is_empty() {
                break;
            }
            let Some(at) = idle.iter().position(|node| desk.fits(job, *node)) else { continue };
            if desk.start(job, idle.remove(at)).is_ok() {
                started.push(job);
            }
        }
        for job in started {
            self.queue.remove(&job);
        }
    }
}
