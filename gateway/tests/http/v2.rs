//! Jobs of Comfy API v2.

use comfyui_sim::Config as SimConfig;
use gateway::store::Scope;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::world::{World, picture, slow_picture, v2_code};

#[tokio::test]
async fn a_workflow_becomes_a_picture_with_its_size_its_hash_and_its_times() {
    let world = World::start().await;
    let job = world.submit(picture(0xff_0000)).await;
    assert_eq!((&job["status"], &job["outputs"]), (&json!("queued"), &json!([])));
    assert_eq!(job["queue_position"], Value::Null, "never a false position");

    let job = world.reaches(job["urls"]["self"].as_str().unwrap(), "succeeded").await;
    for time in ["created_at", "started_at", "completed_at", "expires_at"] {
        assert!(job[time].as_str().is_some_and(|text| text.ends_with('Z')), "{time}: {job}");
    }
    let output = &job["outputs"][0];
    assert_eq!((&output["type"], &output["content_type"]), (&json!("image"), &json!("image/png")));
    let bytes =
        world.client.get(output["url"].as_str().unwrap()).send().await.unwrap().bytes().await.unwrap();
    assert_eq!(output["size_bytes"], bytes.len());
    assert_eq!(output["hash"], format!("blake3:{}", blake3::hash(&bytes).to_hex()));
    assert!(output["url"].as_str().unwrap().starts_with(&world.base));
    let again = world.get_json(job["urls"]["self"].as_str().unwrap()).await;
    assert_eq!(again["outputs"][0]["id"], output["id"], "an output keeps its id");
}

#[tokio::test]
async fn a_job_polled_without_pause_never_leaves_the_road_to_success() {
    let world = World::start().await;
    for color in 0..40 {
        let job = world.submit(picture(color)).await;
        let path = job["urls"]["self"].as_str().unwrap();
        let mut furthest = 0;
        while furthest < 2 {
            let status = world.get_json(path).await["status"].as_str().unwrap().to_owned();
            let place = ["queued", "running", "succeeded"].iter().position(|known| *known == status);
            let place = place.unwrap_or_else(|| panic!("{status} is no step of a job that succeeds"));
            assert!(place >= furthest, "{status} is a step back");
            furthest = place;
        }
    }
}

#[tokio::test]
async fn a_bad_body_is_refused_with_the_contracts_code() {
    let world = World::start().await;
    let good = picture(1);
    let row = |body: Value, status: u16, code: &'static str| (body, status, code);
    for (body, status, code) in [
        row(json!({}), 400, "invalid_request"),
        row(json!([]), 400, "invalid_request"),
        row(json!({"workflow": {"nodes": [], "links": []}}), 422, "workflow_format_ui"),
        row(json!({"workflow": {}}), 422, "invalid_workflow"),
        row(json!({"workflow": "x"}), 422, "invalid_workflow"),
        row(json!({"workflow": {"1": {"class_type": "NoSuchClass", "inputs": {}}}}), 422, "invalid_workflow"),
        row(json!({"workflow": good, "webhook_url": "http://x"}), 422, "invalid_workflow"),
        row(json!({"workflow": good, "inputs": {}}), 422, "invalid_workflow"),
        row(json!({"workflow": good, "extra_data": {"other": 1}}), 400, "invalid_request"),
        row(json!({"workflow": good, "extra_data": {"api_key_comfy_org": null}}), 400, "invalid_request"),
        row(json!({"workflow": good, "metadata": "text"}), 422, "metadata_invalid"),
        row(json!({"workflow": good, "priority": 1_000_001}), 400, "invalid_request"),
    ] {
        let response = world.post("/api/v2/jobs", &body).await;
        assert_eq!(v2_code(response, StatusCode::from_u16(status).unwrap()).await, code, "{body}");
    }
    let accepted =
        json!({"workflow": good, "webhook_url": null, "inputs": null, "priority": -5, "extra_data": {}});
    assert_eq!(world.post("/api/v2/jobs", &accepted).await.status(), StatusCode::CREATED);
}

#[tokio::test]
async fn an_unknown_class_is_named_with_its_node() {
    let world = World::start().await;
    let workflow = json!({
        "7": {"class_type": "NoSuchClass", "inputs": {}},
        "8": {"class_type": "SaveImage", "inputs": {"images": ["7", 0], "filename_prefix": "x"}},
    });
    let response = world.post("/api/v2/jobs", &json!({"workflow": workflow})).await;
    let body: Value = response.json().await.unwrap();
    let details = &body["error"]["details"];
    assert_eq!(details["missing"], json!(["NoSuchClass"]), "{body}");
    assert!(details["comfyui"]["error"]["type"].is_string(), "{body}");
}

#[tokio::test]
async fn bodies_that_are_no_json_or_too_large_get_the_envelope_too() {
    let world = World::with(vec![], "[http]\nmax_body_bytes = 1000\n").await;
    let send = |media: &'static str, body: String| {
        world.request(Method::POST, "/api/v2/jobs").header("content-type", media).body(body).send()
    };
    let broken = send("application/json", "{".into()).await.unwrap();
    assert_eq!(v2_code(broken, StatusCode::BAD_REQUEST).await, "invalid_request");
    let form = send("application/x-www-form-urlencoded", "a=b".into()).await.unwrap();
    assert_eq!(v2_code(form, StatusCode::UNSUPPORTED_MEDIA_TYPE).await, "unsupported_media_type");
    let large = send("application/json", " ".repeat(1001)).await.unwrap();
    assert_eq!(v2_code(large, StatusCode::PAYLOAD_TOO_LARGE).await, "payload_too_large");
    let chunks = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(" ".repeat(100))).take_n(11);
    let chunked = world
        .request(Method::POST, "/api/v2/jobs")
        .header("content-type", "application/json")
        .body(reqwest::Body::wrap_stream(chunks))
        .send()
        .await
        .unwrap();
    assert_eq!(v2_code(chunked, StatusCode::PAYLOAD_TOO_LARGE).await, "payload_too_large");
}

trait TakeN: futures_util::Stream + Sized {
    fn take_n(self, n: usize) -> futures_util::stream::Take<Self> {
        futures_util::StreamExt::take(self, n)
    }
}

impl<S: futures_util::Stream> TakeN for S {}

#[tokio::test]
async fn unknown_things_routes_and_methods_get_the_envelope_and_a_request_id() {
    let world = World::with(vec![], "").await;
    let id = "00000000-0000-7000-8000-000000000000";
    for path in [
        format!("/api/v2/jobs/{id}"),
        "/api/v2/jobs/none".into(),
        format!("/api/v2/jobs/{id}/events"),
        "/api/v2/none".into(),
        "/api/v2".into(),
    ] {
        let response = world.get(&path).await;
        assert_eq!(response.headers()["x-request-id"], response.headers()["x-comfy-request-id"]);
        assert_eq!(v2_code(response, StatusCode::NOT_FOUND).await, "not_found", "{path}");
    }
    let response =
        world.request(Method::DELETE, "/api/v2/jobs").header("x-request-id", "mine-1").send().await.unwrap();
    assert_eq!(response.headers()["x-request-id"], "mine-1");
    assert!(response.headers().contains_key("allow"));
    assert_eq!(v2_code(response, StatusCode::METHOD_NOT_ALLOWED).await, "method_not_allowed");
}

#[tokio::test]
async fn a_key_is_single_use_and_a_refusal_gives_it_back() {
    let world = World::start().await;
    let submit = async |key: &str, body: Value| {
        world
            .request(Method::POST, "/api/v2/jobs")
            .header("idempotency-key", key)
            .json(&body)
            .send()
            .await
            .unwrap()
    };
    let bad = json!({"workflow": {}});
    let good = json!({"workflow": picture(1)});
    assert_eq!(
        v2_code(submit("k", bad.clone()).await, StatusCode::UNPROCESSABLE_ENTITY).await,
        "invalid_workflow"
    );
    assert_eq!(submit("k", good.clone()).await.status(), StatusCode::CREATED);
    for body in [good, json!({"workflow": picture(2)}), bad, json!({})] {
        let again = submit("k", body).await;
        assert!(!again.headers().contains_key("idempotency-replayed"));
        assert_eq!(v2_code(again, StatusCode::UNPROCESSABLE_ENTITY).await, "idempotency_key_reuse");
    }
    let empty = submit("", json!({"workflow": picture(3)})).await;
    assert_eq!(v2_code(empty, StatusCode::BAD_REQUEST).await, "invalid_request");
}

#[tokio::test]
async fn a_full_queue_is_429_with_whole_seconds_and_gives_the_key_back() {
    let toml = "[scheduler]\nhigh_watermark = 2\nlow_watermark = 1\n";
    let world = World::with(vec![], toml).await;
    let mut refused = None;
    for n in 0..4 {
        let request = world.request(Method::POST, "/api/v2/jobs").header("idempotency-key", format!("k{n}"));
        let response = request.json(&json!({"workflow": picture(n)})).send().await.unwrap();
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            refused = Some((n, response));
            break;
        }
    }
    let (n, response) = refused.expect("a queue of two cannot take four");
    let seconds: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!(seconds >= 1);
    assert_eq!(v2_code(response, StatusCode::TOO_MANY_REQUESTS).await, "queue_full");
    let request = world.request(Method::POST, "/api/v2/jobs").header("idempotency-key", format!("k{n}"));
    let again = request.json(&json!({"workflow": picture(9)})).send().await.unwrap();
    assert_eq!(v2_code(again, StatusCode::TOO_MANY_REQUESTS).await, "queue_full", "not a reuse");
}

#[tokio::test]
async fn a_queued_job_that_is_canceled_ends_canceled_and_stays_so() {
    let world = World::with(vec![], "").await;
    let job = world.submit(picture(1)).await;
    let path = job["urls"]["self"].as_str().unwrap();
    let cancel = job["urls"]["cancel"].as_str().unwrap();
    for _ in 0..2 {
        let response = world.request(Method::POST, cancel).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.json::<Value>().await.unwrap()["status"], "canceled");
    }
    assert_eq!(world.get_json(path).await["status"], "canceled");
}

#[tokio::test]
async fn a_running_job_is_stopped_by_a_cancel() {
    let world = World::start().await;
    let job = world.submit(slow_picture(60.0)).await;
    let path = job["urls"]["self"].as_str().unwrap();
    world.reaches(path, "running").await;
    let response = world.request(Method::POST, job["urls"]["cancel"].as_str().unwrap()).send().await.unwrap();
    let status = response.json::<Value>().await.unwrap()["status"].as_str().unwrap().to_owned();
    assert!(status == "canceling" || status == "canceled", "{status}");
    assert_eq!(world.reaches(path, "canceled").await["outputs"], json!([]));
}

#[tokio::test]
async fn the_workflow_of_a_job_is_the_callers_own() {
    let world = World::start().await;
    let workflow = picture(5);
    let job = world.submit(workflow.clone()).await;
    let shown = world.get_json(&format!("{}/workflow", job["urls"]["self"].as_str().unwrap())).await;
    assert_eq!(shown, json!({"workflow": workflow, "format": "api"}));
}

#[tokio::test]
async fn a_list_pages_through_all_jobs_newest_first_and_filters_by_label_and_status() {
    let world = World::with(vec![], "").await;
    let mut ids = Vec::new();
    for n in 0..5 {
        let body = json!({"workflow": picture(n), "metadata": {"half": if n < 3 { "a" } else { "b" }}});
        let job: Value = world.post("/api/v2/jobs", &body).await.json().await.unwrap();
        ids.insert(0, job["id"].clone());
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    for _ in 0..3 {
        let page = world.get_json(&format!("/api/v2/jobs?limit=2&cursor={cursor}")).await;
        for item in page["jobs"].as_array().unwrap() {
            assert!(item["created_at"].is_string() && item["create_time"].is_string());
            seen.push(item["id"].clone());
        }
        cursor = page["next_cursor"].as_str().unwrap_or_default().to_owned();
    }
    assert_eq!((seen, cursor.as_str()), (ids, ""));
    let count = async |query: &str| {
        world.get_json(&format!("/api/v2/jobs?{query}")).await["jobs"].as_array().unwrap().len()
    };
    assert_eq!(count("metadata[half]=a").await, 3);
    assert_eq!(count("metadata%5Bhalf%5D=b&status=queued,running").await, 2);
    assert_eq!(count("status=running").await, 0);
    assert_eq!(count("status=expired").await, 0);
    assert_eq!(
        v2_code(world.get("/api/v2/jobs?cursor=zz").await, StatusCode::BAD_REQUEST).await,
        "invalid_cursor"
    );
}

#[tokio::test]
async fn an_earlier_output_is_an_input_of_the_next_job() {
    let world = World::start().await;
    let first = world.submit(picture(0x00_ff00)).await;
    let first = world.reaches(first["urls"]["self"].as_str().unwrap(), "succeeded").await;
    let reference = json!({"__type": "core/ASSET", "info": {"id": first["outputs"][0]["id"]}});
    let workflow = json!({
        "1": {"class_type": "LoadImage", "inputs": {"image": reference}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "chained"}},
    });
    let second = world.submit(workflow).await;
    let second = world.reaches(second["urls"]["self"].as_str().unwrap(), "succeeded").await;
    assert_eq!(second["outputs"][0]["type"], "image");
}

#[tokio::test]
async fn a_reference_to_a_foreign_or_unknown_asset_is_missing() {
    let world = World::start().await;
    let (mine, theirs) = (world.key("mine", Scope::Submit).await, world.key("theirs", Scope::Submit).await);
    let form = reqwest::multipart::Form::new()
        .text("content_type", "image/png")
        .text("file_path", "a.png")
        .part("file", reqwest::multipart::Part::bytes(b"bytes".to_vec()));
    let asset = world
        .request(Method::POST, "/api/v2/assets")
        .bearer_auth(&theirs)
        .multipart(form)
        .send()
        .await
        .unwrap();
    let asset: Value = asset.json().await.unwrap();
    for id in [asset["id"].as_str().unwrap(), "00000000-0000-7000-8000-000000000000"] {
        let reference = json!({"__type": "core/ASSET", "info": {"id": id}});
        let workflow = json!({
            "1": {"class_type": "LoadImage", "inputs": {"image": reference}},
            "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
        });
        let body = json!({"workflow": workflow});
        let response =
            world.request(Method::POST, "/api/v2/jobs").bearer_auth(&mine).json(&body).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["error"]["code"], "missing_asset", "{body}");
        assert_eq!(body["error"]["details"]["missing_ids"], json!([id]));
    }
}

#[tokio::test]
async fn health_is_open_and_names_no_upstream() {
    let world = World::with(vec![SimConfig::default()], "").await;
    let text = world.get("/api/v2/health").await.text().await.unwrap();
    assert!(text.contains("\"status\":\"ok\""), "{text}");
    assert!(!text.contains(&world.sims[0].url()) && !text.contains("127.0.0.1"), "{text}");
}
