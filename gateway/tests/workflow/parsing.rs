//! Reading within bounds.

use gateway::workflow::{Graph, Limits, Malformed, NodeInput};
use serde_json::{Value, json};

use crate::support::graph;

fn parse(text: &str) -> Result<Graph, Malformed> {
    Graph::parse(text, &Limits::default())
}

fn refusal(value: &Value) -> Malformed {
    parse(&value.to_string()).unwrap_err()
}

#[test]
fn nesting_is_refused_before_anything_is_built_from_it() {
    let text = "[".repeat(1 << 20);
    assert!(matches!(parse(&text), Err(Malformed::TooLarge(_))));
    let text = format!(
        r#"{{"1": {{"class_type": "A", "inputs": {{"x": {}1{} }}}}}}"#,
        "[".repeat(62),
        "]".repeat(62)
    );
    assert_eq!(parse(&text).unwrap_err().kind(), "workflow_too_large");
}

#[test]
fn bounds_name_what_is_over_them() {
    let limits = Limits { max_nodes: 2, max_chain: 2, ..Limits::default() };
    let chain =
        json!({"a": {"class_type": "A", "inputs": {}}, "b": {"class_type": "A", "inputs": {"x": ["a", 0]}}});
    assert!(Graph::parse(&chain.to_string(), &limits).is_ok());
    let tight = Limits { max_chain: 1, ..limits.clone() };
    let malformed = Graph::parse(&chain.to_string(), &tight).unwrap_err();
    assert!(malformed.to_string().contains("node b"), "{malformed}");
    let tight = Limits { max_nodes: 1, ..limits.clone() };
    assert_eq!(Graph::parse(&chain.to_string(), &tight).unwrap_err().kind(), "workflow_too_large");
    let tight = Limits { max_bytes: 10, ..limits };
    assert_eq!(Graph::parse(&chain.to_string(), &tight).unwrap_err().kind(), "workflow_too_large");
}

#[test]
fn a_chain_of_the_longest_length_is_read_without_recursion() {
    let limits = Limits { max_nodes: 50_000, max_chain: 50_000, ..Limits::default() };
    let mut nodes = serde_json::Map::new();
    nodes.insert("0".into(), json!({"class_type": "A", "inputs": {}}));
    for at in 1..20_000 {
        nodes.insert(at.to_string(), json!({"class_type": "A", "inputs": {"x": [(at - 1).to_string(), 0]}}));
    }
    let read = Graph::parse(&Value::Object(nodes).to_string(), &limits).unwrap();
    assert_eq!(read.nodes.len(), 20_000);
}

#[test]
fn the_editors_save_format_is_told_apart() {
    assert_eq!(refusal(&json!({"nodes": [], "links": [], "version": 0.4})), Malformed::UiFormat);
    let api = json!({"nodes": {"class_type": "A", "inputs": {}}, "links": {"class_type": "B", "inputs": {}}});
    assert!(parse(&api.to_string()).is_ok(), "node ids may be called so");
}

#[test]
fn every_malformed_node_is_named() {
    for (node, says) in [
        (json!("x"), "not an object"),
        (json!({"class_type": 7, "inputs": {}}), "not a string"),
        (json!({"class_type": "", "inputs": {}}), "1 to"),
        (json!({"class_type": "A", "inputs": null}), "inputs"),
        (json!({"class_type": "A"}), "inputs"),
    ] {
        let malformed = refusal(&json!({"fine": {"class_type": "A", "inputs": {}}, "bad": node}));
        assert_eq!((malformed.kind(), malformed.node_id()), ("invalid_node", Some("bad")));
        assert!(malformed.to_string().contains(says), "{malformed}");
        assert_eq!(malformed.problems()[0].node_id, "bad");
    }
    let malformed = refusal(&json!({"bad": {"inputs": {}}}));
    assert_eq!((malformed.kind(), malformed.node_id()), ("missing_node_type", Some("bad")));
    let malformed = refusal(&json!({"i".repeat(300): {"class_type": "A", "inputs": {}}}));
    assert_eq!(malformed.kind(), "invalid_node");
}

#[test]
fn what_is_no_prompt_is_no_prompt() {
    for text in ["", "{", "7", "[]", "null", "\"x\"", r#"{"a": NaN}"#] {
        assert_eq!(parse(text).unwrap_err().kind(), "invalid_prompt", "{text}");
    }
    assert_eq!(refusal(&json!({})).kind(), "prompt_no_outputs");
}

#[test]
fn of_repeated_keys_the_last_wins() {
    let read =
        parse(r#"{"1": {"class_type": "A", "inputs": {}}, "1": {"class_type": "B", "inputs": {}}}"#).unwrap();
    assert_eq!(read.nodes.len(), 1);
    assert_eq!(read.nodes[0].class_type, "B");
}

#[test]
fn only_a_list_of_an_id_and_a_slot_is_a_link() {
    let read = graph(&json!({"1": {"class_type": "A", "inputs": {
        "link": ["2", 1], "number": [2, 0], "negative": ["2", -1], "three": ["2", 0, 0], "text": ["a", "b"]}}}));
    let link = NodeInput::Link { from: "2".into(), slot: 1 };
    let links: Vec<_> = read.nodes[0].inputs.iter().filter(|(_, input)| *input == link).collect();
    assert_eq!(links.len(), 1);
    let literals = read.nodes[0].inputs.iter().filter(|(_, input)| matches!(input, NodeInput::Literal(_)));
    assert_eq!(literals.count(), 4);
}

#[test]
fn a_cycle_names_its_nodes_and_no_others() {
    let node = |from: &str| json!({"class_type": "A", "inputs": {"x": [from, 0]}});
    let ring = json!({"behind": node("p"), "p": node("q"), "q": node("r"), "r": node("p"),
        "before": {"class_type": "A", "inputs": {}}});
    let Malformed::Cycle { nodes, .. } = refusal(&ring) else { panic!("no cycle") };
    let mut ids: Vec<&str> = nodes.iter().map(|(id, _)| id.as_str()).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["p", "q", "r"]);
    assert_eq!(refusal(&json!({"me": node("me")})).node_id(), Some("me"));
    let long: serde_json::Map<_, _> =
        (0..500).map(|at| (at.to_string(), node(&((at + 1) % 500).to_string()))).collect();
    let Malformed::Cycle { nodes, path } = refusal(&long.into()) else { panic!("no cycle") };
    assert_eq!(nodes.len(), 32, "{path}");
}
