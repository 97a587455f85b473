//! Workflows that cannot be a ComfyUI prompt, whatever the fleet offers.

use super::problems::NodeProblem;

/// A workflow that cannot be a ComfyUI prompt, whatever the fleet offers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The editor's save format (list `nodes`, key `links`).
    #[error("the workflow is in the editor's save format; export it with \"Export (API)\"")]
    UiFormat,
    /// Over a bound.
    #[error("{0}")]
    TooLarge(String),
    /// No nodes at all.
    #[error("the workflow has no nodes")]
    Empty,
    /// A node without a class.
    #[error("node {node} has no class_type")]
    NoClass {
        /// The node at fault.
        node: String,
        /// The caller's own name for it, if given.
        title: Option<String>,
    },
    /// Nodes that feed each other in a ring.
    #[error("dependency cycle: {path}")]
    Cycle {
        /// The nodes of the ring and their classes, in the order in which each asks the next for its output; of a
        /// long one the first of them.
        nodes: Vec<(String, String)>,
        /// The ring in words, its first node repeated at the end.
        path: String,
    },
    /// Something else; `node` where one is at fault.
    #[error("{reason}")]
    Structure {
        /// The node at fault.
        node: Option<String>,
        /// What is wrong.
        reason: String,
    },
}

impl Malformed {
    /// The kind of fault, in ComfyUI's words where it has some (PROTOCOL §2): `missing_node_type`,
    /// `prompt_no_outputs`, `dependency_cycle`; else `workflow_format_ui`, `workflow_too_large`, `invalid_node` or
    /// `invalid_prompt`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::UiFormat => "workflow_format_ui",
            Self::TooLarge(_) => "workflow_too_large",
            Self::Empty => "prompt_no_outputs",
            Self::NoClass { .. } => "missing_node_type",
            Self::Cycle { .. } => "dependency_cycle",
            Self::Structure { node: Some(_), .. } => "invalid_node",
            Self::Structure { node: None, .. } => "invalid_prompt",
        }
    }

    /// The (first) node at fault, where one is.
    #[must_use]
    pub fn node_id(&self) -> Option<&str> {
        match self {
            Self::NoClass { node, .. } => Some(node),
            Self::Cycle { nodes, .. } => nodes.first().map(|(id, _)| id.as_str()),
            Self::Structure { node, .. } => node.as_deref(),
            Self::UiFormat | Self::TooLarge(_) | Self::Empty => None,
        }
    }

    /// The fault node by node, for the faces' `node_errors`; empty where no node is at fault.
    #[must_use]
    pub fn problems(&self) -> Vec<NodeProblem> {
        let problem = |id: &str, class: &str, message: &str, details: &str| NodeProblem {
            node_id: id.to_owned(),
            class_type: class.to_owned(),
            field: None,
            kind: self.kind(),
            message: message.to_owned(),
            details: details.to_owned(),
            dependent_outputs: Vec::new(),
        };
        match self {
            Self::Cycle { nodes, path } => nodes
                .iter()
                .map(|(id, class)| problem(id, class, "Dependency cycle detected", path))
                .collect(),
            Self::NoClass { node, .. } => vec![problem(node, "", &self.to_string(), "class_type")],
            Self::Structure { node: Some(node), reason } => {
                vec![problem(node, "", "Invalid node", reason)]
            }
            Self::Structure { node: None, .. } | Self::UiFormat | Self::TooLarge(_) | Self::Empty => vec![],
        }
    }
}
