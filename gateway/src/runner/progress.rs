//! How far a prompt is, told by frames; pure.

use std::collections::{HashMap, HashSet};

use super::comfy::wire::{FrameEvent, NodeState};
use super::sketch::Sketch;
use crate::link::message::Progress;

/// Folds the frames of one prompt into snapshots whose value never goes back.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    done: HashSet<String>,
    /// Share of each node that runs.
    running: HashMap<String, f64>,
    current: Option<String>,
    step: Option<(u32, u32)>,
    value: f64,
}

impl Tracker {
    /// Takes an event in; whether the snapshot may have changed.
    pub(super) fn take(&mut self, event: &FrameEvent) -> bool {
        match event {
            FrameEvent::Cached(nodes) => self.done.extend(nodes.iter().cloned()),
            FrameEvent::Nodes(nodes) => nodes.iter().for_each(|node| self.node(node)),
            FrameEvent::Executing(Some(node)) => self.enter(node),
            FrameEvent::Step { node, value, max } => self.step(node.as_deref(), *value, *max),
            FrameEvent::Executed(node) => self.finish(node),
            _ => return false,
        }
        true
    }

    fn node(&mut self, state: &NodeState) {
        if self.done.contains(&state.node) {
            return;
        }
        match (state.finished, state.itself) {
            (true, true) => self.finish(&state.node),
            // a part of an expanded node says nothing about the whole, except that it runs
            (_, false) => {
                self.running.entry(state.node.clone()).or_insert(0.0);
            }
            (false, true) => {
                self.running.insert(state.node.clone(), state.share);
            }
        }
    }

    fn enter(&mut self, node: &str) {
        if self.current.as_deref() != Some(node) {
            self.current = Some(node.to_owned());
            self.step = None;
        }
        if !self.done.contains(node) {
            self.running.entry(node.to_owned()).or_insert(0.0);
        }
    }

    fn step(&mut self, node: Option<&str>, value: f64, max: f64) {
        if let Some(node) = node.filter(|node| !node.contains('.')) {
            self.enter(node);
            if max > 0.0 && !self.done.contains(node) {
                self.running.insert(node.to_owned(), (value / max).clamp(0.0, 1.0));
            }
        }
        self.step = (max >= 1.0).then(|| (whole(value), whole(max)));
    }

    fn finish(&mut self, node: &str) {
        self.running.remove(node);
        self.done.insert(node.to_owned());
    }

    /// Where it stands now.
    pub(super) fn snapshot(&mut self, sketch: &Sketch) -> Progress {
        let total = sketch.len().max(1);
        let done = self.done.iter().filter(|node| sketch.class(node).is_some()).count();
        let parts: f64 = self.running.values().sum();
        #[expect(clippy::cast_precision_loss, reason = "node counts are small")]
        let value = ((done as f64 + parts) / total as f64).clamp(0.0, 1.0);
        self.value = self.value.max(value);
        Progress {
            value: self.value,
            nodes_done: count(done),
            nodes_total: count(sketch.len()),
            current_node: self.current.clone(),
            current_node_class: self
                .current
                .as_deref()
                .and_then(|node| sketch.class(node))
                .map(str::to_owned),
            step: self.step.map(|(step, _)| step),
            steps: self.step.map(|(_, steps)| steps),
        }
    }
}

fn count(nodes: usize) -> u32 {
    u32::try_from(nodes).unwrap_or(u32::MAX)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped; a fraction is of no interest"
)]
fn whole(value: f64) -> u32 {
    value.clamp(0.0, f64::from(u32::MAX)) as u32
}

#[cfg(test)]
#[path = "progress_tests.rs"]
mod tests;
