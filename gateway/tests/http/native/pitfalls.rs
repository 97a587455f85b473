//! What existing clients depend on without saying so, where no other test of this folder has it. `docs/NATIVE_API.md` lists
//! all of them with their tests.

use std::path::Path;

use futures_util::future::join_all;
use gateway::store::{Scope, TenantDraft, TenantLimits, TenantSettings};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Socket, World, kinds, remaining};
use crate::world::{picture, slow_picture};

/// A tenant's key with these bounds.
async fn bounded(world: &World, limits: TenantLimits) -> String {
    let settings = TenantSettings { limits, ..TenantSettings::default() };
    let draft = TenantDraft { name: "club".into(), weight: 1, concurrency: u32::MAX, settings };
    world.app.tenants().admin("test").add_tenant(draft).await.unwrap();
    world.key("club", Scope::Submit).await
}

#[tokio::test]
async fn a_body_is_read_for_what_it_is_whatever_it_is_said_to_be() {
    let world = World::start().await;
    let running = world.prompt(slow_picture(600.0), None).await;
    world.runs(&running).await;
    let mut ids = Vec::new();
    for kind in [
        None,
        Some("text/plain;charset=UTF-8"),
        Some("application/x-www-form-urlencoded"),
        Some("application/octet-stream"),
        Some("multipart/form-data; boundary=x"),
        Some("nonsense"),
    ] {
        let request = world.request(Method::POST, "/prompt").body(json!({"prompt": picture(1)}).to_string());
        let request = kind.into_iter().fold(request, |request, kind| request.header("content-type", kind));
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{kind:?}");
        let answer: Value = response.json().await.unwrap();
        ids.push(answer["prompt_id"].as_str().unwrap().to_owned());
    }
    let send = async |path: &str, kind: &str, body: String| {
        let request = world.request(Method::POST, path).header("content-type", kind).body(body);
        assert_eq!(request.send().await.unwrap().status(), StatusCode::OK, "{path} as {kind}");
    };
    let form = "application/x-www-form-urlencoded";
    send("/queue", form, format!("delete={}&delete={}&clear=False", ids[0], ids[1])).await;
    assert_eq!(world.queued().await.1, ids[2..]);
    send("/queue", "text/plain", json!({"delete": [ids[2]]}).to_string()).await;
    assert_eq!(world.queued().await.1, ids[3..]);
    send("/free", form, "unload_models=True&free_memory=False".to_owned()).await;
    send("/queue", form, "clear=True".to_owned()).await;
    assert_eq!(world.queued().await, (vec![running], Vec::new()));
}

#[tokio::test]
async fn a_job_without_a_client_is_told_to_nobody_and_found_in_the_history() {
    let world = World::start().await;
    let mut socket = Socket::open(&world, "somebody").await;
    socket.next().await;
    let nobodys = world.prompt(picture(1), None).await;
    assert_eq!(world.entry(&nobodys).await["status"]["completed"], true);
    let id = world.prompt(picture(2), Some("somebody")).await;
    for frame in socket.until_left(&id).await {
        assert_ne!(frame.data()["prompt_id"], nobodys, "{frame:?}");
    }
}

#[tokio::test]
async fn node_classes_are_told_as_a_real_server_tells_them() {
    let world = World::start().await;
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/comfyui/object_info.json");
    let recorded: Value = serde_json::from_slice(&std::fs::read(recorded).unwrap()).unwrap();
    let response = world.get("/object_info").await;
    assert_eq!(response.headers()["content-type"], "application/json");
    let classes: Value = response.json().await.unwrap();
    let members = |class: &Value| -> Vec<String> {
        let members = class.as_object().unwrap().keys();
        let told = members
            .filter(|name| !["description", "python_module", "search_aliases"].contains(&name.as_str()));
        let mut told: Vec<String> = told.cloned().collect();
        told.sort();
        told
    };
    for name in ["SaveImage", "EmptyImage", "KSampler", "LoadImage", "CLIPTextEncode", "VAEDecode"] {
        let (here, there) = (&classes[name], &recorded[name]);
        assert_eq!(members(here), members(there), "{name}");
        for member in ["input_order", "output", "output_is_list", "output_name", "name", "output_node"] {
            assert_eq!(here[member], there[member], "{member} of {name}");
        }
        for (input, what) in there["input"]["required"].as_object().unwrap() {
            let told = &here["input"]["required"][input];
            assert_eq!(told[0].is_array(), what[0].is_array(), "{input} of {name}: {told}");
            assert_eq!(told.as_array().unwrap().len(), what.as_array().unwrap().len(), "{input} of {name}");
        }
        assert_eq!(world.get_json(&format!("/object_info/{name}")).await, json!({name: here}));
    }
}

#[tokio::test]
async fn a_client_that_waits_for_an_empty_queue_is_not_held_up_by_others() {
    let world = World::start().await;
    let busy = world.prompt(slow_picture(600.0), Some("busy")).await;
    world.runs(&busy).await;
    let mut idle = Socket::open(&world, "idle").await;
    assert_eq!(remaining(&[idle.next().await]), [0], "others' jobs are not its own");
    let mut theirs = Socket::open(&world, "busy").await;
    assert_eq!(remaining(&[theirs.next().await]), [1]);
    world.prompt(picture(1), Some("busy")).await;
    let id = world.prompt(picture(2), Some("idle")).await;
    assert_eq!(remaining(&[idle.next().await]), [1]);
    world.post("/interrupt", &json!({"client_id": "busy"})).await;
    let heard = idle.until_left(&id).await;
    assert_eq!(remaining(&heard).last(), Some(&0), "{:?}", kinds(&heard));
}

#[tokio::test]
async fn queue_and_history_are_read_at_any_rate() {
    let world = World::start().await;
    let one = std::num::NonZeroU32::new(1);
    let limits =
        TenantLimits { submissions_per_minute: one, submissions_burst: one, ..TenantLimits::default() };
    let key = bounded(&world, limits).await;
    let submit = async |workflow: Value| {
        let request = world.request(Method::POST, "/prompt").bearer_auth(&key);
        request.json(&json!({"prompt": workflow})).send().await.unwrap()
    };
    let answer: Value = submit(slow_picture(600.0)).await.json().await.unwrap();
    let id = &answer["prompt_id"];
    assert_eq!(submit(picture(1)).await.status(), StatusCode::TOO_MANY_REQUESTS, "its rate is used up");
    let reads = (0..300).map(|turn| {
        let path = if turn % 2 == 0 { "/queue" } else { "/history?max_items=200" };
        let request = world.request(Method::GET, path).bearer_auth(&key);
        async move { (path, request.send().await.unwrap()) }
    });
    for (path, response) in join_all(reads).await {
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        let body: Value = response.json().await.unwrap();
        let rows =
            ["queue_running", "queue_pending"].map(|rows| body[rows].as_array().cloned().unwrap_or_default());
        let is_there = rows.concat().iter().any(|row| row[1] == *id);
        assert!(path != "/queue" || is_there, "an empty list would look like the end: {body}");
    }
}

#[tokio::test]
async fn a_burst_of_prompts_waits_and_none_of_it_is_refused() {
    let world = World::start().await;
    let running = world.prompt(slow_picture(600.0), None).await;
    world.runs(&running).await;
    let posts = (0..150).map(|color| {
        let request = world.request(Method::POST, "/prompt").json(&json!({"prompt": picture(color)}));
        async move { request.send().await.unwrap().status() }
    });
    let statuses = join_all(posts).await;
    assert!(statuses.iter().all(|status| *status == StatusCode::OK), "{statuses:?}");
    assert_eq!(world.queued().await.1.len(), 150);
}

#[tokio::test]
async fn a_prompt_beyond_a_tenants_bounds_is_refused_in_comfyuis_shape() {
    let world = World::start().await;
    let key = bounded(&world, TenantLimits { queued: Some(1), ..TenantLimits::default() }).await;
    let submit = async || {
        let request = world.request(Method::POST, "/prompt").bearer_auth(&key);
        request.json(&json!({"prompt": slow_picture(600.0)})).send().await.unwrap()
    };
    let mut refused = submit().await;
    for _ in 0..4 {
        refused = submit().await;
    }
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.headers().contains_key("retry-after"));
    let body: Value = refused.json().await.unwrap();
    for member in ["type", "message", "details"] {
        assert!(body["error"][member].is_string(), "{member}: {body}");
    }
    assert_eq!(body["node_errors"], json!({}));
}
