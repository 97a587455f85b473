//! Checking a graph before it is queued, in the error shapes of `POST /prompt` (PROTOCOL §2).

mod input;
mod order;

use serde_json::{Map, Value, json};

use crate::catalogue::{Classes, Folders, InputGroup};
use crate::files::Files;
use crate::graph;

/// Chains longer than this exhaust the Python stack.
const DEPTH_MAX: usize = 990;

/// A graph that may be queued.
pub(crate) struct Accepted {
    pub outputs: Vec<String>,
    /// Errors of outputs that were dropped.
    pub node_errors: Value,
}

/// Why a graph is not queued.
pub(crate) enum Refused {
    /// 400 with this body.
    Invalid(Value),
    /// 500: the Python code would have raised.
    Crash,
}

/// `{"error":{...},"node_errors":{...}}`.
pub(crate) fn refusal(kind: &str, message: &str, details: &str, extra: Value, node_errors: Value) -> Value {
    json!({
        "error": {"type": kind, "message": message, "details": details, "extra_info": extra},
        "node_errors": node_errors,
    })
}

fn refuse(kind: &str, message: &str, details: &str, extra: Value) -> Refused {
    Refused::Invalid(refusal(kind, message, details, extra, json!({})))
}

/// Checks a graph, converting literals in place as the server does.
pub(crate) fn validate(
    graph: &mut Map<String, Value>,
    targets: Option<&[Value]>,
    classes: &Classes,
    folders: &Folders,
    files: &Files,
) -> Result<Accepted, Refused> {
    let outputs = find_outputs(graph, targets, classes)?;
    if outputs.is_empty() {
        return Err(refuse("prompt_no_outputs", "Prompt has no outputs", "", json!({})));
    }
    let mut check =
        Check { classes, folders, files, reports: Map::new(), known: std::collections::HashMap::new() };
    let (mut good, mut details) = (Vec::new(), Vec::new());
    for output in &outputs {
        let before = check.own_error(output).is_some();
        if check.output(graph, output)? {
            good.push(output.clone());
        } else if let Some(detail) = check.own_error(output).filter(|_| !before) {
            details.push(detail);
        }
    }
    let node_errors = Value::Object(check.reports);
    if good.is_empty() {
        return Err(Refused::Invalid(refusal(
            "prompt_outputs_failed_validation",
            "Prompt outputs failed validation",
            &details.join("\n"),
            json!({}),
            node_errors,
        )));
    }
    Ok(Accepted { outputs: good, node_errors })
}

/// Output nodes of the graph; fails on nodes without a known class.
fn find_outputs(
    graph: &Map<String, Value>,
    targets: Option<&[Value]>,
    classes: &Classes,
) -> Result<Vec<String>, Refused> {
    let mut outputs = Vec::new();
    for (id, node) in graph {
        let Some(fields) = node.as_object() else { return Err(Refused::Crash) };
        if fields.get("inputs").is_some_and(Value::is_null) {
            return Err(Refused::Crash);
        }
        let title = node["_meta"]["title"].as_str();
        let shown = title.map_or_else(|| format!("ID #{id}"), str::to_owned);
        let class = fields.get("class_type").and_then(Value::as_str);
        let extra = json!({"node_id": id, "class_type": class, "node_title": title});
        let details = format!("Node ID '#{id}'");
        let Some(class) = class else {
            let message = format!(
                "Node '{shown}' has no class_type. The workflow may be corrupted or a custom node is missing."
            );
            return Err(refuse("missing_node_type", &message, &details, extra));
        };
        if classes.get(class).is_none() {
            let message = format!("Node '{shown}' not found. The custom node may not be installed.");
            return Err(refuse("missing_node_type", &message, &details, extra));
        }
        let targeted = targets.is_none_or(|targets| targets.iter().any(|target| target == id));
        if classes.is_output(class) && targeted {
            outputs.push(id.clone());
        }
    }
    Ok(outputs)
}

/// One finding about a node.
fn finding(kind: &str, message: &str, details: &str, extra: Value) -> Value {
    json!({"type": kind, "message": message, "details": details, "extra_info": extra})
}

/// What Python's exceptions become.
fn exception(kind: &str, details: &str) -> Value {
    finding(
        "exception_during_validation",
        "Exception when validating node",
        details,
        json!({
            "exception_type": kind,
            "traceback": ["  File \"/opt/comfyui/execution.py\", line 1184, in validate_prompt\n    <source line>\n"],
        }),
    )
}

struct Check<'a> {
    classes: &'a Classes,
    folders: &'a Folders,
    files: &'a Files,
    /// `node_errors` so far.
    reports: Map<String, Value>,
    /// Nodes already checked: whether they and all before them are fine.
    known: std::collections::HashMap<String, bool>,
}

impl Check<'_> {
    /// The first error of an output itself, as the summary words it; errors further up leave it empty.
    fn own_error(&self, output: &str) -> Option<String> {
        let error = self.reports.get(output)?["errors"].get(0)?;
        let details = error["details"].as_str().unwrap_or("");
        Some(format!("{}: {details}", error["message"].as_str().unwrap_or("")))
    }

    /// Checks an output and all before it.
    fn output(&mut self, graph: &mut Map<String, Value>, output: &str) -> Result<bool, Refused> {
        let order = order::ancestors(graph, output);
        if let Some(cycle) = order.cycle {
            self.report_cycle(graph, output, &cycle);
            return Ok(false);
        }
        if order.depth > DEPTH_MAX {
            let details = "maximum recursion depth exceeded";
            let mut error = exception("RecursionError", details);
            error["type"] = json!("exception_during_inner_validation");
            error["message"] = json!("Exception when validating inner node");
            self.report(graph, output, output, vec![error]);
            return Ok(false);
        }
        let mut fine = true;
        for node in order.nodes {
            fine &= self.node(graph, &node, output);
        }
        Ok(fine)
    }

    fn node(&mut self, graph: &mut Map<String, Value>, node: &str, output: &str) -> bool {
        if let Some(&fine) = self.known.get(node) {
            if !fine {
                self.report(graph, node, output, Vec::new());
            }
            return fine;
        }
        let errors = self.errors(graph, node);
        let fine = errors.is_empty();
        if !fine {
            self.report(graph, node, output, errors);
        }
        self.known.insert(node.to_owned(), fine);
        fine
    }

    /// Everything wrong with one node's own inputs.
    fn errors(&self, graph: &mut Map<String, Value>, id: &str) -> Vec<Value> {
        let class = graph[id]["class_type"].as_str().unwrap_or("").to_owned();
        if graph[id].get("inputs").is_none() {
            return vec![exception("KeyError", "'inputs'")];
        }
        let mut errors = Vec::new();
        for (name, group, definition) in self.classes.inputs(&class, self.folders) {
            let Some(value) = graph[id]["inputs"].get(name).cloned() else {
                if group == InputGroup::Required && !is_autogrow(&definition) {
                    let extra = json!({"input_name": name});
                    errors.push(finding("required_input_missing", "Required input is missing", name, extra));
                }
                continue;
            };
            let checked = if value.is_array() {
                self.link(graph, name, &definition, &value).map(|()| value)
            } else {
                input::literal(&class, name, &definition, value)
            };
            match checked {
                Ok(value) => graph[id]["inputs"][name] = value,
                Err(error) => errors.push(error),
            }
        }
        errors.extend(input::custom(&class, &graph[id]["inputs"], self.files));
        errors
    }

    fn link(
        &self,
        graph: &Map<String, Value>,
        name: &str,
        definition: &Value,
        value: &Value,
    ) -> Result<(), Value> {
        let extra = json!({"input_name": name, "input_config": definition, "received_value": value});
        if value.as_array().is_none_or(|pair| pair.len() != 2) {
            let message = "Bad linked input, must be a length-2 list of [node_id, slot_index]";
            return Err(finding("bad_linked_input", message, name, extra));
        }
        let Some((from, slot)) = graph::link(value) else {
            return Err(exception("TypeError", "list indices must be integers or slices, not str"));
        };
        let Some(source) = graph.get(from) else {
            return Err(exception("KeyError", &format!("'{from}'")));
        };
        let class = source["class_type"].as_str().unwrap_or("");
        let slot = usize::try_from(slot).unwrap_or(usize::MAX);
        let Some(received) = self.classes.get(class).and_then(|info| info["output"].get(slot)) else {
            return Err(exception("IndexError", "tuple index out of range"));
        };
        if input::accepts(&definition[0], received) {
            return Ok(());
        }
        let (received, expected) = (input::type_name(received), input::type_name(&definition[0]));
        let details = format!("{name}, received_type({received}) mismatch input_type({expected})");
        let extra = json!({
            "input_name": name, "input_config": definition, "received_type": received, "linked_node": value,
        });
        Err(finding("return_type_mismatch", "Return type mismatch between linked nodes", &details, extra))
    }

    fn report_cycle(&mut self, graph: &Map<String, Value>, output: &str, cycle: &[String]) {
        let shown: Vec<String> = cycle
            .iter()
            .chain(cycle.first())
            .map(|id| format!("{id} ({})", graph[id]["class_type"].as_str().unwrap_or("")))
            .collect();
        let details = shown.join(" -> ");
        for id in cycle {
            let extra = json!({"node_id": id, "cycle_nodes": cycle});
            let error = finding("dependency_cycle", "Dependency cycle detected", &details, extra);
            self.report(graph, id, output, vec![error]);
        }
    }

    fn report(&mut self, graph: &Map<String, Value>, node: &str, output: &str, errors: Vec<Value>) {
        let class = graph[node]["class_type"].clone();
        let report = self
            .reports
            .entry(node.to_owned())
            .or_insert_with(|| json!({"errors": errors, "dependent_outputs": [], "class_type": class}));
        if let Some(outputs) = report["dependent_outputs"].as_array_mut()
            && !outputs.iter().any(|known| known == output)
        {
            outputs.push(json!(output));
        }
    }
}

/// Inputs that may have any number of members, none included.
fn is_autogrow(definition: &Value) -> bool {
    definition[0].as_str().is_some_and(|kind| kind.starts_with("COMFY_AUTOGROW"))
}
