//! Can the fleet run it, where, and at what cost?

use std::sync::Arc;

use super::{Catalogue, Graph};
use crate::store::Reference;

/// A workflow that somebody in the fleet can run, or that must wait for a catalogue.
#[derive(Debug, Clone)]
pub struct Judged {
    /// What an instance must offer.
    pub requirement: Arc<scheduler::Requirement>,
    /// What it costs.
    pub shape: scheduler::Shape,
    /// No catalogue was known: judge again when one is.
    pub provisional: bool,
    /// Bytes of the tenant that it names.
    pub references: Vec<Reference>,
}

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
}

/// Judges a workflow against the fleet's catalogues.
///
/// # Errors
/// [`Refused`] only when some catalogue is known and none would take it.
pub fn judge(
    _graph: &Graph,
    _fleet: &[Arc<Catalogue>],
    _shared_inputs: &[String],
) -> Result<Judged, Refused> {
    Err(Refused { kind: "", message: String::new(), missing: vec![], problems: vec![] })
}
