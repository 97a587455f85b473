//! A workflow in ComfyUI's API format, read within bounds.

use serde_json::{Map, Value};

use super::malformed::Malformed;
use super::nesting;
use super::plan::Plan;

/// Longest id of a node, bytes.
const MAX_ID_BYTES: usize = 256;
/// Longest name of a class, bytes.
const MAX_CLASS_BYTES: usize = 512;

/// Bounds of a workflow (PROTOCOL §8.1: long chains stall a worker; §9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Length of the JSON text, bytes.
    pub max_bytes: usize,
    /// Nodes.
    pub max_nodes: usize,
    /// Longest chain of nodes, each fed by the one before.
    pub max_chain: usize,
    /// Nesting of the JSON text.
    pub max_depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_bytes: 4 << 20, max_nodes: 2_000, max_chain: 400, max_depth: 64 }
    }
}

/// A workflow that was read: every node has a class, and no node feeds itself, not even through others.
#[derive(Debug, Clone)]
pub struct Graph {
    /// The nodes in the caller's order.
    pub nodes: Vec<Node>,
    /// Its links, resolved once.
    pub(super) plan: Plan,
}

/// A vertex of a workflow.
#[derive(Debug, Clone)]
pub struct Node {
    /// The caller's id.
    pub id: String,
    /// Its class.
    pub class_type: String,
    /// The caller's own name for it (`_meta.title`).
    pub title: Option<String>,
    /// Its inputs, in the caller's order.
    pub inputs: Vec<(String, NodeInput)>,
}

/// A value of an input.
#[derive(Debug, Clone, PartialEq)]
pub enum NodeInput {
    /// Output `slot` of node `from`.
    Link {
        /// The node it comes from.
        from: String,
        /// Which of its outputs.
        slot: u32,
    },
    /// Anything else.
    Literal(Value),
}

impl Graph {
    /// Reads a workflow within bounds. Of repeated keys the last wins, as in ComfyUI.
    ///
    /// Stricter than ComfyUI in two points: a ring of nodes is refused even where no output depends on it, and so is
    /// a node without inputs.
    ///
    /// # Errors
    /// See [`Malformed`].
    pub fn parse(text: &str, limits: &Limits) -> Result<Self, Malformed> {
        let too_large = |what: String| Err(Malformed::TooLarge(what));
        if text.len() > limits.max_bytes {
            return too_large(format!(
                "the workflow has {} bytes, over the bound of {}",
                text.len(),
                limits.max_bytes
            ));
        }
        let depth = nesting::depth(text);
        if depth > limits.max_depth {
            return too_large(format!(
                "the workflow nests {depth} deep, over the bound of {}",
                limits.max_depth
            ));
        }
        let value = serde_json::from_str(text)
            .map_err(|error| structure(None, format!("the workflow is not JSON: {error}")))?;
        let Value::Object(prompt) = value else {
            return Err(structure(None, "the workflow is not an object of nodes".to_owned()));
        };
        if is_ui_format(&prompt) {
            return Err(Malformed::UiFormat);
        }
        if prompt.is_empty() {
            return Err(Malformed::Empty);
        }
        if prompt.len() > limits.max_nodes {
            return too_large(format!(
                "the workflow has {} nodes, over the bound of {}",
                prompt.len(),
                limits.max_nodes
            ));
        }
        let nodes =
            prompt.into_iter().map(|(id, node)| read_node(id, node)).collect::<Result<Vec<_>, _>>()?;
        let plan = Plan::of(&nodes, limits.max_chain)?;
        Ok(Self { nodes, plan })
    }
}

/// The editor saves `{"nodes": […], "links": …, …}`; no API prompt has a node that is a list.
fn is_ui_format(prompt: &Map<String, Value>) -> bool {
    prompt.get("nodes").is_some_and(Value::is_array) && prompt.contains_key("links")
}

fn structure(node: Option<&str>, reason: String) -> Malformed {
    Malformed::Structure { node: node.map(str::to_owned), reason }
}

fn read_node(id: String, node: Value) -> Result<Node, Malformed> {
    if id.len() > MAX_ID_BYTES {
        let start: String = id.chars().take(32).collect();
        return Err(structure(
            Some(&start),
            format!("a node id is longer than {MAX_ID_BYTES} bytes: {start}…"),
        ));
    }
    let Value::Object(mut fields) = node else {
        return Err(structure(Some(&id), format!("node {id} is not an object")));
    };
    let title = match fields.get_mut("_meta").and_then(|meta| meta.get_mut("title")).map(Value::take) {
        Some(Value::String(title)) => Some(title),
        _ => None,
    };
    let class_type = match fields.get_mut("class_type").map(Value::take) {
        None | Some(Value::Null) => return Err(Malformed::NoClass { node: id, title }),
        Some(Value::String(class)) if !class.is_empty() && class.len() <= MAX_CLASS_BYTES => class,
        Some(Value::String(_)) => {
            return Err(structure(
                Some(&id),
                format!("the class_type of node {id} must have 1 to {MAX_CLASS_BYTES} bytes"),
            ));
        }
        Some(_) => return Err(structure(Some(&id), format!("the class_type of node {id} is not a string"))),
    };
    let Some(Value::Object(inputs)) = fields.get_mut("inputs").map(Value::take) else {
        return Err(structure(Some(&id), format!("the inputs of node {id} are not an object")));
    };
    let inputs = inputs.into_iter().map(|(name, value)| (name, read_input(value))).collect();
    Ok(Node { id, class_type, title, inputs })
}

/// A list of a node id and a slot is a link; any other list stays a literal, which the check of its input refuses
/// as ComfyUI does (an id that is a number is no key of a JSON object either).
fn read_input(value: Value) -> NodeInput {
    let slot = match &value {
        Value::Array(pair) => match pair.as_slice() {
            [Value::String(_), slot] => slot.as_u64().and_then(|slot| u32::try_from(slot).ok()),
            _ => None,
        },
        _ => None,
    };
    match (slot, value) {
        (Some(slot), Value::Array(pair)) => match pair.into_iter().next() {
            Some(Value::String(from)) => NodeInput::Link { from, slot },
            other => NodeInput::Literal(other.unwrap_or_default()),
        },
        (_, value) => NodeInput::Literal(value),
    }
}
