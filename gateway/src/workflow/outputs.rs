//! The output nodes of a graph, and what is left of them when something upstream is of no use.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::catalogue::Catalogue;
use super::graph::Graph;
use super::problems::MAX_DEPENDENT_OUTPUTS;
use super::trial::reach;

/// The ids of the nodes that a prompt may end in, by any of these catalogues, in the order of the graph.
#[must_use]
pub fn output_nodes(graph: &Graph, fleet: &[Arc<Catalogue>]) -> Vec<String> {
    let outputs = graph.nodes.iter().filter(|node| is_output(&node.class_type, fleet));
    outputs.map(|node| node.id.clone()).collect()
}

/// Whether a prompt may end in nodes of a class, by any of these catalogues.
#[must_use]
pub fn is_output(class: &str, fleet: &[Arc<Catalogue>]) -> bool {
    fleet.iter().filter_map(|it| it.class(class)).any(|it| it.output_node)
}

/// Whether any of these catalogues has a class.
#[must_use]
pub fn is_known(class: &str, fleet: &[Arc<Catalogue>]) -> bool {
    fleet.iter().any(|it| it.class(class).is_some())
}

/// What faulty nodes leave of the outputs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sound {
    /// Outputs that depend on no faulty node.
    pub outputs: Vec<String>,
    /// All nodes that those depend on, themselves included.
    pub nodes: Vec<String>,
    /// The outputs that each faulty node breaks, at most [`MAX_DEPENDENT_OUTPUTS`] of them.
    pub broken_by: BTreeMap<String, Vec<String>>,
}

/// What these faulty nodes leave of these outputs.
#[must_use]
pub fn sound_without(graph: &Graph, outputs: &[String], faulty: &[String]) -> Sound {
    let id = |at: usize| graph.nodes[at].id.clone();
    let marked = |ids: &[String]| graph.nodes.iter().map(|node| ids.contains(&node.id)).collect::<Vec<_>>();
    let is_output = marked(outputs);
    let outputs: Vec<usize> = (0..is_output.len()).filter(|&at| is_output[at]).collect();
    let left = Left::without(graph, &outputs, &marked(faulty));
    let needed = executed(graph, &left.outputs);
    let broken_by = left.broken_by.into_iter().enumerate().filter(|(_, broken)| !broken.is_empty());
    Sound {
        outputs: left.outputs.into_iter().map(id).collect(),
        nodes: (0..needed.len()).filter(|&at| needed[at]).map(id).collect(),
        broken_by: broken_by.map(|(at, broken)| (id(at), broken.into_iter().map(id).collect())).collect(),
    }
}

/// What faulty nodes leave of outputs, as places in the graph.
pub(super) struct Left {
    /// Outputs that depend on no faulty node.
    pub(super) outputs: Vec<usize>,
    /// The outputs that each node breaks, at most [`MAX_DEPENDENT_OUTPUTS`] of them.
    pub(super) broken_by: Vec<Vec<usize>>,
}

impl Left {
    pub(super) fn without(graph: &Graph, outputs: &[usize], faulty: &[bool]) -> Self {
        let mut left = Self { outputs: Vec::new(), broken_by: vec![Vec::new(); graph.nodes.len()] };
        for &output in outputs {
            let needed = executed(graph, &[output]);
            let mut faults = (0..needed.len()).filter(|&at| needed[at] && faulty[at]).peekable();
            if faults.peek().is_none() {
                left.outputs.push(output);
            }
            for fault in faults {
                let broken = &mut left.broken_by[fault];
                if broken.len() < MAX_DEPENDENT_OUTPUTS {
                    broken.push(output);
                }
            }
        }
        left
    }
}

/// Which nodes run for these outputs: ComfyUI follows every link then, also those of inputs that the class does not know.
pub(super) fn executed(graph: &Graph, outputs: &[usize]) -> Vec<bool> {
    reach(graph.nodes.len(), outputs, |at| graph.plan.feeding(at).collect())
}
