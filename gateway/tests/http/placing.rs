//! Who is placed first: from a request to what ComfyUI was asked.

use comfyui_sim::Config as SimConfig;
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{World, picture, slow_picture};

/// Submits by `/v1`; the job.
async fn submit(world: &World, body: Value) -> Value {
    let response = world.post("/v1/jobs", &body).await;
    assert_eq!(response.status(), 201);
    response.json().await.unwrap()
}

fn url<'a>(job: &'a Value, what: &str) -> &'a str {
    job["urls"][what].as_str().unwrap()
}

#[tokio::test]
async fn a_job_that_is_due_soon_overtakes_an_earlier_one_and_explain_says_so() {
    let world = World::with(vec![SimConfig::default()], "[scheduler]\nprefetch = 0\n").await;
    world.usable().await;
    let running = submit(&world, json!({"workflow": slow_picture(60.0)})).await;
    world.reaches(url(&running, "self"), "running").await;
    let earlier = submit(&world, json!({"workflow": picture(1)})).await;
    let due = submit(&world, json!({"workflow": picture(2), "due_within_seconds": 30})).await;
    for (job, before, words) in [(&due, 0, "It is the next one."), (&earlier, 1, "One job comes before it.")]
    {
        let explained = world.get_json(url(job, "explain")).await;
        assert_eq!((&explained["status"], &explained["position"]), (&json!("queued"), &json!(before)));
        assert!(explained["message"].as_str().unwrap().contains(words), "{explained}");
    }
    world.request(Method::POST, url(&running, "cancel")).send().await.unwrap();
    for job in [&due, &earlier] {
        world.reaches(url(job, "self"), "succeeded").await;
    }
    let colors: Vec<Value> = world.sims[0].observed().prompts[1..]
        .iter()
        .map(|prompt| prompt.graph["1"]["inputs"]["color"].clone())
        .collect();
    assert_eq!(colors, [json!(2), json!(1)]);
}
