//! Estimates, ceilings, usage.

use comfyui_sim::{Config as SimConfig, Device};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::v1_jobs::{path, submit};
use crate::world::{World, picture, problem_code, slow_picture};

const PRICES: &str =
    "[prices]\ncurrency = \"CNY\"\nper_gpu_second = { t4 = 1000, a100 = 8000 }\nminimum_per_job = 50\n";

async fn priced() -> World {
    let sims = vec![
        SimConfig { device: Device::t4(), ..SimConfig::default() },
        SimConfig { device: Device::a100(), ..SimConfig::default() },
    ];
    let world = World::with(sims, PRICES).await;
    world.usable().await;
    world
}

#[tokio::test]
async fn an_estimate_names_the_price_on_each_class_and_keeps_nothing() {
    let world = priced().await;
    let response = world.post("/v1/estimate", &json!({"workflow": picture(1)})).await;
    assert_eq!(response.status(), StatusCode::OK);
    let estimate: Value = response.json().await.unwrap();
    assert_eq!((&estimate["runnable"], &estimate["currency"]), (&json!(true), &json!("CNY")));
    let classes = estimate["classes"].as_array().unwrap();
    let mut names: Vec<_> = classes.iter().map(|class| class["device_class"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["a100", "t4"], "{estimate}");
    for class in classes {
        let second = if class["device_class"] == "t4" { 1000 } else { 8000 };
        let ms = class["run_ms"].as_u64().unwrap() + class["load_ms"].as_u64().unwrap();
        assert_eq!(
            class["price_at_most_micros"].as_u64().unwrap(),
            (ms * second).div_ceil(1000).max(50),
            "{class}"
        );
    }
    assert!(estimate["predicted_end"].is_string(), "{estimate}");
    assert_eq!(estimate["instances"].as_array().unwrap().len(), 2);
    assert_eq!(world.get_json("/v1/jobs").await["jobs"], json!([]), "nothing is kept");
}

#[tokio::test]
async fn an_estimate_refuses_what_a_submission_would() {
    let world = priced().await;
    let missing = json!({"__type": "core/ASSET", "info": {"id": "019b7c5e-2b4e-7000-8000-000000000001"}});
    let asset = json!({
        "1": {"class_type": "LoadImage", "inputs": {"image": missing}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    });
    for (body, status, code) in [
        (json!({"workflow": {"1": {"class_type": "No", "inputs": {}}}}), 422, "invalid_workflow"),
        (json!({"workflow": asset}), 422, "missing_asset"),
        (json!({"workflow": picture(1), "max_cost_micros": 0}), 422, "cost_ceiling"),
        (json!({}), 400, "invalid_request"),
    ] {
        for route in ["/v1/estimate", "/v1/jobs"] {
            let refused = world.post(route, &body).await;
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(problem_code(refused, status).await, code, "{route} {body}");
        }
    }
    let nobody = World::with(vec![], "[scheduler]\ntenant_queue = 1\n").await;
    let estimate: Value = nobody
        .post("/v1/estimate", &json!({"workflow": picture(1), "max_cost_micros": 1}))
        .await
        .json()
        .await
        .unwrap();
    assert_eq!((&estimate["runnable"], &estimate["price_at_most_micros"]), (&Value::Null, &Value::Null));
    submit(&nobody, json!({"workflow": picture(1)})).await;
    let full = nobody.post("/v1/estimate", &json!({"workflow": picture(1)})).await;
    assert!(full.headers().contains_key("retry-after"));
    assert_eq!(problem_code(full, StatusCode::TOO_MANY_REQUESTS).await, "queue_full");
}

#[tokio::test]
async fn a_ceiling_lets_a_job_in_or_says_what_it_would_cost() {
    let world = priced().await;
    let estimate: Value =
        world.post("/v1/estimate", &json!({"workflow": picture(1)})).await.json().await.unwrap();
    let most = estimate["price_at_most_micros"].as_u64().unwrap();
    let refused = world.post("/v1/jobs", &json!({"workflow": picture(1), "max_cost_micros": most - 1})).await;
    let problem: Value = refused.json().await.unwrap();
    assert_eq!(
        (&problem["code"], &problem["details"]["estimate_micros"]),
        (&json!("cost_ceiling"), &json!(most))
    );
    submit(&world, json!({"workflow": picture(1), "max_cost_micros": most})).await;
    let batch = json!({"jobs": [{"workflow": picture(1)}, {"workflow": picture(1), "max_cost_micros": 1}]});
    let refused = world.post("/v1/batches", &batch).await;
    assert_eq!(problem_code(refused, StatusCode::UNPROCESSABLE_ENTITY).await, "cost_ceiling");
}

fn sum(jobs: &[Value], name: &str) -> u64 {
    jobs.iter().filter_map(|job| job["usage"][name].as_u64()).sum()
}

#[tokio::test]
async fn usage_is_the_sum_of_what_the_jobs_used_before_and_after_a_restart() {
    let world = priced().await;
    let mut made = Vec::new();
    for n in 0..6 {
        let user = if n % 2 == 0 { "anna" } else { "ben" };
        let workflow = if n < 2 { slow_picture(0.2) } else { picture(n) };
        made.push(submit(&world, json!({"workflow": workflow, "user": user, "class": "batch"})).await);
    }
    let failing = json!({
        "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": 1}},
        "2": {"class_type": "TestError", "inputs": {"value": ["1", 0]}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "x"}},
    });
    let failed = world.post("/v1/jobs", &json!({"workflow": failing})).await;
    let failed: Option<Value> =
        if failed.status() == StatusCode::CREATED { Some(failed.json().await.unwrap()) } else { None };
    let mut ended = Vec::new();
    for job in &made {
        ended.push(world.reaches(path(job), "succeeded").await);
    }
    if let Some(failed) = &failed {
        let job = world.reaches(path(failed), "failed").await;
        assert_eq!(job["usage"], Value::Null, "failures are not billed");
    }
    let slow = &ended[0]["usage"];
    assert!(slow["gpu_ms"].as_u64().unwrap() >= 200, "{slow}");
    let check = async |world: &World| {
        let usage = world.get_json("/v1/usage?group_by=user").await;
        let total = &usage["total"];
        assert_eq!(total["jobs"], 6, "{usage}");
        assert_eq!(total["unbilled_jobs"], u64::from(failed.is_some()));
        assert_eq!(total["images"], 6);
        assert_eq!(total["price_micros"].as_u64().unwrap(), sum(&ended, "price_micros"), "{usage}");
        let gpu_ms: u64 = total["gpu_ms"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
        assert_eq!(gpu_ms, sum(&ended, "gpu_ms"), "{usage}");
        let anna = usage["groups"].as_array().unwrap().iter().find(|group| group["key"] == "anna").unwrap();
        assert_eq!(anna["jobs"], 3, "{usage}");
        let by_class = world.get_json("/v1/usage?group_by=class").await;
        assert_eq!(by_class["groups"][0]["key"], "batch");
        let by_day = world.get_json("/v1/usage?group_by=day").await;
        assert_eq!(by_day["groups"].as_array().unwrap().last().unwrap()["key"], by_day["to"]);
    };
    check(&world).await;
    let world = world.restart().await;
    check(&world).await;
}

#[tokio::test]
async fn groups_come_page_by_page_and_bad_periods_are_refused() {
    let world = priced().await;
    for user in ["a", "b", "c"] {
        let job = submit(&world, json!({"workflow": picture(1), "user": user})).await;
        world.reaches(path(&job), "succeeded").await;
    }
    let first = world.get_json("/v1/usage?group_by=user&limit=2").await;
    let keys = |usage: &Value| -> Vec<String> {
        let groups = usage["groups"].as_array().unwrap();
        groups.iter().map(|group| group["key"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(keys(&first), ["a", "b"]);
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = world.get_json(&format!("/v1/usage?group_by=user&limit=2&cursor={cursor}")).await;
    assert_eq!((keys(&second), &second["next_cursor"]), (vec!["c".to_owned()], &Value::Null));
    for bad in [
        "from=2026-02-30",
        "from=2026-03-01&to=2026-02-01",
        "from=2020-01-01&to=2026-01-01",
        "group_by=mood",
        "limit=0",
        "cursor=!",
    ] {
        let refused = world.get(&format!("/v1/usage?{bad}")).await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{bad}");
    }
    let empty = world.get_json("/v1/usage?from=2020-01-01&to=2020-01-31&group_by=day").await;
    assert_eq!((&empty["groups"], &empty["total"]["jobs"]), (&json!([]), &json!(0)));
}
