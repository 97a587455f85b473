//! Can the fleet run it, where, and at what cost?

use std::sync::Arc;

use super::problems::{self, Refused};
use super::references::{self, Found};
use super::trial::{self, Trial};
use super::{Catalogue, Graph, hostile, refusal};
use crate::store::Reference;

/// A workflow that somebody in the fleet can run, or that must wait for a catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// What an instance must offer.
    pub requirement: Arc<scheduler::Requirement>,
    /// What it costs.
    pub shape: scheduler::Shape,
    /// The same for exact repeats; `None` where it names bytes, which lie elsewhere for each attempt.
    pub graph: Option<scheduler::GraphId>,
    /// No catalogue was known: judge again when one is.
    pub provisional: bool,
    /// Bytes of the tenant that it names.
    pub references: Vec<Reference>,
    /// Tagged references (`core/ASSET`) that can name no asset: their ids, or their places where they have none.
    /// Never resolvable, so the faces answer `missing_asset` with these ids.
    pub malformed_references: Vec<String>,
}

/// Judges a workflow against the fleet's catalogues. The first catalogue that accepts it decides what it needs.
///
/// # Errors
/// [`Refused`] when some catalogue is known and none would take it in full. Paths out of the tenant's own files are
/// refused even while no catalogue is known (DESIGN §9).
pub fn judge(graph: &Graph, fleet: &[Arc<Catalogue>], shared_inputs: &[String]) -> Result<Judged, Refused> {
    let fleet = distinct(fleet);
    let hostile = hostile::problems(graph, &fleet);
    if !hostile.is_empty() {
        return Err(trial::refuse(problems::OUTPUTS_FAILED, hostile));
    }
    if fleet.is_empty() {
        return provisional(graph, shared_inputs);
    }
    let mut refusals = Vec::with_capacity(fleet.len());
    for catalogue in &fleet {
        match Trial::open(graph, catalogue).and_then(|trial| trial.conclude(shared_inputs)) {
            Ok(judged) => return Ok(judged),
            Err(refused) => refusals.push(refused),
        }
    }
    Err(refusal::explain(graph, &fleet, refusals))
}

/// Each kind of catalogue once.
fn distinct(fleet: &[Arc<Catalogue>]) -> Vec<&Catalogue> {
    let mut distinct: Vec<&Catalogue> = Vec::new();
    for catalogue in fleet {
        if !distinct.iter().any(|known| known.hash == catalogue.hash) {
            distinct.push(catalogue);
        }
    }
    distinct
}

/// Without a catalogue: nodes of unknown worth, every one of them needed.
fn provisional(graph: &Graph, shared: &[String]) -> Result<Judged, Refused> {
    let mut found = Found::default();
    references::assets(graph, &mut found);
    for (at, node) in graph.nodes.iter().enumerate() {
        references::files(at, node, None, shared, &mut found);
    }
    if !found.problems.is_empty() {
        let problems = found.problems.into_iter().map(|(_, problem)| problem).collect();
        return Err(trial::refuse(problems::OUTPUTS_FAILED, problems));
    }
    Ok(trial::judged_blindly(graph, found))
}
