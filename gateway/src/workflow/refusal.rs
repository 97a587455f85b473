//! Why nobody in the fleet takes a workflow, in words a person can act on.

use std::collections::HashSet;

use scheduler::Part;

use super::catalogue::{Catalogue, Kind};
use super::graph::{Graph, NodeInput};
use super::problems::{MISSING_CLASS, NO_SINGLE_INSTANCE, NOT_IN_LIST, Refused};
use super::{models, outputs, parts, python, references, trial};

/// Most contested needs that are searched for a conflicting pair.
const MAX_CONTESTED: usize = 64;
/// Digits of a catalogue's hash that name it.
const SHORT_HASH: usize = 8;

/// One thing that the graph asks of an instance.
struct Need {
    /// For people.
    words: String,
    /// Its name among what the fleet lacks: a class or a model file.
    name: Option<String>,
    /// Which catalogues offer it.
    offered: Vec<bool>,
}

/// Makes one refusal of those of all catalogues (`refusals` in the order of `fleet`): the closest one, or the
/// conflict where each need is met somewhere but all of them nowhere.
pub(super) fn explain(graph: &Graph, fleet: &[&Catalogue], refusals: Vec<Refused>) -> Refused {
    let needs = needs(graph, fleet);
    let lacks = |catalogue: usize| needs.iter().filter(|need| !need.offered[catalogue]).count();
    let closest = refusals
        .into_iter()
        .enumerate()
        .min_by_key(|(catalogue, refused)| (lacks(*catalogue), refused.problems.len()));
    let Some((closest_at, closest)) = closest else {
        return trial::refuse(MISSING_CLASS, Vec::new());
    };
    let nowhere = needs.iter().filter(|need| need.offered.iter().all(|offered| !offered));
    let mut missing: Vec<String> = nowhere.clone().filter_map(|need| need.name.clone()).collect();
    missing.sort_unstable();
    missing.dedup();
    let only_lacks =
        closest.problems.iter().all(|problem| [MISSING_CLASS, NOT_IN_LIST].contains(&problem.kind));
    if nowhere.count() == 0 && lacks(closest_at) > 0 && only_lacks {
        let message = conflict(&needs, fleet);
        return Refused { kind: NO_SINGLE_INSTANCE, message, missing, ..closest };
    }
    Refused { missing, ..closest }
}

/// Every class of the graph, and every choice of what its outputs depend on, as far as any catalogue knows them.
fn needs(graph: &Graph, fleet: &[&Catalogue]) -> Vec<Need> {
    let offered = |part: Part| fleet.iter().map(|catalogue| catalogue.parts.offers(part)).collect();
    let mut needs: Vec<Need> = Vec::new();
    let mut known = HashSet::new();
    let mut add = |part: Part, words: String, name: Option<String>| {
        if known.insert(part) {
            needs.push(Need { words, name, offered: offered(part) });
        }
    };
    for node in &graph.nodes {
        let name = node.class_type.clone();
        add(parts::class(&name), format!("class {name}"), Some(name));
    }
    let needed = needed(graph, fleet);
    for (node, _) in graph.nodes.iter().zip(&needed).filter(|(_, needed)| **needed) {
        for (input, given) in &node.inputs {
            let NodeInput::Literal(literal) = given else { continue };
            let value = python::unwrapped(literal);
            let Some(part) = parts::value(&node.class_type, input, value) else { continue };
            if is_choice(fleet, &node.class_type, input) && !references::names_a_file(value) {
                let file = value.as_str().filter(|text| models::is_model_file(text));
                add(part, parts::choice(&node.class_type, input, value), file.map(str::to_owned));
            }
        }
    }
    needs
}

/// What the outputs depend on; a node is an output if any catalogue says so.
fn needed(graph: &Graph, fleet: &[&Catalogue]) -> Vec<bool> {
    let is_output = |class: &str| fleet.iter().filter_map(|it| it.class(class)).any(|it| it.output_node);
    let ends: Vec<usize> =
        (0..graph.nodes.len()).filter(|&at| is_output(&graph.nodes[at].class_type)).collect();
    outputs::executed(graph, &ends)
}

/// Whether any catalogue has a closed list of choices there.
fn is_choice(fleet: &[&Catalogue], class: &str, input: &str) -> bool {
    let declared = fleet.iter().filter_map(|it| it.class(class)).filter_map(|it| it.input(input));
    declared
        .filter(|input| !input.upload)
        .any(|input| matches!(&input.kind, Kind::Combo(choices) if !choices.open))
}

/// Names two needs that no one instance meets, and who meets which; if it takes more than two to conflict, all that
/// are not met everywhere.
fn conflict(needs: &[Need], fleet: &[&Catalogue]) -> String {
    let contested: Vec<&Need> =
        needs.iter().filter(|need| need.offered.iter().any(|offered| !offered)).take(MAX_CONTESTED).collect();
    let apart = |a: &Need, b: &Need| !a.offered.iter().zip(&b.offered).any(|(a, b)| *a && *b);
    let pair = contested
        .iter()
        .enumerate()
        .find_map(|(at, a)| contested[at + 1..].iter().find(|b| apart(a, b)).map(|b| [*a, *b]));
    let named = |need: &Need| format!("{} (offered by {})", need.words, sides(need, fleet));
    let list = |needs: &[&Need]| needs.iter().map(|need| named(need)).collect::<Vec<_>>().join(" and ");
    let asked = pair.as_ref().map_or_else(|| list(&contested), |pair| list(pair));
    format!("no one instance offers all that the workflow needs: {asked}")
}

fn sides(need: &Need, fleet: &[&Catalogue]) -> String {
    let offering = fleet.iter().zip(&need.offered).filter(|(_, offered)| **offered);
    let names: Vec<String> = offering
        .map(|(catalogue, _)| format!("catalogue {}", catalogue.hash.get(..SHORT_HASH).unwrap_or_default()))
        .collect();
    names.join(", ")
}
