//! Refusals in ComfyUI's own words and shapes (PROTOCOL §2).

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::super::error::{ApiError, ErrorKind};
use super::nodes::Union;
use crate::store::{Named, Reference};
use crate::workflow::{self, Graph, Judged, NodeProblem, Refused};

const OUTPUTS_FAILED: &str = "prompt_outputs_failed_validation";
const OUTPUTS_FAILED_WORDS: &str = "Prompt outputs failed validation";

/// What is known beside a refusal: the fleet's node classes, and the graph as given.
pub(super) struct Words<'a> {
    pub(super) nodes: Option<Arc<Union>>,
    pub(super) text: &'a str,
}

/// A graph that is not fit to run as it is.
pub(super) enum Unfit {
    /// Some outputs are sound: they run, and the others are told of.
    InPart(Box<Judged>, Value),
    /// None is.
    Whole(ApiError),
}

/// `{"error": {type, message, details, extra_info}, "node_errors"}` with 400.
pub(super) fn refusal(kind: &str, message: &str, details: &str, extra: Value, nodes: Value) -> ApiError {
    let body = json!({
        "error": {"type": kind, "message": message, "details": details, "extra_info": extra},
        "node_errors": nodes,
    });
    ApiError::new(ErrorKind::Invalid, "invalid_workflow", message.to_owned()).body(body)
}

/// A refusal without particulars.
pub(super) fn refuse(kind: &str, message: impl AsRef<str>) -> ApiError {
    refusal(kind, message.as_ref(), "", json!({}), json!({}))
}

pub(super) fn no_prompt() -> ApiError {
    refusal("no_prompt", "No prompt provided", "No prompt provided", json!({}), json!({}))
}

pub(super) fn no_outputs() -> ApiError {
    refuse("prompt_no_outputs", "Prompt has no outputs")
}

/// All outputs failed.
pub(super) fn outputs_failed(problems: &[NodeProblem], node_errors: Value) -> ApiError {
    // Of the outputs' own faults, not of those behind them.
    let own = problems.iter().filter(|problem| problem.dependent_outputs.contains(&problem.node_id));
    let lines: Vec<String> = own.map(|problem| format!("{}: {}", problem.message, problem.details)).collect();
    refusal(OUTPUTS_FAILED, OUTPUTS_FAILED_WORDS, &lines.join("\n"), json!({}), node_errors)
}

/// What ComfyUI would say to a graph that some catalogue refused.
pub(super) fn of_refused(refused: Refused, words: &Words<'_>) -> Unfit {
    let Refused { kind, message, problems, in_part, .. } = refused;
    if let Some(judged) = in_part {
        return Unfit::InPart(judged, render(&problems, Some(words)));
    }
    Unfit::Whole(match kind {
        "prompt_no_outputs" => no_outputs(),
        "missing_node_type" => missing_class(&problems, words),
        OUTPUTS_FAILED => outputs_failed(&problems, render(&problems, Some(words))),
        other => refusal(other, &message, "", json!({}), render(&problems, Some(words))),
    })
}

fn missing_class(problems: &[NodeProblem], words: &Words<'_>) -> ApiError {
    let Some(problem) = problems.first() else { return refuse("missing_node_type", "Node not found") };
    let graph: Value = serde_json::from_str(words.text).unwrap_or_default();
    let title = graph[&problem.node_id]["_meta"]["title"].as_str();
    let name = title.unwrap_or(&problem.class_type);
    refusal(
        "missing_node_type",
        &format!("Node '{name}' not found. The custom node may not be installed."),
        &format!("Node ID '#{}'", problem.node_id),
        json!({
            "node_id": problem.node_id,
            "class_type": problem.class_type,
            "node_title": title.unwrap_or(&problem.class_type),
        }),
        json!({}),
    )
}

/// The file names of a graph that lead nowhere.
pub(super) fn of_missing(graph: &Graph, missing: &[Reference], outputs: &[String]) -> Vec<NodeProblem> {
    let at_fault: Vec<String> = missing.iter().filter_map(|it| node_of(&it.pointer)).collect();
    let sound = workflow::sound_without(graph, outputs, &at_fault);
    missing
        .iter()
        .filter_map(|reference| {
            let node_id = node_of(&reference.pointer)?;
            let node = graph.nodes.iter().find(|node| node.id == node_id)?;
            let input = unescaped(reference.pointer.split('/').nth(3)?);
            let name = match &reference.names {
                Named::Upload(name) => name.clone(),
                Named::Output(name) => format!("{name} [output]"),
                Named::Asset(id) => id.to_string(),
                Named::Again(input) => input.name.clone(),
            };
            Some(NodeProblem {
                dependent_outputs: sound.broken_by.get(&node_id).cloned().unwrap_or_default(),
                class_type: node.class_type.clone(),
                kind: "custom_validation_failed",
                message: "Custom validation failed for node".to_owned(),
                details: format!("{input} - Invalid image file: {name}"),
                field: Some(input),
                node_id,
            })
        })
        .collect()
}

/// The node that a pointer into the graph leads into.
pub(super) fn node_of(pointer: &str) -> Option<String> {
    pointer.split('/').nth(1).map(unescaped)
}

fn unescaped(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}

/// `node_errors`.
pub(super) fn render(problems: &[NodeProblem], words: Option<&Words<'_>>) -> Value {
    let graph: Value =
        words.map(|words| serde_json::from_str(words.text).unwrap_or_default()).unwrap_or_default();
    let mut nodes = Map::new();
    for problem in problems {
        let node = nodes.entry(&problem.node_id).or_insert_with(
            || json!({"errors": [], "dependent_outputs": problem.dependent_outputs, "class_type": problem.class_type}),
        );
        if let Some(Value::Array(errors)) = node.get_mut("errors") {
            let config = words
                .and_then(|words| words.nodes.as_ref())
                .and_then(|nodes| nodes.input(&problem.class_type, problem.field.as_deref()?));
            errors.push(error(problem, &graph, config));
        }
    }
    Value::Object(nodes)
}

fn error(problem: &NodeProblem, graph: &Value, config: Option<Value>) -> Value {
    let received = problem.field.as_ref().map(|field| &graph[&problem.node_id]["inputs"][field]);
    let mut extra = problem.field.as_ref().map_or(json!({}), |field| json!({"input_name": field}));
    if !matches!(problem.kind, "required_input_missing" | "custom_validation_failed") {
        if let Some(config) = &config {
            extra["input_config"] = config.clone();
        }
        if let Some(received) = received.filter(|received| !received.is_null()) {
            extra["received_value"] = received.clone();
        }
    }
    let bound = |name: &str| config.as_ref().and_then(|config| config.get(1)?.get(name).cloned());
    let (message, details) = match (problem.kind, &problem.field, received) {
        ("value_bigger_than_max", Some(field), Some(value)) => {
            (format!("Value {value} bigger than max of {}", bound("max").unwrap_or_default()), field.clone())
        }
        ("value_smaller_than_min", Some(field), Some(value)) => {
            (format!("Value {value} smaller than min of {}", bound("min").unwrap_or_default()), field.clone())
        }
        _ => (problem.message.clone(), problem.details.clone()),
    };
    json!({"type": problem.kind, "message": message, "details": details, "extra_info": extra})
}
