//! Literals that no workflow may carry, whatever the fleet offers (DESIGN §9).

use serde_json::Value;

use super::graph::{Graph, Node, NodeInput};
use super::problems::NodeProblem;
use super::{python, references};

/// The input by which savers name their files.
pub(super) const PREFIX_INPUT: &str = "filename_prefix";

/// What is wrong with the literals of a graph.
pub(super) fn problems(graph: &Graph) -> Vec<NodeProblem> {
    let mut found = Vec::new();
    for node in &graph.nodes {
        for (name, input) in &node.inputs {
            if let NodeInput::Literal(literal) = input {
                found.extend(problem(node, name, literal));
            }
        }
    }
    found
}

fn problem(node: &Node, name: &str, literal: &Value) -> Option<NodeProblem> {
    let failed = |details| Some(NodeProblem::new(node, Some(name), "custom_validation_failed", details));
    if has_nul(literal) {
        return failed(format!("{name} - a text must not contain NUL"));
    }
    match python::unwrapped(literal) {
        Value::String(prefix) if name == PREFIX_INPUT && leaves_folder(prefix) => failed(format!(
            "{name} - saving outside the output folder is not allowed: {}",
            prefix.escape_debug()
        )),
        _ => None,
    }
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(fields) => fields.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        _ => false,
    }
}

/// ComfyUI refuses such a prefix itself, but only when the saver runs (PROTOCOL §9).
fn leaves_folder(prefix: &str) -> bool {
    prefix.starts_with(['/', '\\'])
        || references::has_drive(prefix)
        // Also inside a name: ComfyUI saves such a file and then refuses to show it (PROTOCOL §5).
        || prefix.contains("..")
}
