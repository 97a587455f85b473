#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::super::{Definition, Template};
use super::Filled;

fn definition(parameters: Value) -> Definition {
    let workflow = json!({
        "3": {"class_type": "KSampler", "inputs": {"seed": 1, "steps": 20, "cfg": 8.0, "model": ["4", 0]}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 512}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "own", "on": false, "image": "x.png"}},
    });
    serde_json::from_value(json!({"workflow": workflow, "parameters": parameters})).unwrap()
}

fn all() -> Value {
    json!([
        {"name": "prompt", "type": "text", "targets": ["/6/inputs/text"], "max_length": 5, "required": true},
        {"name": "steps", "type": "int", "targets": ["/3/inputs/steps"], "default": 20, "min": 10, "max": 30, "step": 5},
        {"name": "cfg", "type": "float", "targets": ["/3/inputs/cfg"], "min": 1, "max": 9.5, "step": 0.1},
        {"name": "seed", "type": "seed", "targets": ["/3/inputs/seed"]},
        {"name": "on", "type": "bool", "targets": ["/6/inputs/on"]},
        {"name": "photo", "type": "image", "targets": ["/6/inputs/image"]},
        {"name": "size", "type": "size", "targets": ["/5/inputs"], "sizes": [[512, 768], [64, 64]], "default": [64, 64]},
    ])
}

fn template() -> Template {
    Template::check(definition(all())).unwrap()
}

fn fill(values: Value) -> Result<(Value, Filled), Vec<super::Wrong>> {
    let Value::Object(values) = values else { panic!("an object") };
    let filled = template().fill(&values, || 7)?;
    Ok((serde_json::from_str(&filled.workflow).unwrap(), filled))
}

#[test]
fn values_go_where_they_belong_and_defaults_where_none_is_given() {
    let id = "019b7c5e-2b4e-7000-8000-000000000001";
    let (graph, filled) =
        fill(json!({"prompt": "猫", "cfg": 7.3, "photo": id, "on": true, "size": [512, 768]})).unwrap();
    assert_eq!(graph.pointer("/6/inputs/text").unwrap(), "猫");
    assert_eq!(graph.pointer("/3/inputs/steps").unwrap(), 20);
    assert_eq!(graph.pointer("/3/inputs/cfg").unwrap(), 7.3);
    assert_eq!(graph.pointer("/3/inputs/seed").unwrap(), 7, "drawn");
    assert_eq!(filled.seeds["seed"], 7);
    assert_eq!(graph.pointer("/6/inputs/image/info/id").unwrap(), id);
    assert_eq!(
        (graph.pointer("/5/inputs/width").unwrap(), graph.pointer("/5/inputs/height").unwrap()),
        (&json!(512), &json!(768))
    );
    let (graph, _) = fill(json!({"prompt": "x", "seed": u64::MAX})).unwrap();
    assert_eq!(graph.pointer("/3/inputs/cfg").unwrap(), 8.0, "the graph's own value stays");
    assert_eq!(graph.pointer("/5/inputs/width").unwrap(), 64);
    assert_eq!(graph.pointer("/3/inputs/seed").unwrap(), u64::MAX);
}

#[test]
fn every_wrong_value_is_named_with_what_was_given_and_what_is_allowed() {
    let wrong =
        fill(json!({"prompt": "longer", "steps": 12, "cfg": "8", "seed": -1, "on": 1, "photo": "x.png",
        "size": [64, 512], "colour": "red"}))
        .unwrap_err();
    let told: Vec<_> = wrong.iter().map(|wrong| (wrong.parameter.as_str(), wrong.reason)).collect();
    assert_eq!(
        told,
        [
            ("colour", "there is no such parameter"),
            ("prompt", "too long"),
            ("steps", "not a step"),
            ("cfg", "not a number"),
            ("seed", "not a whole number of 0 or more"),
            ("on", "not true or false"),
            ("photo", "not an asset's id"),
            ("size", "not one of the sizes"),
        ]
    );
    assert_eq!(wrong[2].given.as_deref(), Some("12"));
    assert_eq!(wrong[2].allowed, "a whole number from 10 to 30 in steps of 5");
    assert_eq!(wrong[7].allowed, "one of [512, 768], [64, 64]");
    let missing = fill(json!({"prompt": null})).unwrap_err();
    assert_eq!((missing[0].reason, missing[0].given.as_deref()), ("it is required", None));
    for bad in [9, 31, 35] {
        assert_eq!(fill(json!({"prompt": "x", "steps": bad})).unwrap_err()[0].parameter, "steps");
    }
}

#[test]
fn everything_that_is_wrong_with_a_definition_is_found_at_once() {
    for (parameter, part) in [
        (json!({"name": "a b", "type": "text", "targets": ["/6/inputs/text"]}), "a name is"),
        (json!({"name": "a", "type": "text", "targets": []}), "targets"),
        (json!({"name": "a", "type": "text", "targets": ["/6/inputs/none"]}), "leads to nothing"),
        (json!({"name": "a", "type": "text", "targets": ["/3/inputs/model"]}), "is a link"),
        (json!({"name": "a", "type": "text", "targets": ["/6/class_type"]}), "must be an input"),
        (json!({"name": "a", "type": "text", "targets": ["/6/inputs"]}), "must be an input"),
        (
            json!({"name": "a", "type": "size", "targets": ["/3/inputs"], "sizes": [[1, 1]]}),
            "leads to nothing",
        ),
        (json!({"name": "a", "type": "size", "targets": ["/5/inputs"]}), "sizes must be"),
        (json!({"name": "a", "type": "text", "targets": ["/6/inputs/text"], "min": 1}), "min means nothing"),
        (
            json!({"name": "a", "type": "int", "targets": ["/3/inputs/steps"], "min": 2, "max": 1}),
            "min must not",
        ),
        (json!({"name": "a", "type": "int", "targets": ["/3/inputs/steps"], "min": 0.5}), "whole number"),
        (json!({"name": "a", "type": "int", "targets": ["/3/inputs/steps"], "default": "x"}), "its default"),
        (
            json!({"name": "a", "type": "choice", "targets": ["/6/inputs/text"], "choices": []}),
            "choices must be",
        ),
        (
            json!({"name": "a", "type": "text", "targets": ["/6/inputs/text"], "default": "x", "required": true}),
            "no default",
        ),
    ] {
        let faults = Template::check(definition(json!([parameter]))).unwrap_err();
        assert!(faults.iter().any(|fault| fault.reason.contains(part)), "{parameter}: {faults:?}");
    }
    let twice = json!([
        {"name": "a", "type": "text", "targets": ["/6/inputs/text"]},
        {"name": "a", "type": "text", "targets": ["/6/inputs/text"]},
    ]);
    assert_eq!(Template::check(definition(twice)).unwrap_err().len(), 2);
}

#[test]
fn a_sample_has_a_value_everywhere_and_each_choice_comes_in_turn() {
    let parameters = json!([
        {"name": "model", "type": "choice", "targets": ["/6/inputs/text"], "choices": ["a", "b"], "required": true},
        {"name": "photo", "type": "image", "targets": ["/6/inputs/image"]},
    ]);
    let template = Template::check(definition(parameters)).unwrap();
    let sample: Value = serde_json::from_str(&template.sample()).unwrap();
    assert_eq!(sample.pointer("/6/inputs/text").unwrap(), "a");
    assert!(sample.pointer("/6/inputs/image/info/id").is_some());
    let texts: Vec<Value> = template
        .choices()
        .map(|(_, _, graph)| {
            serde_json::from_str::<Value>(&graph).unwrap().pointer("/6/inputs/text").unwrap().clone()
        })
        .collect();
    assert_eq!(texts, ["a", "b"]);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(".{0,3}", inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_is_given_it_is_taken_or_named(name in "prompt|steps|cfg|seed|on|photo|size", value in any_json(), draw in any::<u64>()) {
        let template = template();
        let mut values = Map::new();
        values.insert("prompt".into(), json!("x"));
        values.insert(name.clone(), value.clone());
        match template.fill(&values, || draw) {
            Ok(filled) => prop_assert!(serde_json::from_str::<Value>(&filled.workflow).unwrap().is_object()),
            Err(wrong) => prop_assert_eq!(&wrong[0].parameter, &name),
        }
    }
}
