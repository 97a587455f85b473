//! Jobs submitted together.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::world::{World, picture, problem_code, until};

async fn send(world: &World, key: &str, body: &Value) -> reqwest::Response {
    world.request(Method::POST, "/v1/batches").header("idempotency-key", key).json(body).send().await.unwrap()
}

fn batch(colors: &[u32]) -> Value {
    let jobs: Vec<_> =
        colors.iter().map(|color| json!({"workflow": picture(*color), "user": "anna"})).collect();
    json!({"jobs": jobs})
}

#[tokio::test]
async fn a_batch_is_accepted_whole_and_counted_by_status() {
    let world = World::start().await;
    let first = send(&world, "k", &batch(&[1, 2, 3])).await;
    assert_eq!(first.status(), StatusCode::CREATED);
    let text = first.text().await.unwrap();
    let accepted: Value = serde_json::from_str(&text).unwrap();
    let id = accepted["id"].as_str().unwrap();
    assert!(accepted["jobs"].as_array().unwrap().iter().all(|job| job["batch"] == id), "{accepted}");
    let path = format!("/v1/batches/{id}");
    let ended = until("the batch has ended", || async {
        let batch = world.get_json(&path).await;
        (batch["ended"] == true).then_some(batch)
    })
    .await;
    assert_eq!(ended["counts"], json!({"succeeded": 3}));
    let order = |batch: &Value| -> Vec<Value> {
        batch["jobs"].as_array().unwrap().iter().map(|job| job["id"].clone()).collect()
    };
    assert_eq!(order(&ended), order(&accepted), "in the order of the submission");
    assert_eq!(world.get_json(&format!("/v1/jobs?batch={id}")).await["jobs"].as_array().unwrap().len(), 3);

    let again = send(&world, "k", &batch(&[1, 2, 3])).await;
    assert_eq!(again.headers()["idempotency-replayed"], "true");
    assert_eq!(again.text().await.unwrap(), text);
    let other = send(&world, "k", &batch(&[1, 2])).await;
    assert_eq!(problem_code(other, StatusCode::CONFLICT).await, "idempotency_conflict");
    assert_eq!(world.get_json("/v1/jobs").await["jobs"].as_array().unwrap().len(), 3);
    for none in ["/v1/batches/none", "/v1/batches/019b7c5e-2b4e-7000-8000-000000000001"] {
        assert_eq!(problem_code(world.get(none).await, StatusCode::NOT_FOUND).await, "not_found");
    }
}

#[tokio::test]
async fn one_bad_job_keeps_all_out_and_is_named() {
    let world = World::start().await;
    let unknown_class = json!({"workflow": {"1": {"class_type": "No", "inputs": {}}}});
    let missing = "019b7c5e-2b4e-7000-8000-000000000001";
    let image = json!({"__type": "core/ASSET", "info": {"id": missing}});
    let missing_asset = json!({"workflow": {
        "1": {"class_type": "LoadImage", "inputs": {"image": image}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    }});
    let good = json!({"workflow": picture(1)});
    for (bad, status, code) in [
        (unknown_class, 422, "invalid_workflow"),
        (missing_asset, 422, "missing_asset"),
        (json!({"workflow": picture(1), "labels": {"": "x"}}), 422, "labels_invalid"),
        (json!({"workflow": picture(1), "user": ""}), 400, "invalid_request"),
    ] {
        let refused = send(&world, "k", &json!({"jobs": [good, bad]})).await;
        assert_eq!(refused.status(), status, "{code}");
        let problem: Value = refused.json().await.unwrap();
        let told = &problem["details"]["jobs"][0];
        assert_eq!(
            (&problem["code"], &told["index"], &told["code"]),
            (&json!(code), &json!(1), &json!(code))
        );
    }
    for bad in [json!({"jobs": []}), json!({"jobs": vec![good.clone(); 101]}), json!({"job": [good]})] {
        let refused = world.post("/v1/batches", &bad).await;
        assert_eq!(problem_code(refused, StatusCode::BAD_REQUEST).await, "invalid_request");
    }
    assert_eq!(world.get_json("/v1/jobs").await["jobs"], json!([]), "nothing of any of them is kept");
    assert_eq!(send(&world, "k", &batch(&[1])).await.status(), StatusCode::CREATED, "and the key is free");
}

#[tokio::test]
async fn a_batch_without_room_for_all_leaves_no_job_behind() {
    let world = World::with(vec![], "[scheduler]\ntenant_queue = 3\n").await;
    assert_eq!(send(&world, "a", &batch(&[1, 2])).await.status(), StatusCode::CREATED);
    let refused = send(&world, "b", &batch(&[3, 4])).await;
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(problem_code(refused, StatusCode::TOO_MANY_REQUESTS).await, "queue_full");
    assert_eq!(world.get_json("/v1/jobs").await["jobs"].as_array().unwrap().len(), 2);
    assert_eq!(send(&world, "b", &batch(&[3])).await.status(), StatusCode::CREATED, "one still fits");
}
