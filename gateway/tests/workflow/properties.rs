//! What holds for any graph and any text.

use gateway::workflow::{Graph, Limits, NodeInput, judge, names, prepare};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::support::RECORDED;

fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        // Exact fractions: serde_json without `float_roundtrip` may read a float of 17 digits one unit off.
        any::<i32>().prop_map(|eighths| Value::from(f64::from(eighths) / 8.0)),
        "[a-z./ \\[\\]]{0,12}".prop_map(Value::from),
        Just(json!("x.png [output]")),
        Just(json!({"__type": "core/ASSET", "info": {"id": "9f8a1c0d-2b3e-4f56-8a7b-1c2d3e4f5a6b"}})),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map("[a-z_/~]{0,8}|__value__|__type", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn input() -> impl Strategy<Value = (String, Value)> {
    let names = prop_oneof![
        Just("filename_prefix".to_owned()),
        Just("image".to_owned()),
        Just("images".to_owned()),
        Just("ckpt_name".to_owned()),
        Just("width".to_owned()),
        Just("images.image0".to_owned()),
        "[a-z/~]{1,6}",
    ];
    let link = (0_usize..8, -1_i64..4).prop_map(|(node, slot)| json!([node.to_string(), slot]));
    (names, prop_oneof![link, anything()])
}

fn node() -> impl Strategy<Value = Value> {
    let classes = prop_oneof![
        Just("SaveImage"),
        Just("LoadImage"),
        Just("EmptyImage"),
        Just("KSampler"),
        Just("CheckpointLoaderSimple"),
        Just("BatchImagesNode"),
        Just("Unknown"),
    ];
    (classes, vec(input(), 0..5)).prop_map(|(class, inputs)| {
        let inputs: Map<String, Value> = inputs.into_iter().collect();
        json!({"class_type": class, "inputs": inputs})
    })
}

fn workflow() -> impl Strategy<Value = Value> {
    vec(node(), 1..8).prop_map(|nodes| {
        nodes.into_iter().enumerate().map(|(at, node)| (at.to_string(), node)).collect::<Map<_, _>>().into()
    })
}

/// Whether some node can be reached from itself.
fn has_ring(graph: &Graph) -> bool {
    let feeding = |id: &str| -> Vec<String> {
        let node = graph.nodes.iter().find(|node| node.id == id);
        let inputs = node.into_iter().flat_map(|node| &node.inputs);
        inputs
            .filter_map(|(_, input)| match input {
                NodeInput::Link { from, .. } => Some(from.clone()),
                NodeInput::Literal(_) => None,
            })
            .collect()
    };
    graph.nodes.iter().any(|node| {
        let (mut seen, mut next) = (vec![], feeding(&node.id));
        while let Some(id) = next.pop() {
            if id == node.id {
                return true;
            }
            if !seen.contains(&id) {
                next.extend(feeding(&id));
                seen.push(id);
            }
        }
        false
    })
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "[\\PC\\{\\}\\[\\]\",:]{0,200}") {
        let _ = Graph::parse(&text, &Limits::default());
    }

    #[test]
    fn no_json_makes_the_reader_panic(value in anything()) {
        let _ = Graph::parse(&value.to_string(), &Limits::default());
        let _ = prepare(&value.to_string(), "job/1", &[]);
    }

    #[test]
    fn no_graph_makes_judging_panic_and_none_that_is_read_has_a_ring(workflow in workflow()) {
        if let Ok(graph) = Graph::parse(&workflow.to_string(), &Limits::default()) {
            prop_assert!(!has_ring(&graph));
            let known = names(&graph);
            for fleet in [vec![], vec![RECORDED.clone()]] {
                match judge(&graph, &fleet, &[]) {
                    Ok(judged) => {
                        prop_assert!(judged.requirement.parts.is_sorted());
                        for part in &judged.requirement.parts {
                            prop_assert!(known.iter().any(|(name, _)| name == part));
                        }
                        for reference in &judged.references {
                            prop_assert!(workflow.pointer(&reference.pointer).is_some(), "{}", reference.pointer);
                        }
                    }
                    Err(refused) => prop_assert!(!refused.message.is_empty()),
                }
            }
        }
    }

    #[test]
    fn what_was_prepared_can_be_restored(workflow in workflow(), folder in "[a-f0-9]{1,8}/[1-9]") {
        let staged: Vec<(String, String)> = Graph::parse(&workflow.to_string(), &Limits::default())
            .ok()
            .and_then(|graph| judge(&graph, &[], &[]).ok())
            .map(|judged| judged.references)
            .unwrap_or_default()
            .into_iter()
            .map(|reference| (reference.pointer, "darkroom/ab.png".to_owned()))
            .collect();
        let prepared = prepare(&workflow.to_string(), &folder, &staged).unwrap();
        for (_, node) in prepared.prompt.as_object().unwrap() {
            let prefix = &node["inputs"]["filename_prefix"];
            let prefix = prefix.get("__value__").unwrap_or(prefix);
            if let Some(prefix) = prefix.as_str() {
                prop_assert!(prefix.starts_with(&format!("{folder}/")), "{prefix}");
            }
        }
        let mut embedded = prepared.prompt;
        prepared.original.restore(&mut embedded);
        prop_assert_eq!(embedded, workflow);
    }

    #[test]
    fn names_are_the_inverse_of_the_folder(
        file in "[a-zA-Z0-9_]{1,12}\\.png",
        subfolder in "([a-z0-9]{1,5}(/[a-z0-9]{1,5}){0,2})?",
        folder in "[a-f0-9]{1,8}/[1-9]",
    ) {
        let prepared = prepare("{}", &folder, &[]).unwrap();
        let (listed, name) = if subfolder.is_empty() {
            (folder, file.clone())
        } else {
            (format!("{folder}/{subfolder}"), format!("{subfolder}/{file}"))
        };
        prop_assert_eq!(prepared.original.name(&file, &listed), name);
        prop_assert!(prepared.original.is_ours(&listed));
    }
}
