//! The order in which nodes run, as observed: outputs as early as possible, otherwise last linked input first.

use std::collections::{HashMap, HashSet};

use crate::graph::Graph;

/// Nodes still to run and what they wait for.
#[derive(Default)]
pub(crate) struct Schedule {
    /// In the order they were found.
    pending: Vec<String>,
    waiting_for: HashMap<String, HashSet<String>>,
    blocks: HashMap<String, Vec<String>>,
}

impl Schedule {
    /// Adds a node and everything it needs, except what `done` says is there; `lazy` inputs are left out.
    pub(crate) fn add(
        &mut self,
        graph: Graph<'_>,
        node: &str,
        done: &dyn Fn(&str) -> bool,
        lazy: &dyn Fn(&str, &str) -> bool,
    ) {
        let mut stack = vec![node.to_owned()];
        while let Some(node) = stack.pop() {
            if self.waiting_for.contains_key(&node) {
                continue;
            }
            self.pending.push(node.clone());
            self.waiting_for.insert(node.clone(), HashSet::new());
            for (name, value) in graph.inputs(&node) {
                let Some((from, _)) = crate::graph::link(value) else { continue };
                if lazy(&node, name) || done(from) {
                    continue;
                }
                self.depend(from, &node);
                stack.push(from.to_owned());
            }
        }
    }

    /// Makes `node` wait for `from`.
    pub(crate) fn depend(&mut self, from: &str, node: &str) {
        let added = self.waiting_for.entry(node.to_owned()).or_default().insert(from.to_owned());
        if added {
            self.blocks.entry(from.to_owned()).or_default().push(node.to_owned());
        }
    }

    /// The node to run next: an output, then what leads to one in one step, in two, then the first found.
    pub(crate) fn next(&self, is_output: &dyn Fn(&str) -> bool) -> Option<String> {
        let ready: Vec<&String> = self
            .pending
            .iter()
            .filter(|node| self.waiting_for.get(*node).is_some_and(HashSet::is_empty))
            .collect();
        let blocked = |node: &str| self.blocks.get(node).map(Vec::as_slice).unwrap_or_default();
        let one_step = |node: &&&String| blocked(node).iter().any(|next| is_output(next));
        let two_steps = |node: &&&String| {
            blocked(node).iter().any(|next| blocked(next).iter().any(|last| is_output(last)))
        };
        ready
            .iter()
            .find(|node| is_output(node))
            .or_else(|| ready.iter().find(one_step))
            .or_else(|| ready.iter().find(two_steps))
            .or_else(|| ready.first())
            .map(|node| (*node).clone())
    }

    /// Whether nothing is left to run.
    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// The node ran.
    pub(crate) fn complete(&mut self, node: &str) {
        self.pending.retain(|other| other != node);
        for next in self.blocks.remove(node).unwrap_or_default() {
            if let Some(waiting) = self.waiting_for.get_mut(&next) {
                waiting.remove(node);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may")]
    use super::*;
    use serde_json::json;

    #[test]
    fn a_ready_output_runs_before_other_nodes() {
        let graph = json!({
            "1": {"class_type": "EmptyImage", "inputs": {}},
            "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
            "3": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}},
            "4": {"class_type": "SaveImage", "inputs": {"images": ["2", 0]}},
        });
        let graph = Graph(graph.as_object().unwrap());
        let mut schedule = Schedule::default();
        for output in ["4", "3"] {
            schedule.add(graph, output, &|_| false, &|_, _| false);
        }
        let mut order = Vec::new();
        while let Some(node) = schedule.next(&|node| graph.class(node) == "SaveImage") {
            schedule.complete(&node);
            order.push(node);
        }
        assert_eq!(order, ["1", "3", "2", "4"]);
    }
}
