//! What callers ask of their deliveries, what their tenants allow, and what they get to see.

use comfyui_sim::Config as SimConfig;
use gateway::store::{Scope, TenantDraft, TenantSettings};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::world::{World, problem_code, until};

/// A picture large enough for a label.
fn picture(color: u32) -> Value {
    json!({
        "1": {"class_type": "EmptyImage", "inputs": {"width": 320, "height": 320, "batch_size": 1, "color": color}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "pic"}},
    })
}

fn label() -> Value {
    json!({"content_producer": "001191310000MA1FL4B51700000"})
}

/// Two sinks; the tenant of the open door may use one of them.
async fn world(settings: Value) -> World {
    let folder = tempfile::tempdir().unwrap();
    let sink = |name: &str| {
        format!("[[sinks]]\nname = \"{name}\"\nurl = \"file:{}/{name}\"\n", folder.path().display())
    };
    let world =
        World::with_settings(vec![SimConfig::default()], &(sink("cn") + &sink("eu")), &settings, folder)
            .await;
    world.usable().await;
    world
}

async fn submit(world: &World, body: &Value) -> Value {
    let response = world.post("/v1/jobs", body).await;
    let status = response.status();
    let job: Value = response.json().await.unwrap();
    assert_eq!(status, StatusCode::CREATED, "{job}");
    world.reaches(job["urls"]["self"].as_str().unwrap(), "succeeded").await
}

async fn bytes(world: &World, url: &str) -> Vec<u8> {
    let path = url.strip_prefix(&world.base).unwrap();
    let response = world.get(path).await;
    assert_eq!(response.status(), StatusCode::OK, "{url}");
    response.bytes().await.unwrap().to_vec()
}

fn holds_graph(bytes: &[u8]) -> bool {
    bytes.windows(15).any(|window| window == b"filename_prefix")
}

#[tokio::test]
async fn jobs_of_v1_are_stripped_and_those_of_v2_are_not() {
    let world = world(json!({})).await;
    let job = submit(&world, &json!({"workflow": picture(1)})).await;
    let output = &job["outputs"][0];
    assert_eq!((&output["width"], &output["sink"]), (&json!(320), &Value::Null));
    assert!(!holds_graph(&bytes(&world, output["url"].as_str().unwrap()).await));
    let kept = submit(&world, &json!({"workflow": picture(2), "pictures": {"metadata": "keep"}})).await;
    assert!(holds_graph(&bytes(&world, kept["outputs"][0]["url"].as_str().unwrap()).await));
    assert_eq!(kept["outputs"][0]["width"], 320, "the first bytes tell");
    let plain = world.submit(picture(3)).await;
    let plain = world.reaches(plain["urls"]["self"].as_str().unwrap(), "succeeded").await;
    assert!(holds_graph(&bytes(&world, plain["outputs"][0]["url"].as_str().unwrap()).await));
}

#[tokio::test]
async fn the_tenants_policy_is_the_default_and_the_bound_of_its_jobs() {
    let settings = json!({
        "pictures": {"metadata": "strip", "format": {"type": "webp"}, "label": label(),
            "variants": [{"name": "thumb", "max_edge": 160}], "placeholder": true},
        "sinks": ["cn"], "sink": "cn",
    });
    let world = world(settings).await;
    let job = submit(&world, &json!({"workflow": picture(1)})).await;
    let output = &job["outputs"][0];
    assert_eq!((&output["content_type"], &output["sink"]), (&json!("image/webp"), &json!("cn")));
    assert_eq!(output["name"], "pic_00001_.webp");
    assert!(output["placeholder"].is_string(), "{output}");
    let thumb = &output["variants"][0];
    assert_eq!((&thumb["name"], &thumb["width"]), (&json!("thumb"), &json!(160)));
    for file in [output, thumb] {
        let bytes = bytes(&world, file["url"].as_str().unwrap()).await;
        assert_eq!(gateway::pictures::labels_in(&bytes).unwrap().len(), 1);
    }
    // the other face sees the same primary, and nothing of variants
    let shown = world.get_json(&format!("/api/v2/jobs/{}", job["id"].as_str().unwrap())).await;
    assert_eq!(shown["outputs"][0]["hash"], output["hash"]);
    assert_eq!(shown["outputs"][0]["content_type"], "image/webp");
    assert!(shown["outputs"][0].get("variants").is_none());
    // and its jobs are labelled as well
    let v2 = world.submit(picture(2)).await;
    let v2 = world.reaches(v2["urls"]["self"].as_str().unwrap(), "succeeded").await;
    let labelled = bytes(&world, v2["outputs"][0]["url"].as_str().unwrap()).await;
    assert_eq!(gateway::pictures::labels_in(&labelled).unwrap().len(), 1);

    for (wish, code) in [
        (json!({"pictures": {"label": false}}), "picture_policy"),
        (json!({"pictures": {"metadata": "keep"}}), "picture_policy"),
        (json!({"pictures": {"format": {"type": "png", "quality": 3}}}), "picture_policy"),
        (json!({"sink": "eu"}), "sink_unknown"),
        (json!({"sink": "nowhere"}), "sink_unknown"),
        (json!({"ticket_url": "https://a.example/tickets"}), "signing_key_missing"),
    ] {
        let mut body = json!({"workflow": picture(9)});
        body.as_object_mut().unwrap().extend(wish.as_object().unwrap().clone());
        let refused = world.post("/v1/jobs", &body).await;
        assert_eq!(problem_code(refused, StatusCode::UNPROCESSABLE_ENTITY).await, code, "{wish}");
    }
    let typo = world.post("/v1/jobs", &json!({"workflow": picture(9), "pictures": {"labels": true}})).await;
    assert_eq!(problem_code(typo, StatusCode::BAD_REQUEST).await, "invalid_request");
}

#[tokio::test]
async fn a_range_of_a_deliverable_is_served_from_its_own_store() {
    let world = world(json!({"sinks": ["cn", "eu"]})).await;
    let job = submit(&world, &json!({"workflow": picture(1), "sink": "eu"})).await;
    let output = &job["outputs"][0];
    let url = output["url"].as_str().unwrap();
    let whole = bytes(&world, url).await;
    let path = url.strip_prefix(&world.base).unwrap();
    let part = world.request(Method::GET, path).header("range", "bytes=2-5").send().await.unwrap();
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.bytes().await.unwrap(), whole[2..6]);
    assert_eq!(whole.len() as u64, output["size_bytes"].as_u64().unwrap());
    // chained, the original is read: it has what the deliverable has not
    let chained = json!({
        "1": {"class_type": "LoadImage", "inputs": {"image": {"__type": "core/ASSET", "info": {"id": output["id"]}}}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "again"}},
    });
    let again = submit(&world, &json!({"workflow": chained})).await;
    assert_eq!(again["outputs"][0]["name"], "again_00001_.png");
    let staged = world.sims[0].observed().prompts.last().unwrap().graph["1"]["inputs"]["image"].clone();
    let deliverable = output["hash"].as_str().unwrap().trim_start_matches("blake3:");
    assert!(!staged.as_str().unwrap().contains(deliverable), "{staged}");
}

#[tokio::test]
async fn a_ticket_url_that_is_never_spoken_to_is_refused_at_the_door() {
    let settings = json!({"webhook": {"keys": [{"id": "k1", "secret": "s"}]}});
    let world = world(settings).await;
    for url in ["http://a.example/", "ftp://a.example/", "https://user:pass@a.example/", "nonsense"] {
        let refused = world.post("/v1/jobs", &json!({"workflow": picture(1), "ticket_url": url})).await;
        assert_eq!(problem_code(refused, StatusCode::UNPROCESSABLE_ENTITY).await, "url_refused", "{url}");
    }
    let both = json!({"workflow": picture(1), "ticket_url": "https://a.example/", "sink": "cn"});
    let refused = world.post("/v1/jobs", &both).await;
    assert_eq!(problem_code(refused, StatusCode::BAD_REQUEST).await, "invalid_request");
}

#[tokio::test]
async fn for_whom_a_job_is_done_never_reaches_a_server() {
    let world = world(json!({})).await;
    let body = json!({
        "workflow": picture(1), "user": "openid-of-anna", "labels": {"order": "label-of-anna"},
        "extra_pnginfo": {"workflow": {"name": "hers"}},
    });
    let job = submit(&world, &body).await;
    assert_eq!(job["user"], "openid-of-anna");
    let seen = serde_json::to_string(&world.sims[0].observed()).unwrap();
    assert!(seen.contains("hers") && seen.contains("filename_prefix"), "the prompt is looked at: {seen}");
    assert!(!seen.contains("of-anna"), "{seen}");
}

#[tokio::test]
async fn two_tenants_side_by_side_get_each_its_own_policy() {
    let world = world(json!({})).await;
    let key = async |name: &str, pictures: Value| {
        let settings: TenantSettings = serde_json::from_value(json!({"pictures": pictures})).unwrap();
        let draft = TenantDraft { name: name.into(), weight: 1, concurrency: u32::MAX, settings };
        world.app.tenants().admin("test").add_tenant(draft).await.unwrap();
        world.key(name, Scope::Submit).await
    };
    let labelled = key("labelled", json!({"label": label(), "format": {"type": "webp"}})).await;
    let stripped = key("stripped", json!({"metadata": "strip"})).await;
    let plain = key("plain", json!({"metadata": "keep"})).await;
    let ask = async |key: &str, method: Method, path: &str, body: Option<Value>| {
        let request = world.request(method, path).bearer_auth(key);
        let request = body.iter().fold(request, |request, body| request.json(body));
        request.send().await.unwrap()
    };
    // the same graph for all three, at the same time, by either face
    let made = async |key: &str, face: &str| {
        let body = json!({"workflow": picture(5)});
        let job: Value = ask(key, Method::POST, face, Some(body)).await.json().await.unwrap();
        let path = format!("/v1/jobs/{}", job["id"].as_str().unwrap());
        let job = until("the job has ended", async || {
            let job: Value = ask(key, Method::GET, &path, None).await.json().await.unwrap();
            (job["status"] == "succeeded").then_some(job)
        })
        .await;
        let url = job["outputs"][0]["url"].as_str().unwrap().strip_prefix(&world.base).unwrap().to_owned();
        ask(key, Method::GET, &url, None).await.bytes().await.unwrap().to_vec()
    };
    let labels = |bytes: &[u8]| gateway::pictures::labels_in(bytes).unwrap().len();
    for face in ["/v1/jobs", "/api/v2/jobs"] {
        let (with_label, without_graph, as_made) =
            tokio::join!(made(&labelled, face), made(&stripped, face), made(&plain, face));
        assert_eq!((labels(&with_label), &with_label[8..12]), (1, &b"WEBP"[..]), "{face}");
        assert_eq!((labels(&without_graph), holds_graph(&without_graph)), (0, false), "{face}");
        assert_eq!((labels(&as_made), holds_graph(&as_made)), (0, true), "{face}");
        assert!(without_graph.starts_with(b"\x89PNG") && as_made.starts_with(b"\x89PNG"), "{face}");
    }
}
