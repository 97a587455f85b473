//! Names of what an instance must offer, and their hashes.

use scheduler::Part;
use serde_json::Value;

use super::python::{self, Number};
use super::{Graph, NodeInput};

/// The part for a node class.
pub(super) fn class(name: &str) -> Part {
    Part(hash(&["class", name]))
}

/// The part for `value` as a choice of an input. Values that are equal in Python (`1`, `1.0`, `true`) are one part.
/// `None` for lists and objects, which no list of choices holds.
pub(super) fn value(class: &str, input: &str, value: &Value) -> Option<Part> {
    let text = match value {
        Value::String(text) => return Some(Part(hash(&["value", class, input, text]))),
        Value::Array(_) | Value::Object(_) => return None,
        Value::Null => "None".to_owned(),
        Value::Bool(_) | Value::Number(_) => match python::number(value)? {
            Number::Int(int) => int.to_string(),
            Number::Float(float) => format!("{float:?}"),
        },
    };
    // One field more than a text has: the text "1" is no number.
    Some(Part(hash(&["value", class, input, "", &text])))
}

/// First 8 bytes of the BLAKE3 of `fields` with NUL between them.
pub(super) fn hash(fields: &[&str]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    for (at, field) in fields.iter().enumerate() {
        if at > 0 {
            hasher.update(&[0]);
        }
        hasher.update(field.as_bytes());
    }
    first_eight(&hasher.finalize())
}

/// The first 8 bytes of a hash, little-endian.
pub(super) fn first_eight(hash: &blake3::Hash) -> u64 {
    hash.as_bytes().iter().take(8).rev().fold(0, |sum, &byte| (sum << 8) | u64::from(byte))
}

/// Names for the parts that a workflow may need, to put a [`Part`] back into words: `class KSampler`,
/// `ckpt_name "base.safetensors" of CheckpointLoaderSimple`. Holds every class and every plain literal, so a part of
/// any requirement made from this graph is among them.
#[must_use]
pub fn names(graph: &Graph) -> Vec<(Part, String)> {
    let mut names = Vec::new();
    for node in &graph.nodes {
        names.push((class(&node.class_type), format!("class {}", node.class_type)));
        for (input, literal) in &node.inputs {
            if let NodeInput::Literal(literal) = literal {
                let literal = python::unwrapped(literal);
                let part = value(&node.class_type, input, literal);
                names.extend(part.map(|part| (part, choice(&node.class_type, input, literal))));
            }
        }
    }
    names.sort_unstable();
    names.dedup_by_key(|(part, _)| *part);
    names
}

/// A choice of an input in words.
pub(super) fn choice(class: &str, input: &str, value: &Value) -> String {
    format!("{input} {value} of {class}")
}
