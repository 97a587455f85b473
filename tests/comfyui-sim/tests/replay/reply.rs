//! HTTP replies in a form that two runs can be compared by.

use serde_json::Value;

use super::frame::nameless;

/// Describes a recorded and a replayed reply alike; what the recording cut off is left out of both.
pub fn describe_pair(
    method: &str,
    path: &str,
    answer: &Value,
    recorded_status: u16,
    here: Option<&Value>,
    status: u16,
) -> (String, String) {
    let theirs = answer.get("json");
    let comparable = theirs.is_some() && here.is_some();
    let route = path.split('?').next().unwrap_or(path);
    let describe = |body: Option<&Value>| match body {
        Some(body) if comparable => body_of(method, route, body),
        _ => String::new(),
    };
    let head = format!("{method} {path}");
    (format!("{head} {recorded_status} {}", describe(theirs)), format!("{head} {status} {}", describe(here)))
}

fn body_of(method: &str, route: &str, body: &Value) -> String {
    let route = route.strip_prefix("/api").filter(|rest| !rest.starts_with("/jobs")).unwrap_or(route);
    match route {
        "/prompt" if method == "POST" => submission(body),
        "/queue" => {
            let count = |key: &str| body[key].as_array().map(Vec::len);
            format!("running {:?} pending {:?}", count("queue_running"), count("queue_pending"))
        }
        "/system_stats" | "/models" | "/extensions" | "/object_info" | "/experiment/models"
        | "/global_subgraphs" | "/node_replacements" => String::new(),
        "/api/jobs" if body.get("jobs").is_some() => {
            let jobs = body["jobs"].as_array().into_iter().flatten();
            let statuses: Vec<&Value> = jobs.map(|job| &job["status"]).collect();
            format!("{statuses:?} of {}", body["pagination"]["total"])
        }
        _ if route.starts_with("/history") => history(body),
        _ if route.starts_with("/api/jobs/") && body.get("status").is_some() => job(body),
        _ if route.starts_with("/object_info/") => {
            let classes = body.as_object().unwrap().iter();
            let described: Vec<String> = classes
                .map(|(name, info)| format!("{name} {} {}", info["input_order"], info["output"]))
                .collect();
            described.join("; ")
        }
        _ if route.starts_with("/internal") || route.starts_with("/models/") => String::new(),
        _ => nameless(body),
    }
}

/// Error types, details and the outputs they break, in any order.
fn submission(body: &Value) -> String {
    let mut nodes: Vec<String> = Vec::new();
    for (id, report) in body["node_errors"].as_object().into_iter().flatten() {
        let mut errors: Vec<String> = report["errors"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|error| format!("{} {} {}", error["type"], error["message"], list_free(&error["details"])))
            .collect();
        errors.sort();
        let (outputs, class) = (&report["dependent_outputs"], &report["class_type"]);
        nodes.push(format!("{id} {class} breaks {outputs}: {}", errors.join("; ")));
    }
    nodes.sort();
    let error = &body["error"];
    format!("{} {} {} | {}", error["type"], error["message"], error["details"], nodes.join(" | "))
}

/// Details without the options of a COMBO, which depend on the installation.
fn list_free(details: &Value) -> String {
    let text = details.as_str().unwrap_or("");
    text.split(" not in [").next().unwrap_or(text).to_owned()
}

fn history(body: &Value) -> String {
    let entries = body.as_object().unwrap().values();
    let described: Vec<String> = entries
        .map(|entry| {
            let outputs = by_node(&entry["outputs"]);
            let kinds: Vec<&Value> =
                entry["status"]["messages"].as_array().unwrap().iter().map(|pair| &pair[0]).collect();
            let status = &entry["status"];
            format!("{} {} {kinds:?} {outputs}", status["status_str"], status["completed"])
        })
        .collect();
    described.join("; ")
}

fn job(body: &Value) -> String {
    format!(
        "{} {} {} {} {}",
        body["status"],
        body["outputs_count"],
        body["previewable_outputs_count"],
        nameless(&body["preview_output"]["type"]),
        by_node(&body["outputs"]),
    )
}

/// Outputs in order of node id: which output runs first differs between server starts.
fn by_node(outputs: &Value) -> String {
    let mut nodes: Vec<String> = outputs
        .as_object()
        .into_iter()
        .flatten()
        .map(|(id, output)| format!("{id} {}", nameless(output)))
        .collect();
    nodes.sort();
    nodes.join(" ")
}
