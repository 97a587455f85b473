//! What is wrong with a workflow, in ComfyUI's terms (PROTOCOL §2).

use super::{Judged, Node};

/// A workflow that no instance would run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// ComfyUI's `error.type` for it (PROTOCOL §2), or `no_single_instance` where each part exists but on no one
    /// instance.
    pub kind: &'static str,
    /// In words.
    pub message: String,
    /// What the fleet lacks: names of classes and of model files.
    pub missing: Vec<String>,
    /// What is wrong, node by node.
    pub problems: Vec<NodeProblem>,
    /// Some output validates although another does not: ComfyUI would answer 200 with `node_errors` and run what is
    /// left. What that needs, for the face that lets it pass (DESIGN §13: native only).
    pub in_part: Option<Box<Judged>>,
}

impl Refused {
    /// Without the choices that inputs list: they name model files that not everybody may know of.
    #[must_use]
    pub fn without_choices(mut self) -> Self {
        let listed = self.problems.first().map(NodeProblem::in_words);
        for problem in self.problems.iter_mut().filter(|problem| problem.kind == NOT_IN_LIST) {
            problem.details = problem.field.clone().unwrap_or_default();
        }
        if let (Some(listed), Some(first)) = (listed, self.problems.first()) {
            self.message = self.message.replace(&listed, &first.in_words());
        }
        self
    }
}

/// What is wrong with one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeProblem {
    /// The node.
    pub node_id: String,
    /// Its class.
    pub class_type: String,
    /// The input at fault.
    pub field: Option<String>,
    /// ComfyUI's error type (`value_not_in_list` …).
    pub kind: &'static str,
    /// In words.
    pub message: String,
    /// The particulars, as ComfyUI would put them.
    pub details: String,
    /// The output nodes that it breaks, at most [`MAX_DEPENDENT_OUTPUTS`].
    pub dependent_outputs: Vec<String>,
}

/// Most outputs that one problem names: a graph may have thousands, and as many problems.
pub const MAX_DEPENDENT_OUTPUTS: usize = 100;

/// The `error.type` of a prompt some output of which does not validate.
pub(super) const OUTPUTS_FAILED: &str = "prompt_outputs_failed_validation";
/// The `error.type` of a prompt without output nodes.
pub(super) const NO_OUTPUTS: &str = "prompt_no_outputs";
/// The `error.type` of a prompt with an unknown class.
pub(super) const MISSING_CLASS: &str = "missing_node_type";
/// The kind of a problem with a value that the input does not list.
pub(super) const NOT_IN_LIST: &str = "value_not_in_list";
/// Our own kind: each part is offered, but by no one instance.
pub(super) const NO_SINGLE_INSTANCE: &str = "no_single_instance";

impl NodeProblem {
    /// A problem of `node`, its message derived from `kind`.
    pub(super) fn new(node: &Node, field: Option<&str>, kind: &'static str, details: String) -> Self {
        Self {
            node_id: node.id.clone(),
            class_type: node.class_type.clone(),
            field: field.map(str::to_owned),
            kind,
            message: message(kind).to_owned(),
            details,
            dependent_outputs: Vec::new(),
        }
    }

    /// One line for people.
    pub(super) fn in_words(&self) -> String {
        let Self { node_id, class_type, message, details, .. } = self;
        format!("node {node_id} ({class_type}): {message}: {details}")
    }
}

/// ComfyUI's message for a kind of problem, so that clients that match on it find it.
fn message(kind: &str) -> &'static str {
    match kind {
        "required_input_missing" => "Required input is missing",
        "bad_linked_input" => "Bad linked input, must be a length-2 list of [node_id, slot_index]",
        "return_type_mismatch" => "Return type mismatch between linked nodes",
        "invalid_input_type" => "Failed to convert an input value",
        "value_smaller_than_min" => "Value smaller than min",
        "value_bigger_than_max" => "Value bigger than max",
        NOT_IN_LIST => "Value not in list",
        "custom_validation_failed" => "Custom validation failed for node",
        "exception_during_validation" => "Exception when validating node",
        "exception_during_inner_validation" => "Exception when validating inner node",
        MISSING_CLASS => "Node class not found; the custom node may not be installed",
        _ => "Invalid node",
    }
}
