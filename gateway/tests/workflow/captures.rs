//! Every recorded workflow against the recorded catalogue: our verdict is the one the real server gave.

use std::collections::BTreeSet;

use gateway::workflow::{Graph, Limits, judge};
use serde_json::Value;

use crate::support::{RECORDED, fixture, graph, problems, recorded};

/// What the real server answered to one of the `invalid_*` workflows.
struct Recorded {
    name: String,
    prompt: Value,
    status: u64,
    answer: Value,
}

fn recordings() -> Vec<Recorded> {
    let mut name = String::new();
    let mut prompt = Value::Null;
    let mut all = Vec::new();
    for line in fixture("captures/validation_errors.jsonl").lines() {
        let mut line: Value = serde_json::from_str(line).unwrap();
        match line["kind"].as_str().unwrap() {
            "note" => line["note"].as_str().unwrap().clone_into(&mut name),
            "request" => prompt = line["json"]["prompt"].take(),
            "response" if name.starts_with("invalid_") => all.push(Recorded {
                name: name.clone(),
                prompt: prompt.clone(),
                status: line["status"].as_u64().unwrap(),
                answer: line["json"].take(),
            }),
            _ => {}
        }
    }
    all
}

/// Where we judge otherwise, and why.
const DIFFERENT: [(&str, &str); 3] = [
    ("invalid_missing_file", "the engine resolves the name among the tenant's own files"),
    ("invalid_partial_ok", "likewise; what fails there is the file"),
    ("invalid_custom_validation", "the class validates itself, so the instance decides"),
];

type Faults = BTreeSet<(String, String)>;

fn recorded_faults(answer: &Value) -> Faults {
    let fault = |(node, errors): (&String, &Value)| -> Vec<(String, String)> {
        let kinds = errors["errors"].as_array().unwrap().iter();
        kinds.map(|error| (node.clone(), error["type"].as_str().unwrap().to_owned())).collect()
    };
    answer["node_errors"].as_object().unwrap().iter().flat_map(fault).collect()
}

#[test]
fn the_verdict_on_each_invalid_workflow_is_the_recorded_one() {
    let recordings = recordings();
    assert_eq!(recordings.len(), 15, "{:?}", recordings.iter().map(|it| &it.name).collect::<Vec<_>>());
    for Recorded { name, prompt, status, answer } in recordings {
        if DIFFERENT.iter().any(|(different, _)| *different == name) {
            assert!(recorded(&prompt).is_ok(), "{name}");
            continue;
        }
        assert_eq!(status, 400, "{name}");
        let kind = answer["error"]["type"].as_str().unwrap();
        let faults = recorded_faults(&answer);
        match Graph::parse(&prompt.to_string(), &Limits::default()) {
            Ok(graph) => {
                let refused = judge(&graph, std::slice::from_ref(&RECORDED), &[]).unwrap_err();
                assert_eq!(refused.kind, kind, "{name}");
                if kind == "missing_node_type" {
                    // The real server stops there and tells the node in `extra_info` only.
                    assert_eq!(
                        answer["error"]["extra_info"]["node_id"], refused.problems[0].node_id,
                        "{name}"
                    );
                    continue;
                }
                let ours: Faults =
                    problems(&refused).iter().map(|it| (it.1.to_owned(), it.0.to_owned())).collect();
                assert_eq!(ours, faults, "{name}");
                for problem in &refused.problems {
                    let dependent = &answer["node_errors"][&problem.node_id]["dependent_outputs"];
                    assert_eq!(*dependent, Value::from(problem.dependent_outputs.clone()), "{name}");
                }
            }
            Err(malformed) if faults.is_empty() => {
                assert_eq!(malformed.kind(), kind, "{name}");
                assert_eq!(answer["error"]["extra_info"]["node_id"], malformed.node_id().unwrap(), "{name}");
            }
            Err(malformed) => {
                let ours: Faults =
                    malformed.problems().iter().map(|it| (it.node_id.clone(), it.kind.to_owned())).collect();
                assert_eq!(ours, faults, "{name}");
            }
        }
    }
}

#[test]
fn each_recorded_workflow_that_ran_is_accepted() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/comfyui/workflows");
    let mut accepted = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.starts_with("invalid_") {
            continue;
        }
        let workflow: Value = serde_json::from_str(&fixture(&format!("workflows/{name}"))).unwrap();
        let judged = recorded(&workflow).unwrap_or_else(|refused| panic!("{name}: {refused:?}"));
        assert!(!judged.provisional);
        let every = judged.requirement.parts.iter().all(|&part| RECORDED.parts.offers(part));
        assert!(every, "{name}: an instance that accepts a workflow offers all that it requires");
        accepted += 1;
    }
    assert_eq!(accepted, 20);
}

#[test]
fn the_cycle_is_named_as_the_real_server_names_it() {
    let text = fixture("workflows/invalid_cycle.json");
    let malformed = Graph::parse(&text, &Limits::default()).unwrap_err();
    assert_eq!(malformed.problems()[0].details, "1 (ImageInvert) -> 2 (ImageInvert) -> 1 (ImageInvert)");
}

#[test]
fn the_class_is_named_by_the_title_its_author_gave_it() {
    let workflow: Value = serde_json::from_str(&fixture("workflows/invalid_missing_class.json")).unwrap();
    assert_eq!(graph(&workflow).nodes[0].title.as_deref(), Some("My node"));
    let refused = recorded(&workflow).unwrap_err();
    assert!(refused.message.contains("My node"), "{}", refused.message);
    assert_eq!(refused.missing, ["NoSuchNode"]);
}
