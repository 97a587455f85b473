//! What the check of one catalogue accepts and refuses, input by input.

use gateway::workflow::{Catalogue, names};
use serde_json::{Value, json};

use crate::support::{
    RECORDED, catalogue, empty_image, graph, judged, problems, recorded, text_to_picture, varied, with_models,
};

#[test]
fn the_recorded_catalogue_is_read_in_full() {
    assert_eq!(RECORDED.class_count(), 943);
    assert!(RECORDED.parts.parts.is_sorted());
    assert_eq!(RECORDED.hash.len(), 64);
}

#[test]
fn a_body_that_is_no_catalogue_is_refused() {
    for body in ["", "[]", "{}", "<html>", "{\"a\":"] {
        assert!(Catalogue::read(body).is_err(), "{body}");
    }
}

#[test]
fn an_odd_class_does_not_cost_the_others() {
    let read = Catalogue::read(
        r#"{"Odd": 7, "Half": {"input": null, "output": "x"}, "Inf": {"input": {"required":
        {"x": ["FLOAT", {"max": Infinity}]}}, "output": [], "output_node": true}}"#,
    )
    .unwrap();
    assert_eq!(read.class_count(), 3);
    let workflow = json!({"1": {"class_type": "Inf", "inputs": {"x": 1e300}},
        "2": {"class_type": "Odd", "inputs": {}}, "3": {"class_type": "Half", "inputs": {}}});
    assert!(judged(&workflow, &[read.into()]).is_ok());
}

#[test]
fn numbers_are_converted_as_comfyui_converts_them() {
    for fine in [json!(64), json!("64"), json!(64.9), json!(" 64 "), json!(true), json!({"__value__": 64})] {
        assert!(recorded(&empty_image(fine.clone())).is_ok(), "{fine}");
    }
    for (bad, kind) in [
        (json!("64.0"), "invalid_input_type"),
        (json!(null), "invalid_input_type"),
        (json!({"a": 1}), "invalid_input_type"),
        (json!(0), "value_smaller_than_min"),
        (json!(false), "value_smaller_than_min"),
        (json!(16385), "value_bigger_than_max"),
        (json!({"__value__": 0}), "value_smaller_than_min"),
        (json!([1, 0]), "exception_during_inner_validation"),
    ] {
        let refused = recorded(&empty_image(bad.clone())).unwrap_err();
        assert_eq!(problems(&refused), [(kind, "1", "width")], "{bad}");
    }
}

#[test]
fn a_seed_of_64_bits_is_within_bounds() {
    let fleet = [with_models(&["a.safetensors"], &["l.safetensors"])];
    let mut workflow = text_to_picture("a.safetensors", "l.safetensors");
    workflow["6"]["inputs"]["seed"] = json!(u64::MAX);
    assert!(judged(&workflow, &fleet).is_ok());
}

#[test]
fn choices_are_compared_as_python_compares() {
    let fleet = [catalogue(&json!({"C": {"input": {"required": {"n": ["COMBO", {"options": [1, 2]}]},
        "optional": {"t": [["a", "b"], {}]}}, "output": [], "output_node": true}}))];
    let workflow = |n: Value, t: Value| json!({"1": {"class_type": "C", "inputs": {"n": n, "t": t}}});
    for (n, t) in [(json!(1), json!("a")), (json!(2.0), json!("b")), (json!(true), json!("b"))] {
        assert!(judged(&workflow(n, t), &fleet).is_ok());
    }
    let refused = judged(&workflow(json!("1"), json!("c")), &fleet).unwrap_err();
    assert_eq!(problems(&refused), [("value_not_in_list", "1", "n"), ("value_not_in_list", "1", "t")]);
    assert_eq!(refused.problems[1].details, r#"t: "c" not in ["a", "b"]"#);
}

#[test]
fn only_what_an_output_depends_on_is_validated() {
    let mut workflow = empty_image(json!(64));
    workflow["9"] = json!({"class_type": "EmptyImage", "inputs": {"width": "wide"}});
    assert!(recorded(&workflow).is_ok(), "nobody asks for node 9");
    workflow["9"]["class_type"] = json!("NoSuchNode");
    assert_eq!(recorded(&workflow).unwrap_err().kind, "missing_node_type", "yet its class must exist");
}

#[test]
fn inputs_that_the_class_does_not_know_are_ignored() {
    let mut workflow = empty_image(json!(64));
    workflow["2"]["inputs"]["unknown"] = json!(["77", 0]);
    workflow["2"]["inputs"]["other"] = json!(["x"]);
    assert!(recorded(&workflow).is_ok());
}

#[test]
fn only_certain_type_mismatches_are_refused() {
    let fleet = [catalogue(&json!({
        "Any": {"input": {}, "output": ["*"], "output_node": false},
        "Odd": {"input": {}, "output": ["MY_THING"], "output_node": false},
        "Text": {"input": {}, "output": ["STRING"], "output_node": false},
        "Many": {"input": {"required": {"x": ["IMAGE,FLOAT"]}}, "output": [], "output_node": true},
        "One": {"input": {"required": {"x": ["IMAGE"]}}, "output": [], "output_node": true},
    }))];
    let linked = |from: &str, to: &str| json!({"1": {"class_type": from, "inputs": {}}, "2": {"class_type": to, "inputs": {"x": ["1", 0]}}});
    for (from, to) in [("Any", "One"), ("Odd", "One"), ("Text", "Many")] {
        assert!(judged(&linked(from, to), &fleet).is_ok(), "{from} {to}");
    }
    let refused = judged(&linked("Text", "One"), &fleet).unwrap_err();
    assert_eq!(problems(&refused), [("return_type_mismatch", "2", "x")]);
}

#[test]
fn dynamic_inputs_are_checked_for_their_links_only() {
    let batch = |link: Value| {
        json!({
            "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}},
            "2": {"class_type": "BatchImagesNode", "inputs": {"images.image0": link, "images.image1": ["1", 0]}},
            "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "x"}},
        })
    };
    assert!(recorded(&batch(json!(["1", 0]))).is_ok());
    let refused = recorded(&batch(json!(["99", 0]))).unwrap_err();
    assert_eq!(problems(&refused), [("exception_during_inner_validation", "2", "images.image0")]);
    assert_eq!(refused.problems[0].dependent_outputs, ["3"]);
}

#[test]
fn a_fault_behind_a_dynamic_input_is_found() {
    let workflow = json!({
        "1": {"class_type": "EmptyImage", "inputs": {"width": 0, "height": 8, "batch_size": 1, "color": 0}},
        "2": {"class_type": "BatchImagesNode", "inputs": {"images.image0": ["1", 0]}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "x"}},
    });
    assert_eq!(problems(&recorded(&workflow).unwrap_err()), [("value_smaller_than_min", "1", "width")]);
}

#[test]
fn where_one_output_is_sound_the_refusal_says_what_that_one_needs() {
    let mut workflow = text_to_picture("gone.safetensors", "l.safetensors");
    workflow["20"] = json!({"class_type": "EmptyImage",
        "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}});
    workflow["21"] =
        json!({"class_type": "SaveImage", "inputs": {"images": ["20", 0], "filename_prefix": "x"}});
    let refused = judged(&workflow, &[with_models(&["a.safetensors"], &["l.safetensors"])]).unwrap_err();
    assert_eq!(problems(&refused), [("value_not_in_list", "1", "ckpt_name")]);
    assert_eq!(refused.problems[0].dependent_outputs, ["8"]);
    assert_eq!(refused.missing, ["gone.safetensors"]);
    let in_part = refused.in_part.unwrap();
    assert!(in_part.requirement.models.is_empty(), "the sound output loads nothing");

    workflow.as_object_mut().unwrap().remove("21");
    let refused = judged(&workflow, &[with_models(&[], &[])]).unwrap_err();
    assert!(refused.in_part.is_none());
}

#[test]
fn open_lists_leave_the_choice_to_the_instance() {
    let fleet = [varied(|info| {
        info["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"] =
            json!(["COMBO", {"remote": {"route": "/models"}}]);
        info["LoraLoader"]["input"]["required"]["lora_name"][0] = json!(["l.safetensors"]);
    })];
    assert!(judged(&text_to_picture("any.safetensors", "l.safetensors"), &fleet).is_ok());
}

#[test]
fn names_put_every_required_part_back_into_words() {
    let workflow = text_to_picture("a.safetensors", "l.safetensors");
    let judged = judged(&workflow, &[with_models(&["a.safetensors"], &["l.safetensors"])]).unwrap();
    let names = names(&graph(&workflow));
    let words: Vec<&str> = judged
        .requirement
        .parts
        .iter()
        .map(|part| names.iter().find(|(known, _)| known == part).unwrap().1.as_str())
        .collect();
    assert!(words.contains(&"class KSampler"), "{words:?}");
    assert!(words.contains(&r#"ckpt_name "a.safetensors" of CheckpointLoaderSimple"#), "{words:?}");
    assert!(words.contains(&r#"sampler_name "euler" of KSampler"#), "{words:?}");
    assert_eq!(words.len(), 7 + 4, "seven classes, two files, sampler and scheduler: {words:?}");
}
