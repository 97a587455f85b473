//! `/v1` and operations.

use comfyui_sim::Config as SimConfig;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::world::{World, picture, problem_code, slow_picture};

async fn submit(world: &World, key: Option<&str>, body: &str) -> Response {
    let mut request = world.request(Method::POST, "/v1/jobs").header("content-type", "application/json");
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    request.body(body.to_owned()).send().await.unwrap()
}

#[tokio::test]
async fn a_repeat_under_the_same_key_gets_the_first_answer_byte_for_byte() {
    let world = World::start().await;
    let body = json!({"workflow": picture(1), "class": "interactive", "labels": {"user": "7"}}).to_string();
    let first = submit(&world, Some("k"), &body).await;
    assert_eq!(first.status(), StatusCode::CREATED);
    assert!(!first.headers().contains_key("idempotency-replayed"));
    let first = first.text().await.unwrap();
    let job: Value = serde_json::from_str(&first).unwrap();
    world.reaches(job["urls"]["self"].as_str().unwrap(), "succeeded").await;

    let again = submit(&world, Some("k"), &body).await;
    assert_eq!(
        (again.status(), &again.headers()["idempotency-replayed"]),
        (StatusCode::CREATED, &"true".parse().unwrap())
    );
    assert_eq!(again.text().await.unwrap(), first);
    for other in [format!("{body} "), json!({"workflow": {}}).to_string(), "{".into()] {
        let conflict = submit(&world, Some("k"), &other).await;
        assert_eq!(problem_code(conflict, StatusCode::CONFLICT).await, "idempotency_conflict");
    }
    let jobs = world.get_json("/v1/jobs").await;
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_bad_body_is_a_problem_that_names_the_fault() {
    let world = World::start().await;
    let workflow = picture(1);
    for (body, status, code) in [
        (json!({"workflow": workflow, "clas": "batch"}), 400, "invalid_request"),
        (json!({"workflow": workflow, "class": "urgent"}), 400, "invalid_request"),
        (json!({"workflow": workflow, "start_within_seconds": 0}), 400, "invalid_request"),
        (json!({"workflow": workflow, "finish_within_seconds": -1}), 400, "invalid_request"),
        (json!({"workflow": workflow, "extra_pnginfo": []}), 400, "invalid_request"),
        (json!({"workflow": workflow, "labels": {"": "x"}}), 422, "labels_invalid"),
        (json!({"workflow": workflow, "webhook": {"url": "https://x.example"}}), 422, "webhook_refused"),
        (
            json!({"workflow": workflow, "webhook": {"url": "https://x.example", "events": ["x"]}}),
            400,
            "invalid_request",
        ),
        (json!({"workflow": workflow, "ticket_url": "https://x.example"}), 422, "signing_key_missing"),
        (json!({"class": "batch"}), 400, "invalid_request"),
        (json!({"workflow": {"1": {"class_type": "No", "inputs": {}}}}), 422, "invalid_workflow"),
    ] {
        let response = submit(&world, None, &body.to_string()).await;
        assert_eq!(problem_code(response, StatusCode::from_u16(status).unwrap()).await, code, "{body}");
    }
    let response = submit(&world, None, &json!({"workflow": workflow, "clas": 1}).to_string()).await;
    let problem: Value = response.json().await.unwrap();
    assert!(problem["detail"].as_str().unwrap().contains("clas"), "{problem}");
    assert_eq!(problem_code(world.get("/v1/none").await, StatusCode::NOT_FOUND).await, "not_found");
    let method = world.request(Method::DELETE, "/v1/jobs").send().await.unwrap();
    assert_eq!(problem_code(method, StatusCode::METHOD_NOT_ALLOWED).await, "method_not_allowed");
}

#[tokio::test]
async fn a_job_past_its_deadline_is_expired_here_and_failed_in_v2() {
    let world = World::with(vec![], "").await;
    let body = json!({"workflow": picture(1), "finish_within_seconds": 1}).to_string();
    let job: Value = submit(&world, None, &body).await.json().await.unwrap();
    let id = job["id"].as_str().unwrap();
    let ended = world.reaches(&format!("/v1/jobs/{id}"), "expired").await;
    assert_eq!(ended["error"]["code"], "deadline_exceeded");
    let shown = world.get_json(&format!("/api/v2/jobs/{id}")).await;
    assert_eq!((&shown["status"], &shown["error"]["code"]), (&json!("failed"), &json!("deadline_exceeded")));
}

#[tokio::test]
async fn a_waiting_job_is_explained_in_words_and_an_ended_one_too() {
    let world = World::start().await;
    let running: Value = submit(&world, None, &json!({"workflow": slow_picture(60.0)}).to_string())
        .await
        .json()
        .await
        .unwrap();
    world.reaches(running["urls"]["self"].as_str().unwrap(), "running").await;
    for n in 0..2 {
        submit(&world, None, &json!({"workflow": picture(n)}).to_string()).await;
    }
    let waiting: Value =
        submit(&world, None, &json!({"workflow": picture(9)}).to_string()).await.json().await.unwrap();
    let explained = world.get_json(waiting["urls"]["explain"].as_str().unwrap()).await;
    assert_eq!(
        (&explained["status"], &explained["cause"]),
        (&json!("queued"), &json!("busy")),
        "{explained}"
    );
    assert_eq!(explained["instances"][0]["name"], world.sims[0].url());
    assert!(explained["message"].as_str().unwrap().contains("busy"), "{explained}");

    world.request(Method::POST, waiting["urls"]["cancel"].as_str().unwrap()).send().await.unwrap();
    let explained = world.get_json(waiting["urls"]["explain"].as_str().unwrap()).await;
    assert_eq!(explained["message"], "The job was canceled.");
}

#[tokio::test]
async fn a_cordoned_instance_takes_no_new_work_until_it_is_let_in_again() {
    let toml = |url: &str| format!("[[instances]]\nname = \"gpu-0\"\nurl = \"{url}\"\n");
    let sim = comfyui_sim::Simulator::start(SimConfig::default()).await.unwrap();
    let world = World::with(vec![], &toml(&sim.url())).await;
    world.usable().await;
    let order = async |what: &str| {
        world.request(Method::POST, &format!("/v1/instances/gpu-0/{what}")).send().await.unwrap().status()
    };
    assert_eq!(order("cordon").await, StatusCode::OK);
    let job: Value =
        submit(&world, None, &json!({"workflow": picture(1)}).to_string()).await.json().await.unwrap();
    let explained = world.get_json(job["urls"]["explain"].as_str().unwrap()).await;
    assert_eq!(explained["cause"], "drain", "{explained}");
    crate::world::until("the cordon shows", || async {
        (world.get_json("/v1/fleet").await["instances"][0]["state"] == "cordoned").then_some(())
    })
    .await;
    assert_eq!(world.get_json("/v1/fleet").await["classes"], json!([]), "no class has a usable instance");
    let degraded = world.get_json("/readyz").await;
    assert_eq!(degraded, json!({"status": "ready", "degraded": ["no_usable_instance"]}));
    assert_eq!(order("uncordon").await, StatusCode::OK);
    world.reaches(job["urls"]["self"].as_str().unwrap(), "succeeded").await;
    crate::world::until("the class is valued", || async {
        let fleet = world.get_json("/v1/fleet").await;
        let class = &fleet["classes"][0];
        let is_valued = class["usable"] == 1 && class["worth_milli"] == 1000;
        (is_valued && class["device_class"] == fleet["instances"][0]["device_class"]).then_some(())
    })
    .await;
    let unknown = world.request(Method::POST, "/v1/instances/none/cordon").send().await.unwrap();
    assert_eq!(problem_code(unknown, StatusCode::NOT_FOUND).await, "not_found");
}

#[tokio::test]
async fn a_draining_gateway_is_not_ready_and_refuses_new_jobs() {
    let world = World::start().await;
    submit(&world, None, &json!({"workflow": slow_picture(60.0)}).to_string()).await;
    assert_eq!(world.request(Method::POST, "/v1/drain").send().await.unwrap().status(), StatusCode::ACCEPTED);
    let response = crate::world::until("it drains", || async {
        Some(world.get("/readyz").await)
            .filter(|response| response.status() == StatusCode::SERVICE_UNAVAILABLE)
    })
    .await;
    assert_eq!(response.json::<Value>().await.unwrap()["reason"], "draining");
    let refused = submit(&world, None, &json!({"workflow": picture(1)}).to_string()).await;
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(problem_code(refused, StatusCode::SERVICE_UNAVAILABLE).await, "draining");
}

#[tokio::test]
async fn what_happened_shows_in_the_metrics() {
    let world = World::start().await;
    let job = world.submit(picture(1)).await;
    world.reaches(job["urls"]["self"].as_str().unwrap(), "succeeded").await;
    let response = world.get("/metrics").await;
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    let text = response.text().await.unwrap();
    for line in [
        "gateway_jobs_accepted_total{class=\"normal\"} 1",
        "gateway_jobs_total{outcome=\"succeeded\"} 1",
        "gateway_http_requests_total{code=\"201\",method=\"POST\",route=\"/api/v2/jobs\"} 1",
        "gateway_usable_instances 1",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
    }
    assert!(!text.contains(job["id"].as_str().unwrap()), "no ids in labels");
}

#[tokio::test]
async fn the_console_is_one_page_with_files_of_its_own_only() {
    let world = World::with(vec![], "").await;
    let home = world.request(Method::GET, "/").header("accept", "text/html").send().await.unwrap();
    assert_eq!(
        (home.status(), &home.headers()["location"]),
        (StatusCode::SEE_OTHER, &"/console".parse().unwrap())
    );
    let page = world.get("/console").await;
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    let page = page.text().await.unwrap();
    for file in ["/console/console.js", "/console/console.css"] {
        assert!(page.contains(file));
        assert_eq!(world.get(file).await.status(), StatusCode::OK);
    }
    assert!(!page.contains("http://") && !page.contains("https://"), "nothing from elsewhere");
}
