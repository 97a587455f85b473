//! The links of a graph, resolved once: who feeds whom.

use std::collections::HashMap;

use super::graph::{Node, NodeInput};
use super::malformed::Malformed;

/// Most nodes of a ring that a refusal names.
const MAX_NAMED: usize = 32;

/// The resolved links of a graph.
#[derive(Debug, Clone, Default)]
pub(super) struct Plan {
    /// For each node and each of its inputs the index of the node that feeds it; `None` for literals and for links
    /// to nodes that do not exist.
    pub(super) sources: Vec<Box<[Option<usize>]>>,
    /// Nodes after those that feed them.
    order: Box<[usize]>,
}

impl Plan {
    /// Resolves the links of `nodes`.
    ///
    /// # Errors
    /// A ring, or a chain longer than `max_chain`.
    pub(super) fn of(nodes: &[Node], max_chain: usize) -> Result<Self, Malformed> {
        let sources = resolve(nodes);
        let order = sort(&sources);
        if order.len() < nodes.len() {
            return Err(ring(nodes, &sources, &order));
        }
        check_chain(nodes, &sources, &order, max_chain)?;
        Ok(Self { sources, order: order.into() })
    }

    /// All nodes, each after those that feed it.
    pub(super) fn in_order(&self) -> impl Iterator<Item = usize> {
        self.order.iter().copied()
    }

    /// The nodes that feed node `index`, through any input.
    pub(super) fn feeding(&self, index: usize) -> impl Iterator<Item = usize> {
        self.sources.get(index).into_iter().flatten().copied().flatten()
    }
}

fn resolve(nodes: &[Node]) -> Vec<Box<[Option<usize>]>> {
    let index: HashMap<&str, usize> =
        nodes.iter().enumerate().map(|(at, node)| (node.id.as_str(), at)).collect();
    let source = |input: &NodeInput| match input {
        NodeInput::Link { from, .. } => index.get(from.as_str()).copied(),
        NodeInput::Literal(_) => None,
    };
    nodes.iter().map(|node| node.inputs.iter().map(|(_, input)| source(input)).collect()).collect()
}

/// Nodes after those that feed them (Kahn); nodes of a ring and those behind it are left out.
fn sort(sources: &[Box<[Option<usize>]>]) -> Vec<usize> {
    let mut waits: Vec<usize> = sources.iter().map(|feeding| feeding.iter().flatten().count()).collect();
    let mut fed = vec![Vec::new(); sources.len()];
    for (node, feeding) in sources.iter().enumerate() {
        for &source in feeding.iter().flatten() {
            fed[source].push(node);
        }
    }
    let mut order: Vec<usize> = (0..sources.len()).filter(|&node| waits[node] == 0).collect();
    let mut next = 0;
    while let Some(&node) = order.get(next) {
        next += 1;
        for &behind in &fed[node] {
            waits[behind] -= 1;
            if waits[behind] == 0 {
                order.push(behind);
            }
        }
    }
    order
}

/// Follows the first unordered node upstream until a node comes again. Every unordered node is fed by another
/// unordered one, so the walk cannot end elsewhere.
fn ring(nodes: &[Node], sources: &[Box<[Option<usize>]>], order: &[usize]) -> Malformed {
    let mut left = vec![true; nodes.len()];
    for &node in order {
        left[node] = false;
    }
    let mut seen_at = vec![None; nodes.len()];
    let mut walk = Vec::new();
    let mut at = left.iter().position(|&left| left);
    while let Some(node) = at {
        if let Some(start) = seen_at[node] {
            return name_ring(nodes, &walk[start..]);
        }
        seen_at[node] = Some(walk.len());
        walk.push(node);
        at = sources[node].iter().flatten().copied().find(|&source| left[source]);
    }
    Malformed::Structure { node: None, reason: "the workflow has a dependency cycle".to_owned() }
}

fn name_ring(nodes: &[Node], ring: &[usize]) -> Malformed {
    let named = |&at: &usize| (nodes[at].id.clone(), nodes[at].class_type.clone());
    let mut path: Vec<String> = ring
        .iter()
        .take(MAX_NAMED)
        .map(|&at| format!("{} ({})", nodes[at].id, nodes[at].class_type))
        .collect();
    if ring.len() > MAX_NAMED {
        path.push("…".to_owned());
    }
    path.extend(path.first().cloned());
    Malformed::Cycle { nodes: ring.iter().take(MAX_NAMED).map(named).collect(), path: path.join(" -> ") }
}

fn check_chain(
    nodes: &[Node],
    sources: &[Box<[Option<usize>]>],
    order: &[usize],
    max_chain: usize,
) -> Result<(), Malformed> {
    let mut length = vec![1_usize; nodes.len()];
    for &node in order {
        let feeding = sources[node].iter().flatten().map(|&source| length[source]).max().unwrap_or(0);
        length[node] = feeding + 1;
        if length[node] > max_chain {
            return Err(Malformed::TooLarge(format!(
                "node {} ends a chain of more than {max_chain} nodes, each fed by the one before",
                nodes[node].id
            )));
        }
    }
    Ok(())
}
