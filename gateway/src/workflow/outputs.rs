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
    let mut sound = Sound::default();
    let mut needed_by_sound = vec![false; graph.nodes.len()];
    for output in (0..graph.nodes.len()).filter(|&at| outputs.contains(&graph.nodes[at].id)) {
        let needed = reach(graph.nodes.len(), &[output], |at| graph.plan.feeding(at).collect());
        let is_faulty = |at: &usize| needed[*at] && faulty.contains(&graph.nodes[*at].id);
        let faults: Vec<usize> = (0..needed.len()).filter(is_faulty).collect();
        for &fault in &faults {
            let broken = sound.broken_by.entry(id(fault)).or_default();
            if broken.len() < MAX_DEPENDENT_OUTPUTS {
                broken.push(id(output));
            }
        }
        if faults.is_empty() {
            sound.outputs.push(id(output));
            needed_by_sound.iter_mut().zip(needed).for_each(|(all, one)| *all |= one);
        }
    }
    sound.nodes = (0..graph.nodes.len()).filter(|&at| needed_by_sound[at]).map(id).collect();
    sound
}
