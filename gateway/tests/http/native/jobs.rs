//! Jobs: submitted, refused, found in the history.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::World;
use crate::world::{picture, slow_picture, until};

#[tokio::test]
async fn a_prompt_becomes_an_entry_of_the_history_with_files_that_can_be_viewed() {
    let world = World::start().await;
    let body =
        json!({"prompt": picture(7), "extra_data": {"extra_pnginfo": {"workflow": {"id": "wf"}}, "mine": 1}});
    let (status, answer) = world.post_prompt(&body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!((&answer["number"], &answer["node_errors"]), (&json!(0), &json!({})));
    let id = answer["prompt_id"].as_str().unwrap();
    let entry = world.entry(id).await;
    assert_eq!(entry["prompt"][0], 0);
    assert_eq!(entry["prompt"][1], id);
    assert_eq!(entry["prompt"][2], picture(7), "the caller's own graph");
    assert_eq!(entry["prompt"][3]["mine"], 1);
    assert_eq!(entry["prompt"][3]["extra_pnginfo"]["workflow"]["id"], "wf");
    assert!(entry["prompt"][3]["create_time"].is_i64());
    assert_eq!(entry["prompt"][4], json!(["2"]));
    assert_eq!(entry["status"]["status_str"], "success");
    assert_eq!(entry["status"]["completed"], true);
    let names: Vec<&Value> =
        entry["status"]["messages"].as_array().unwrap().iter().map(|message| &message[0]).collect();
    assert_eq!(names, ["execution_start", "execution_cached", "execution_success"]);
    let file = json!({"filename": "pic_00001_.png", "subfolder": "", "type": "output"});
    assert_eq!(entry["outputs"], json!({"2": {"images": [file]}}));
    assert_eq!(entry["meta"]["2"]["display_node"], "2");
    let bytes = world.get("/view?filename=pic_00001_.png&subfolder=&type=output&rand=0.5").await;
    assert_eq!(bytes.headers()["content-type"], "image/png");
    assert!(bytes.bytes().await.unwrap().starts_with(b"\x89PNG"));

    let job = world.get_json(&format!("/api/jobs/{id}")).await;
    assert_eq!((&job["status"], &job["outputs_count"]), (&json!("completed"), &json!(1)));
    assert_eq!(job["preview_output"]["mediaType"], "images");
    assert_eq!((&job["workflow_id"], &job["workflow"]["prompt"]), (&json!("wf"), &picture(7)));
    let listed = world.get_json("/api/jobs?limit=5").await;
    assert_eq!(listed["jobs"][0]["id"], id);
    assert_eq!(listed["pagination"], json!({"offset": 0, "limit": 5, "total": 1, "has_more": false}));
}

#[tokio::test]
async fn names_count_up_for_each_tenant_whichever_instance_made_the_file() {
    let world = World::with(vec![Default::default(), Default::default(), Default::default()], "").await;
    world.usable().await;
    let mut names = Vec::new();
    for color in 0..6 {
        let id = world.prompt(picture(color), None).await;
        names.push(world.entry(&id).await["outputs"]["2"]["images"][0]["filename"].clone());
    }
    let expected: Vec<String> = (1..=6).map(|n| format!("pic_{n:05}_.png")).collect();
    assert_eq!(names, expected);
}

#[tokio::test]
async fn the_callers_own_id_stays_and_is_refused_while_its_job_lives() {
    let world = World::start().await;
    let id = "0d71c5ef-8b3e-4514-9da3-ee9a8694b8b0";
    let body = json!({"prompt": slow_picture(0.3), "prompt_id": id});
    assert_eq!(world.post_prompt(&body).await.1["prompt_id"], id);
    let (status, refused) = world.post_prompt(&body).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(refused["error"]["type"], "invalid_prompt_id");
    world.entry(id).await;
    let again = json!({"prompt": picture(1), "prompt_id": id});
    assert_eq!(world.post_prompt(&again).await.0, StatusCode::OK, "an id may be used again");
    until("the newer one is shown", || async {
        (world.entry(id).await["prompt"][2] == picture(1)).then_some(())
    })
    .await;
    for bad in [json!("0D71C5EF-8B3E-4514-9DA3-EE9A8694B8B0"), json!("x"), json!(7)] {
        let (status, refused) = world.post_prompt(&json!({"prompt": picture(1), "prompt_id": bad})).await;
        assert_eq!(
            (status, &refused["error"]["type"]),
            (StatusCode::BAD_REQUEST, &json!("invalid_prompt_id"))
        );
    }
}

#[tokio::test]
async fn a_refusal_has_comfyuis_type_and_names_the_node() {
    let world = World::start().await;
    let save = |images: Value| json!({"class_type": "SaveImage", "inputs": {"images": images, "filename_prefix": "x"}});
    let empty = |width: Value| json!({"class_type": "EmptyImage", "inputs": {"width": width, "height": 64, "batch_size": 1, "color": 0}});
    for (prompt, kind, node, error) in [
        (json!({}), "prompt_no_outputs", "", ""),
        (json!({"1": empty(json!(64))}), "prompt_no_outputs", "", ""),
        (json!({"1": {"inputs": {}}}), "missing_node_type", "", ""),
        (json!({"1": {"class_type": "NoSuchNode", "inputs": {}}}), "missing_node_type", "", ""),
        (
            json!({"1": empty(json!(0)), "2": save(json!(["1", 0]))}),
            "prompt_outputs_failed_validation",
            "1",
            "value_smaller_than_min",
        ),
        (
            json!({"1": empty(json!("wide")), "2": save(json!(["1", 0]))}),
            "prompt_outputs_failed_validation",
            "1",
            "invalid_input_type",
        ),
        (
            json!({"2": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x"}}}),
            "prompt_outputs_failed_validation",
            "2",
            "required_input_missing",
        ),
        (
            json!({"1": {"class_type": "LoadImage", "inputs": {"image": "not_there.png"}}, "2": save(json!(["1", 0]))}),
            "prompt_outputs_failed_validation",
            "1",
            "custom_validation_failed",
        ),
    ] {
        let (status, refused) = world.post_prompt(&json!({"prompt": prompt})).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{refused}");
        assert_eq!(refused["error"]["type"], kind, "{refused}");
        for member in ["message", "details", "extra_info"] {
            assert!(refused["error"].get(member).is_some(), "{member}: {refused}");
        }
        match node {
            "" => assert_eq!(refused["node_errors"], json!({}), "{refused}"),
            node => {
                let told = &refused["node_errors"][node];
                assert_eq!(told["errors"][0]["type"], error, "{refused}");
                assert_eq!(told["dependent_outputs"], json!(["2"]), "{refused}");
                assert!(told["errors"][0]["extra_info"]["input_name"].is_string(), "{refused}");
            }
        }
    }
    let (_, refused) = world.post_prompt(&json!({"client_id": "x"})).await;
    assert_eq!(refused["error"]["type"], "no_prompt");
    let broken = world.request(Method::POST, "/prompt").body("{").send().await.unwrap();
    assert_eq!(broken.status(), StatusCode::BAD_REQUEST);
    assert_eq!(broken.json::<Value>().await.unwrap()["error"]["type"], "invalid_prompt");
}

#[tokio::test]
async fn sound_outputs_run_and_the_others_are_told_of() {
    let world = World::start().await;
    let mut workflow = picture(3);
    workflow["3"] = json!({"class_type": "LoadImage", "inputs": {"image": "not_there.png"}});
    workflow["4"] =
        json!({"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "never"}});
    let (status, answer) = world.post_prompt(&json!({"prompt": workflow})).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["node_errors"]["3"]["dependent_outputs"], json!(["4"]), "{answer}");
    let entry = world.entry(answer["prompt_id"].as_str().unwrap()).await;
    assert_eq!(entry["status"]["status_str"], "success", "{entry}");
    assert!(entry["outputs"].get("2").is_some() && entry["outputs"].get("4").is_none(), "{entry}");
}

#[tokio::test]
async fn only_the_wanted_outputs_run() {
    let world = World::start().await;
    let mut workflow = picture(3);
    workflow["9"] =
        json!({"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "other"}});
    let body = json!({"prompt": workflow, "partial_execution_targets": ["9"]});
    let (_, answer) = world.post_prompt(&body).await;
    let entry = world.entry(answer["prompt_id"].as_str().unwrap()).await;
    assert_eq!(entry["prompt"][4], json!(["9"]));
    assert_eq!(entry["outputs"].as_object().unwrap().keys().collect::<Vec<_>>(), ["9"], "{entry}");
    let body = json!({"prompt": workflow, "partial_execution_targets": ["1"]});
    assert_eq!(world.post_prompt(&body).await.1["error"]["type"], "prompt_no_outputs");
}

#[tokio::test]
async fn a_node_that_fails_is_told_in_history_and_jobs() {
    let world = World::start().await;
    let mut workflow = picture(1);
    workflow["2"]["inputs"]["images"] = json!(["3", 0]);
    workflow["3"] = json!({"class_type": "TestSyncError", "inputs": {"value": ["1", 0]}});
    let id = world.prompt(workflow, None).await;
    let entry = world.entry(&id).await;
    assert_eq!(
        (&entry["status"]["status_str"], &entry["status"]["completed"]),
        (&json!("error"), &json!(false))
    );
    let last = entry["status"]["messages"].as_array().unwrap().last().unwrap();
    assert_eq!(last[0], "execution_error");
    assert_eq!((&last[1]["prompt_id"], &last[1]["node_id"]), (&json!(id), &json!("3")));
    assert_eq!(last[1]["node_type"], "TestSyncError");
    assert!(last[1]["traceback"].is_array() && last[1]["exception_message"].is_string(), "{last}");
    let job = world.get_json(&format!("/api/jobs/{id}")).await;
    assert_eq!((&job["status"], &job["execution_error"]["node_id"]), (&json!("failed"), &json!("3")));
}

#[tokio::test]
async fn history_is_paged_filtered_and_cleared() {
    let world = World::start().await;
    let mut ids = Vec::new();
    for color in 0..4 {
        ids.push(world.prompt(picture(color), None).await);
        world.entry(&ids[color as usize]).await;
    }
    let page = async |query: &str| {
        let page = world.get_json(&format!("/history{query}")).await;
        page.as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(page("").await, ids);
    assert_eq!(page("?max_items=2").await, ids[2..]);
    assert_eq!(page("?max_items=2&offset=1").await, ids[1..3]);
    assert_eq!(page("?max_items=0").await, Vec::<String>::new());
    assert_eq!(page("?offset=999999").await, Vec::<String>::new());
    assert_eq!(page(&format!("?prompt_id={}", ids[1])).await, [ids[1].clone()]);
    assert_eq!(world.get_json("/history/unknown").await, json!({}));
    assert_eq!(world.post("/history", &json!({"delete": [ids[0]]})).await.status(), StatusCode::OK);
    assert_eq!(page("").await, ids[1..]);
    world.post("/history", &json!({"clear": true})).await;
    assert_eq!(page("").await, Vec::<String>::new());
}

#[tokio::test]
async fn what_was_there_is_there_after_a_restart() {
    let world = World::start().await;
    let id = world.prompt(picture(5), Some("me")).await;
    let before = world.entry(&id).await;
    let world = world.restart().await;
    assert_eq!(world.entry(&id).await, before);
}

#[tokio::test]
async fn a_graph_that_cannot_be_read_is_refused_node_by_node() {
    let world = World::start().await;
    let invert = |from: &str| json!({"class_type": "ImageInvert", "inputs": {"image": [from, 0]}});
    let save = |from: &str| json!({"class_type": "SaveImage", "inputs": {"images": [from, 0], "filename_prefix": "x"}});
    let ring = json!({"1": invert("2"), "2": invert("1"), "3": save("1"), "4": save("5"), "5": invert("6"),
        "6": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}}});
    let (status, refused) = world.post_prompt(&json!({"prompt": ring})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    for node in ["1", "2"] {
        let error = &refused["node_errors"][node];
        assert_eq!(error["errors"][0]["type"], "dependency_cycle", "{refused}");
        assert_eq!(error["dependent_outputs"], json!(["3"]), "and not the other output");
        assert_eq!(error["class_type"], "ImageInvert");
    }
    let bare = json!({"1": {"class_type": "SaveImage"}});
    let (status, refused) = world.post_prompt(&json!({"prompt": bare})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(refused["error"]["details"], "Exception when validating node: 'inputs'");
    let error = &refused["node_errors"]["1"];
    assert_eq!(
        (&error["class_type"], &error["dependent_outputs"]),
        (&json!("SaveImage"), &json!(["1"])),
        "{refused}"
    );
}

#[tokio::test]
async fn a_refusal_is_short_however_large_the_graph_is() {
    let world = World::start().await;
    let long = |number: usize| format!("{number:0>200}");
    let save = |from: &str| json!({"class_type": "SaveImage", "inputs": {"images": [from, 0], "filename_prefix": "x"}});
    let ring: serde_json::Map<_, _> =
        (0..1500).map(|number| (long(number), save(&long((number + 1) % 1500)))).collect();
    let unfit: serde_json::Map<_, _> = (0..1500)
        .map(|number| (long(number), save("0")))
        .chain([("0".to_owned(), json!({"class_type": "EmptyImage", "inputs": {"width": -1}}))])
        .collect();
    for (graph, problem) in [(ring, "dependency_cycle"), (unfit, "value_smaller_than_min")] {
        let (status, refused) = world.post_prompt(&json!({"prompt": graph})).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(refused.to_string().len() < 2_000_000, "{} bytes", refused.to_string().len());
        let nodes = refused["node_errors"].as_object().unwrap();
        assert!((1..=100).contains(&nodes.len()), "{} nodes", nodes.len());
        for node in nodes.values() {
            let kinds: Vec<_> = node["errors"].as_array().unwrap().iter().map(|it| &it["type"]).collect();
            assert!(kinds.contains(&&json!(problem)), "{kinds:?}");
            assert_eq!(node["dependent_outputs"].as_array().unwrap().len(), 100);
        }
    }
}

#[tokio::test]
async fn a_job_that_fails_tells_what_its_nodes_said_and_none_of_their_files() {
    let world = World::start().await;
    let graph = json!({
        "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
        "3": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}},
        "4": {"class_type": "TestSleep", "inputs": {"value": ["1", 0], "seconds": 0.05}},
        "5": {"class_type": "TestSyncError", "inputs": {"value": ["4", 0]}},
        "6": {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "filename_prefix": "y"}},
    });
    let id = world.prompt(graph, None).await;
    let entry = world.entry(&id).await;
    assert_eq!(entry["status"]["status_str"], "error", "{entry}");
    let told: Vec<&String> = entry["outputs"].as_object().unwrap().keys().collect();
    assert_eq!(told, ["3"], "{entry}");
    assert!(entry["outputs"]["3"]["text"][0].is_string(), "{entry}");
}
