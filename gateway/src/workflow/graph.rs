//! A workflow in ComfyUI's API format, read within bounds.

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

/// A workflow that was read.
#[derive(Debug, Clone)]
pub struct Graph {
    /// The nodes in the caller's order.
    pub nodes: Vec<Node>,
}

/// A vertex of a workflow.
#[derive(Debug, Clone)]
pub struct Node {
    /// The caller's id.
    pub id: String,
    /// Its class.
    pub class_type: String,
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
    Literal(serde_json::Value),
}

/// A workflow that cannot be a ComfyUI prompt, whatever the fleet offers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The editor's save format (list `nodes`, key `links`).
    #[error("the workflow is in the editor's save format; export it with \"Export (API)\"")]
    UiFormat,
    /// Over a bound.
    #[error("{0}")]
    TooLarge(String),
    /// Something else; `node` where one is at fault.
    #[error("{reason}")]
    Structure {
        /// The node at fault.
        node: Option<String>,
        /// What is wrong.
        reason: String,
    },
}

impl Graph {
    /// Reads a workflow within bounds.
    ///
    /// # Errors
    /// See [`Malformed`].
    pub fn parse(_text: &str, _limits: &Limits) -> Result<Self, Malformed> {
        Err(Malformed::Structure { node: None, reason: "not yet".into() })
    }
}
