//! Bytes of the tenant that a workflow names.

use gateway::store::Named;
use gateway::workflow::{Refused, judge};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{RECORDED, catalogue, graph, judged, problems, recorded};

const ASSET: &str = "9f8a1c0d-2b3e-4f56-8a7b-1c2d3e4f5a6b";

fn load(image: Value) -> Value {
    json!({
        "1": {"class_type": "LoadImage", "inputs": {"image": image}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    })
}

/// Pointers and names of the references of a workflow, with and without a catalogue.
fn named(workflow: &Value) -> Vec<(String, Named)> {
    let with = recorded(workflow).unwrap().references;
    assert_eq!(with, judged(workflow, &[]).unwrap().references, "a catalogue changes nothing here");
    with.into_iter().map(|reference| (reference.pointer, reference.names)).collect()
}

#[test]
fn file_names_are_the_tenants_uploads_or_outputs() {
    let at = || "/1/inputs/image".to_owned();
    let upload = |name: &str| Named::Upload(name.to_owned());
    assert_eq!(named(&load(json!("sub/cat.png"))), [(at(), upload("sub/cat.png"))]);
    assert_eq!(named(&load(json!("cat.png [input]"))), [(at(), upload("cat.png"))]);
    assert_eq!(
        named(&load(json!("a/b_00001_.png [output]"))),
        [(at(), Named::Output("a/b_00001_.png".into()))]
    );
    assert_eq!(
        named(&load(json!({"__value__": "cat.png"}))),
        [("/1/inputs/image/__value__".to_owned(), upload("cat.png"))],
        "ComfyUI unwraps it, so it is a name all the same"
    );
}

#[test]
fn names_that_lead_out_of_the_tenants_files_are_refused_even_without_a_catalogue() {
    for bad in [
        "../secret.png",
        "/etc/hostname",
        "a/../../b.png",
        "..\\b.png",
        "C:\\b.png",
        "x.png [temp]",
        "darkroom/0123.png",
        "../x.png [output]",
        "darkroom/0123.png [input]",
    ] {
        for fleet in [vec![], vec![RECORDED.clone()]] {
            let refused: Refused = judged(&load(json!(bad)), &fleet).unwrap_err();
            assert_eq!(problems(&refused), [("custom_validation_failed", "1", "image")], "{bad}");
            assert!(refused.problems[0].details.contains("Invalid image file"));
            assert!(refused.in_part.is_none());
        }
    }
}

#[test]
fn shared_inputs_pass_as_they_are() {
    let shared = ["example.png".to_owned()];
    for name in ["example.png", "example.png [input]"] {
        let judged = judge(&graph(&load(json!(name))), std::slice::from_ref(&RECORDED), &shared).unwrap();
        assert!(judged.references.is_empty(), "{name}");
    }
    let judged = judge(&graph(&load(json!("other.png"))), std::slice::from_ref(&RECORDED), &shared).unwrap();
    assert_eq!(judged.references.len(), 1, "a name that the instance lists is no leave to read it");
}

#[test]
fn an_instances_list_of_files_is_not_what_it_must_offer() {
    let mine = recorded(&load(json!("mine.png"))).unwrap();
    let listed = recorded(&load(json!("example.png"))).unwrap();
    assert_eq!(mine.requirement, listed.requirement);
}

#[test]
fn a_list_of_files_without_a_flag_resolves_what_it_does_not_list() {
    let fleet = [catalogue(&json!({"LoadClip": {"input": {"required": {"video": [["shared.mp4"], {}]}},
        "output": [], "output_node": true}}))];
    let of =
        |name: &str| judged(&json!({"1": {"class_type": "LoadClip", "inputs": {"video": name}}}), &fleet);
    assert!(of("shared.mp4").unwrap().references.is_empty());
    assert_eq!(of("mine.mp4").unwrap().references[0].names, Named::Upload("mine.mp4".into()));
    assert_eq!(of("made.mp4 [output]").unwrap().references[0].names, Named::Output("made.mp4".into()));
    assert_eq!(problems(&of("../x.mp4").unwrap_err())[0].0, "custom_validation_failed");
    assert_eq!(problems(&of("fast").unwrap_err())[0].0, "value_not_in_list");
}

#[test]
fn assets_are_found_however_deep_they_stand() {
    let tag = json!({"__type": "core/ASSET", "info": {"id": ASSET, "file_path": "x.png"}});
    let mut workflow = load(tag.clone());
    workflow["2"]["inputs"]["extra/odd~name"] = json!([1, {"deep": [tag.clone(), tag]}]);
    let id = Uuid::try_parse(ASSET).unwrap();
    let expected =
        ["/1/inputs/image", "/2/inputs/extra~1odd~0name/1/deep/0", "/2/inputs/extra~1odd~0name/1/deep/1"]
            .map(|pointer| (pointer.to_owned(), Named::Asset(id)));
    assert_eq!(named(&workflow), expected);
    for (pointer, _) in &expected {
        assert_eq!(workflow.pointer(pointer).unwrap()["__type"], "core/ASSET");
    }
}

#[test]
fn malformed_tags_are_reported_as_missing_assets() {
    for (info, id) in [
        (json!({"id": "not-a-uuid"}), "not-a-uuid"),
        (json!({"id": 7}), "/1/inputs/image"),
        (json!({}), "/1/inputs/image"),
        (json!(null), "/1/inputs/image"),
    ] {
        let workflow = load(json!({"__type": "core/ASSET", "info": info}));
        assert_eq!(recorded(&workflow).unwrap().malformed_references, [id]);
        assert_eq!(judged(&workflow, &[]).unwrap().malformed_references, [id]);
    }
}

#[test]
fn a_file_that_nobody_asks_for_is_not_resolved() {
    let mut workflow = load(json!("cat.png"));
    workflow["9"] = json!({"class_type": "LoadImage", "inputs": {"image": "idle.png"}});
    assert_eq!(recorded(&workflow).unwrap().references.len(), 1);
}

#[test]
fn a_file_that_runs_unvalidated_is_resolved_all_the_same() {
    let mut workflow = load(json!("cat.png"));
    workflow["9"] = json!({"class_type": "LoadImage", "inputs": {"image": "theirs.png [output]"}});
    workflow["2"]["inputs"]["unknown"] = json!(["9", 0]);
    let names: Vec<Named> = recorded(&workflow).unwrap().references.into_iter().map(|it| it.names).collect();
    assert!(names.contains(&Named::Output("theirs.png".into())), "{names:?}");
}

#[test]
fn inputs_that_may_stay_open_name_no_file() {
    let fleet = [catalogue(&json!({"Model": {"input": {"required": {
        "file": ["COMBO", {"options": ["none"], "file_upload": true}],
        "mask": ["STRING", {"image_upload": true}]}}, "output": [], "output_node": true}}))];
    let workflow = json!({"1": {"class_type": "Model", "inputs": {"file": "none", "mask": ""}}});
    assert!(judged(&workflow, &fleet).unwrap().references.is_empty());
}

#[test]
fn texts_with_nul_and_prefixes_out_of_the_folder_are_refused() {
    let mut workflow = load(json!("cat.png"));
    workflow["1"]["inputs"]["note"] = json!({"deep": ["a\u{0}b"]});
    for fleet in [vec![], vec![RECORDED.clone()]] {
        assert_eq!(
            problems(&judged(&workflow, &fleet).unwrap_err()),
            [("custom_validation_failed", "1", "note")]
        );
    }
    for bad in ["../x", "/srv/x", "a..b", "a/../../x", "\\\\host\\x", "C:x", "a\\..\\b"] {
        let mut workflow = load(json!("cat.png"));
        workflow["2"]["inputs"]["filename_prefix"] = json!(bad);
        let refused = recorded(&workflow).unwrap_err();
        assert_eq!(problems(&refused), [("custom_validation_failed", "2", "filename_prefix")], "{bad}");
    }
    for fine in ["a.b", "%date:yyyy%/x", "sub/x", ""] {
        let mut workflow = load(json!("cat.png"));
        workflow["2"]["inputs"]["filename_prefix"] = json!(fine);
        assert!(recorded(&workflow).is_ok(), "{fine}");
    }
}
