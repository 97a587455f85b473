//! A graph becomes an attempt's prompt, and its files the caller's again.

use gateway::workflow::{Original, PrepareError, prepare};
use serde_json::{Value, json};

const FOLDER: &str = "0198c0de-0000-7000-8000-000000000001/1";

fn staged(pointer: &str, name: &str) -> (String, String) {
    (pointer.to_owned(), name.to_owned())
}

fn original() -> Original {
    Original { folder: FOLDER.to_owned(), replaced: vec![] }
}

#[test]
fn prefixes_go_under_the_attempts_folder_and_references_become_staged_names() {
    let graph = json!({
        "1": {"class_type": "LoadImage", "inputs": {"image": {"__type": "core/ASSET", "info": {}}}},
        "b/2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "%date%/cat"},
            "_meta": {"title": "Save"}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": ["9", 0]}},
    });
    let prepared =
        prepare(&graph.to_string(), FOLDER, &[staged("/1/inputs/image", "darkroom/ab.png")]).unwrap();
    assert_eq!(prepared.prompt["1"]["inputs"]["image"], "darkroom/ab.png");
    assert_eq!(prepared.prompt["b/2"]["inputs"]["filename_prefix"], format!("{FOLDER}/%date%/cat"));
    assert_eq!(prepared.prompt["b/2"]["_meta"]["title"], "Save");
    assert_eq!(prepared.prompt["3"], graph["3"], "a linked prefix is left alone");
    assert_eq!(prepared.original.folder, FOLDER);
    let order: Vec<&String> = prepared.prompt.as_object().unwrap().keys().collect();
    assert_eq!(order, ["1", "b/2", "3"]);

    let mut embedded = prepared.prompt;
    prepared.original.restore(&mut embedded);
    assert_eq!(embedded, graph);
}

#[test]
fn no_form_of_a_literal_prefix_escapes_the_folder() {
    for (prefix, becomes) in [
        (json!("x"), "x"),
        (json!(""), "ComfyUI"),
        (json!("./"), "ComfyUI"),
        (json!(7), "7"),
        (json!({"__value__": "y"}), "y"),
    ] {
        let graph = json!({"1": {"class_type": "SaveImage", "inputs": {"filename_prefix": prefix}}});
        let prepared = prepare(&graph.to_string(), FOLDER, &[]).unwrap();
        let sent = &prepared.prompt["1"]["inputs"]["filename_prefix"];
        let sent = sent.get("__value__").unwrap_or(sent);
        assert_eq!(*sent, format!("{FOLDER}/{becomes}"));
        let mut embedded = prepared.prompt.clone();
        prepared.original.restore(&mut embedded);
        assert_eq!(embedded, graph);
    }
    let graph =
        json!({"1": {"class_type": "SaveImage", "inputs": {"filename_prefix": {"__type": "core/ASSET"}}}});
    let prepared =
        prepare(&graph.to_string(), FOLDER, &[staged("/1/inputs/filename_prefix", "darkroom/ab.png")])
            .unwrap();
    let sent = &prepared.prompt["1"]["inputs"]["filename_prefix"];
    assert_eq!(*sent, format!("{FOLDER}/darkroom/ab.png"), "not even a staged name as a prefix");
    let mut embedded = prepared.prompt;
    prepared.original.restore(&mut embedded);
    assert_eq!(embedded, graph);
}

#[test]
fn a_value_that_comfyui_unwrapped_is_restored_in_its_place() {
    let graph = json!({"1": {"class_type": "SaveImage", "inputs": {"filename_prefix": {"__value__": "y"}}}});
    let prepared = prepare(&graph.to_string(), FOLDER, &[]).unwrap();
    let mut embedded = prepared.prompt;
    let unwrapped = embedded["1"]["inputs"]["filename_prefix"]["__value__"].take();
    embedded["1"]["inputs"]["filename_prefix"] = unwrapped;
    prepared.original.restore(&mut embedded);
    assert_eq!(embedded["1"]["inputs"]["filename_prefix"], "y");
}

#[test]
fn what_cannot_be_prepared_says_why() {
    assert!(matches!(prepare("{", FOLDER, &[]), Err(PrepareError::Unreadable(_))));
    assert!(matches!(prepare("[]", FOLDER, &[]), Err(PrepareError::Unreadable(_))));
    let nowhere = prepare(r#"{"1": {}}"#, FOLDER, &[staged("/1/inputs/image", "x")]).unwrap_err();
    assert_eq!(nowhere, PrepareError::NoSuchPlace("/1/inputs/image".to_owned()));
}

#[test]
fn files_get_the_callers_names_back() {
    let original = original();
    for (file, subfolder, name) in [
        ("ComfyUI_00001_.png", FOLDER.to_owned(), "ComfyUI_00001_.png"),
        ("ComfyUI_00001_.png", format!("{FOLDER}/sub"), "sub/ComfyUI_00001_.png"),
        ("a.png", format!("{FOLDER}\\sub\\deep").replace('/', "\\"), "sub/deep/a.png"),
        ("a.png", String::new(), "a.png"),
        ("a.png", "elsewhere".to_owned(), "elsewhere/a.png"),
        ("../../a.png", format!("{FOLDER}/../x"), "x/a.png"),
    ] {
        assert_eq!(original.name(file, &subfolder), name, "{subfolder}");
    }
}

#[test]
fn only_files_in_the_attempts_folder_are_ours() {
    let original = original();
    assert!(original.is_ours(FOLDER));
    assert!(original.is_ours(&format!("{FOLDER}/sub")));
    for not in ["", "other", &format!("{FOLDER}0"), &format!("{FOLDER}/../2"), &format!("x/{FOLDER}")] {
        assert!(!original.is_ours(not), "{not}");
    }
    assert!(!Original::default().is_ours(""), "without a folder nothing is ours");
}

#[test]
fn another_graph_is_left_as_it_is() {
    let prepared = prepare(r#"{"1": {"inputs": {"filename_prefix": "x"}}}"#, FOLDER, &[]).unwrap();
    let mut other: Value = json!({"5": {"inputs": {}}});
    prepared.original.restore(&mut other);
    assert_eq!(other, json!({"5": {"inputs": {}}}));
}
