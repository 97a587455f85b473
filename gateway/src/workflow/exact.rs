//! Exact repeats: one id for all that a prompt is made of.

use scheduler::GraphId;

use super::parts;
use super::{Graph, NodeInput};

/// Equal for graphs whose nodes, classes, links and values are equal, in whatever order they were written. Keys of
/// objects inside a value count in their order: a repeat that is missed for it only runs where others would.
pub(super) fn id(graph: &Graph) -> GraphId {
    let mut nodes: Vec<_> = graph.nodes.iter().collect();
    nodes.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    let mut hasher = blake3::Hasher::new();
    let mut add = |field: &str| {
        hasher.update(&(field.len() as u64).to_le_bytes()).update(field.as_bytes());
    };
    for node in nodes {
        add("node");
        add(&node.id);
        add(&node.class_type);
        let mut inputs: Vec<_> = node.inputs.iter().collect();
        inputs.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        for (name, given) in inputs {
            add("input");
            add(name);
            match given {
                NodeInput::Link { from, slot } => {
                    add("link");
                    add(from);
                    add(&slot.to_string());
                }
                NodeInput::Literal(value) => {
                    add("value");
                    add(&value.to_string());
                }
            }
        }
    }
    let short = parts::first_eight(&hasher.finalize()) & u64::from(u32::MAX);
    GraphId(u32::try_from(short).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may")]

    use super::*;
    use crate::workflow::Limits;

    fn of(text: &str) -> GraphId {
        id(&Graph::parse(text, &Limits::default()).unwrap())
    }

    #[test]
    fn only_the_same_nodes_links_and_values_are_a_repeat() {
        let one = of(
            r#"{"1":{"class_type":"A","inputs":{"x":1,"y":"b"}},"2":{"class_type":"B","inputs":{"in":["1",0]}}}"#,
        );
        let reordered = of(
            r#"{"2": {"inputs": {"in": ["1", 0]}, "class_type": "B"}, "1": {"inputs": {"y": "b", "x": 1}, "class_type": "A"}}"#,
        );
        assert_eq!(one, reordered);
        for other in [
            r#"{"1":{"class_type":"A","inputs":{"x":2,"y":"b"}},"2":{"class_type":"B","inputs":{"in":["1",0]}}}"#,
            r#"{"1":{"class_type":"A","inputs":{"x":1,"y":"b"}},"2":{"class_type":"B","inputs":{"in":["1",1]}}}"#,
            r#"{"1":{"class_type":"C","inputs":{"x":1,"y":"b"}},"2":{"class_type":"B","inputs":{"in":["1",0]}}}"#,
            r#"{"1":{"class_type":"A","inputs":{"x":1,"y":"b"}}}"#,
        ] {
            assert_ne!(one, of(other), "{other}");
        }
    }
}
