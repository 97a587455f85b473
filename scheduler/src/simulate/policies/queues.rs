//! The frame of all policies that give each node a queue of its own.

use std::collections::VecDeque;

use super::ect::{predicted_exec_ms, predicted_load_ms};
use crate::simulate::desk::Desk;
use crate::simulate::policy::{Event, Fate, Policy};
use crate::simulate::scenario::{JobIx, Ms, NodeIx};

/// Chooses a node for a job when it arrives and when it comes back.
pub(super) trait Assign {
    /// One of the candidates: nodes that are up and that the job fits, lowest first and at least one.
    fn choose(
        &mut self,
        job: JobIx,
        candidates: &[NodeIx],
        queues: &Queues,
        desk: &Desk<'_, '_>,
    ) -> Option<NodeIx>;

    /// What the job will add to the queue's predicted time; only [`Queues::work_ms`] needs it.
    fn cost_ms(&self, _job: JobIx, _node: NodeIx, _queues: &Queues, _desk: &Desk<'_, '_>) -> Ms {
        0
    }
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    job: JobIx,
    cost_ms: Ms,
}

#[derive(Debug, Default, Clone)]
struct Line {
    waiting: VecDeque<Waiting>,
    waiting_ms: Ms,
    /// Predicted end of what runs.
    ends_at: Ms,
}

/// What waits at each node.
#[derive(Debug)]
pub(super) struct Queues {
    lines: Vec<Line>,
}

impl Queues {
    pub(super) fn nodes(&self) -> usize {
        self.lines.len()
    }

    /// The job that was queued last and still waits.
    pub(super) fn last(&self, node: NodeIx) -> Option<JobIx> {
        self.lines[node.index()].waiting.back().map(|waiting| waiting.job)
    }

    /// Queued and running prompts.
    pub(super) fn outstanding(&self, node: NodeIx, desk: &Desk<'_, '_>) -> usize {
        self.lines[node.index()].waiting.len() + usize::from(!desk.is_idle(node))
    }

    /// Predicted time until the node has done all it has, ms.
    pub(super) fn work_ms(&self, node: NodeIx, now: Ms) -> Ms {
        let line = &self.lines[node.index()];
        (line.ends_at - now).max(0).saturating_add(line.waiting_ms)
    }
}

/// A policy with a queue at each node.
#[derive(Debug)]
pub(super) struct Queued<A> {
    assign: A,
    queues: Queues,
    /// Jobs without a candidate, until a node comes up.
    held: Vec<JobIx>,
}

impl<A: Assign> Queued<A> {
    pub(super) fn new(nodes: usize, assign: A) -> Self {
        Self { assign, queues: Queues { lines: vec![Line::default(); nodes] }, held: Vec::new() }
    }

    fn assign(&mut self, job: JobIx, desk: &Desk<'_, '_>) {
        let nodes = desk.setting().node_ixs();
        let candidates: Vec<NodeIx> =
            nodes.filter(|node| desk.is_up(*node) && desk.fits(job, *node)).collect();
        let Some(node) = self.assign.choose(job, &candidates, &self.queues, desk) else {
            self.held.push(job);
            return;
        };
        let cost_ms = self.assign.cost_ms(job, node, &self.queues, desk);
        let line = &mut self.queues.lines[node.index()];
        line.waiting.push_back(Waiting { job, cost_ms });
        line.waiting_ms = line.waiting_ms.saturating_add(cost_ms);
    }

    fn on_down(&mut self, node: NodeIx, lost: Option<(JobIx, Fate)>, desk: &Desk<'_, '_>) {
        let line = std::mem::take(&mut self.queues.lines[node.index()]);
        let running = lost.and_then(|(job, fate)| (fate == Fate::Waits).then_some(job));
        for job in running.into_iter().chain(line.waiting.into_iter().map(|waiting| waiting.job)) {
            self.assign(job, desk);
        }
    }

    fn serve(&mut self, desk: &mut Desk<'_, '_>) {
        for node in desk.setting().node_ixs() {
            while desk.is_idle(node) {
                let line = &mut self.queues.lines[node.index()];
                let Some(Waiting { job, cost_ms }) = line.waiting.pop_front() else { break };
                line.waiting_ms -= cost_ms;
                self.start(job, node, desk);
            }
        }
    }

    fn start(&mut self, job: JobIx, node: NodeIx, desk: &mut Desk<'_, '_>) {
        let predicted_ms = desk
            .setting()
            .constants
            .overhead_ms
            .saturating_add(predicted_load_ms(job, node, desk))
            .saturating_add(predicted_exec_ms(job, node, desk));
        if desk.start(job, node).is_ok() {
            self.queues.lines[node.index()].ends_at = desk.now_ms().saturating_add(predicted_ms);
        } else {
            self.assign(job, desk);
        }
    }
}

impl<A: Assign> Policy for Queued<A> {
    fn on_event(&mut self, event: Event, desk: &mut Desk<'_, '_>) {
        match event {
            Event::Arrived { job } => self.assign(job, desk),
            Event::OutOfMemory { node, job, fate } => {
                self.queues.lines[node.index()].ends_at = 0;
                if fate == Fate::Waits {
                    self.assign(job, desk);
                }
            }
            Event::Completed { node, .. } => self.queues.lines[node.index()].ends_at = 0,
            Event::Down { node, lost } => self.on_down(node, lost, desk),
            Event::Up { .. } => {
                for job in std::mem::take(&mut self.held) {
                    self.assign(job, desk);
                }
            }
            Event::Freed { .. } | Event::Notice { .. } | Event::Timer => {}
        }
        self.serve(desk);
    }
}
