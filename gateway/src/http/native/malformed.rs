//! Graphs that cannot be read, refused in ComfyUI's words as far as they tell what was meant (PROTOCOL §2).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::super::error::ApiError;
use super::node_errors::{no_outputs, outputs_failed, refusal, refuse, render};
use crate::workflow::{self, Catalogue, MAX_DEPENDENT_OUTPUTS, Malformed, NodeProblem};

/// What ComfyUI would say of a graph (JSON text) that is not to be read.
pub(super) fn refused(malformed: &Malformed, text: &str, fleet: &[Arc<Catalogue>]) -> ApiError {
    match malformed {
        Malformed::Empty => no_outputs(),
        Malformed::NoClass { node, title } => no_class(node, title.as_deref()),
        Malformed::Cycle { nodes, .. } => {
            let mut problems = malformed.problems();
            // Each of a ring feeds all of it, so all of them break the same.
            let of_all =
                nodes.first().map(|(id, _)| Raw::read(text).broken_by(id, fleet)).unwrap_or_default();
            for problem in &mut problems {
                problem.dependent_outputs.clone_from(&of_all);
            }
            let mut errors = render(&problems, None);
            let ids: Vec<&String> = nodes.iter().map(|(id, _)| id).collect();
            for id in &ids {
                errors[id.as_str()]["errors"][0]["extra_info"] = json!({"node_id": id, "cycle_nodes": ids});
            }
            outputs_failed(&problems, errors)
        }
        Malformed::Structure { node: Some(node), .. } => {
            let raw = Raw::read(text);
            raw.without_inputs(node, fleet).unwrap_or_else(|| refuse(malformed.kind(), malformed.to_string()))
        }
        other => refuse(other.kind(), other.to_string()),
    }
}

fn no_class(node: &str, title: Option<&str>) -> ApiError {
    let name = title.map_or_else(|| format!("ID #{node}"), str::to_owned);
    refusal(
        "missing_node_type",
        &format!("Node '{name}' has no class_type"),
        &format!("Node ID '#{node}'"),
        json!({"node_id": node, "class_type": null, "node_title": title}),
        json!({}),
    )
}

/// The nodes as they were given; none where it is no graph at all. Their number and size were judged before.
struct Raw(Map<String, Value>);

impl Raw {
    fn read(text: &str) -> Self {
        Self(serde_json::from_str(text).unwrap_or_default())
    }

    /// A node of a class that the fleet has, but without inputs.
    fn without_inputs(&self, node: &str, fleet: &[Arc<Catalogue>]) -> Option<ApiError> {
        let given = self.0.get(node)?;
        let class = given.get("class_type")?.as_str()?;
        if given.get("inputs").is_some_and(Value::is_object) || !workflow::is_known(class, fleet) {
            return None;
        }
        let problem = NodeProblem {
            node_id: node.to_owned(),
            class_type: class.to_owned(),
            field: None,
            kind: "exception_during_validation",
            message: "Exception when validating node".to_owned(),
            details: "'inputs'".to_owned(),
            dependent_outputs: self.broken_by(node, fleet),
        };
        let mut errors = render(std::slice::from_ref(&problem), None);
        errors[node]["errors"][0]["extra_info"] = json!({"exception_type": "KeyError", "traceback": []});
        Some(outputs_failed(&[problem], errors))
    }

    /// The outputs that depend on a node, itself among them where it is one, in the order of the graph: the first of them.
    fn broken_by(&self, node: &str, fleet: &[Arc<Catalogue>]) -> Vec<String> {
        let mut fed: HashMap<&str, Vec<&str>> = HashMap::new();
        for (id, given) in &self.0 {
            let inputs = given.get("inputs").and_then(Value::as_object).into_iter().flat_map(Map::values);
            for from in inputs.filter_map(|value| value.get(0)?.as_str()) {
                fed.entry(from).or_default().push(id);
            }
        }
        let mut reached = HashSet::from([node]);
        let mut next = vec![node];
        while let Some(at) = next.pop() {
            let more = fed.get(at).into_iter().flatten();
            next.extend(more.filter(|id| reached.insert(id)));
        }
        let class = |given: &Value| given.get("class_type").and_then(Value::as_str).map(str::to_owned);
        let ends = self.0.iter().filter(|(id, _)| reached.contains(id.as_str()));
        let ends =
            ends.filter(|(_, given)| class(given).is_some_and(|class| workflow::is_output(&class, fleet)));
        ends.map(|(id, _)| id.clone()).take(MAX_DEPENDENT_OUTPUTS).collect()
    }
}
