//! Walking a graph from an output upwards without recursion: graphs come from outside and may be deep.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::graph::link;

/// An output's ancestry.
pub(super) struct Ancestry {
    /// Ancestors first, the output last.
    pub nodes: Vec<String>,
    /// Nodes on the longest path.
    pub depth: usize,
    /// A cycle on the way, if any.
    pub cycle: Option<Vec<String>>,
}

enum Step {
    Enter(String),
    Leave(String),
}

/// Everything `output` depends on, links to missing nodes left out.
pub(super) fn ancestors(graph: &Map<String, Value>, output: &str) -> Ancestry {
    let mut depths: HashMap<String, usize> = HashMap::new();
    let mut path: Vec<String> = Vec::new();
    let mut nodes = Vec::new();
    let mut steps = vec![Step::Enter(output.to_owned())];
    while let Some(step) = steps.pop() {
        match step {
            Step::Enter(node) => {
                if let Some(start) = path.iter().position(|other| *other == node) {
                    return Ancestry { nodes, depth: path.len(), cycle: Some(path.split_off(start)) };
                }
                if depths.contains_key(&node) {
                    continue;
                }
                path.push(node.clone());
                steps.push(Step::Leave(node.clone()));
                let sources = sources(graph, &node);
                steps.extend(sources.into_iter().rev().map(Step::Enter));
            }
            Step::Leave(node) => {
                path.pop();
                let above = sources(graph, &node).iter().filter_map(|from| depths.get(from)).max().copied();
                depths.insert(node.clone(), above.unwrap_or(0) + 1);
                nodes.push(node);
            }
        }
    }
    Ancestry { depth: depths.get(output).copied().unwrap_or(0), nodes, cycle: None }
}

fn sources(graph: &Map<String, Value>, node: &str) -> Vec<String> {
    let inputs = graph.get(node).and_then(|node| node["inputs"].as_object());
    inputs
        .into_iter()
        .flat_map(Map::values)
        .filter_map(|value| link(value).map(|(from, _)| from.to_owned()))
        .filter(|from| graph.contains_key(from))
        .collect()
}
