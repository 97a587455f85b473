//! The queue: what is in it, in which order, and how jobs leave it.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::World;
use crate::world::{picture, slow_picture, until};

/// A slow job that runs, and jobs that wait behind it.
async fn busy(world: &World, waiting: u32) -> (String, Vec<String>) {
    let running = world.prompt(slow_picture(600.0), Some("busy")).await;
    world.runs(&running).await;
    let mut ids = Vec::new();
    for color in 0..waiting {
        ids.push(world.prompt(picture(color), Some("waiting")).await);
    }
    (running, ids)
}

#[tokio::test]
async fn the_queue_lists_what_runs_and_what_waits_as_five_members_each() {
    let world = World::start().await;
    let (running, waiting) = busy(&world, 2).await;
    let queue = world.get_json("/api/queue").await;
    let item = &queue["queue_running"][0];
    assert_eq!(item.as_array().unwrap().len(), 5);
    assert_eq!((&item[0], &item[1]), (&json!(0), &json!(running)));
    assert_eq!(item[2], slow_picture(600.0));
    assert_eq!(item[3]["client_id"], "busy");
    assert_eq!(item[4], json!(["3"]));
    let pending: Vec<&Value> =
        queue["queue_pending"].as_array().unwrap().iter().map(|item| &item[1]).collect();
    assert_eq!(pending, waiting.iter().collect::<Vec<_>>());
    assert_eq!(world.get_json("/prompt").await, json!({"exec_info": {"queue_remaining": 3}}));
    let listed = world.get_json("/api/jobs?status=pending,in_progress&sort_order=asc").await;
    let statuses: Vec<&Value> = listed["jobs"].as_array().unwrap().iter().map(|job| &job["status"]).collect();
    assert_eq!(statuses, ["in_progress", "pending", "pending"]);
}

#[tokio::test]
async fn front_and_number_order_only_the_callers_own() {
    // Nothing is given to an instance before it is free: what waits keeps its order here.
    let world = World::with(vec![Default::default()], "[scheduler]\nprefetch = 0\n").await;
    world.usable().await;
    let (running, _) = busy(&world, 0).await;
    let mut ids = Vec::new();
    for (color, more) in [
        (1, json!({})),
        (2, json!({"number": 1000})),
        (3, json!({"front": true})),
        (4, json!({"number": "-1000"})),
    ] {
        // Long enough that no two of them end in the same millisecond.
        let mut body = json!({"prompt": slow_picture(0.03 + f64::from(color) / 1000.0)});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ids.push(world.post_prompt(&body).await.1["prompt_id"].as_str().unwrap().to_owned());
    }
    let expected: Vec<String> = [3, 2, 0, 1].into_iter().map(|at| ids[at].clone()).collect();
    assert_eq!(world.queued().await.1, expected);
    world.post("/interrupt", &json!({"prompt_id": running})).await;
    for id in &ids {
        world.entry(id).await;
    }
    let history = world.get_json("/history").await;
    let ended: Vec<&String> = history.as_object().unwrap().keys().filter(|id| **id != running).collect();
    assert_eq!(ended, expected.iter().collect::<Vec<_>>());
    for bad in [json!(null), json!("abc"), json!([1])] {
        let (status, _) = world.post_prompt(&json!({"prompt": picture(1), "number": bad})).await;
        assert!(status == StatusCode::BAD_REQUEST || bad.is_null(), "{bad}");
    }
}

#[tokio::test]
async fn jobs_that_wait_can_be_taken_out_and_leave_no_trace() {
    let world = World::start().await;
    let (running, waiting) = busy(&world, 3).await;
    let delete = json!({"delete": [waiting[0], running, "unknown"]});
    assert_eq!(world.post("/queue", &delete).await.status(), StatusCode::OK);
    until("it is gone", || async { (world.queued().await.1 == waiting[1..]).then_some(()) }).await;
    assert_eq!(world.queued().await.0, [running.as_str()], "what runs goes on");
    assert_eq!(world.get_json(&format!("/history/{}", waiting[0])).await, json!({}));
    let gone = world.get(&format!("/api/jobs/{}", waiting[0])).await;
    assert_eq!(gone.status(), StatusCode::NOT_FOUND);
    assert_eq!(gone.json::<Value>().await.unwrap(), json!({"error": "Job not found"}));
    // Some clients send forms (CLIENTS §4.1).
    let form = world.request(Method::POST, "/queue").body("clear=true").send().await.unwrap();
    assert_eq!(form.status(), StatusCode::OK);
    until("none waits", || async { world.queued().await.1.is_empty().then_some(()) }).await;
    assert_eq!(world.queued().await.0, [running]);
}

#[tokio::test]
async fn an_interrupt_stops_what_runs_of_the_client_that_is_named() {
    let world = World::with(vec![Default::default(), Default::default()], "").await;
    world.usable().await;
    let mine = world.prompt(slow_picture(600.0), Some("mine")).await;
    let other = world.prompt(slow_picture(601.0), Some("other")).await;
    world.runs(&mine).await;
    world.runs(&other).await;
    let nobody = json!({"prompt_id": "0d71c5ef-8b3e-4514-9da3-ee9a8694b8b0"});
    assert_eq!(world.post("/interrupt", &nobody).await.status(), StatusCode::OK);
    assert_eq!(world.post("/interrupt", &json!({"client_id": "mine"})).await.status(), StatusCode::OK);
    let entry = world.entry(&mine).await;
    assert_eq!(entry["status"]["status_str"], "error");
    let last = entry["status"]["messages"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&last[0], &last[1]["prompt_id"]), (&json!("execution_interrupted"), &json!(mine)));
    assert_eq!(world.get_json(&format!("/api/jobs/{mine}")).await["status"], "cancelled");
    assert_eq!(world.queued().await.0, [other.as_str()]);
    let empty = world.request(Method::POST, "/api/interrupt").send().await.unwrap();
    assert_eq!(empty.status(), StatusCode::OK);
    world.entry(&other).await;
}

#[tokio::test]
async fn jobs_can_be_cancelled_one_by_one_and_together() {
    let world = World::start().await;
    let (running, waiting) = busy(&world, 2).await;
    let cancelled = world.post(&format!("/api/jobs/{}/cancel", waiting[0]), &json!({})).await;
    assert_eq!(cancelled.json::<Value>().await.unwrap(), json!({"cancelled": true}));
    let bad = world.post("/api/jobs/cancel", &json!({"job_ids": [waiting[1], "bad"]})).await;
    assert_eq!(bad.status(), StatusCode::BAD_REQUEST);
    assert_eq!(bad.json::<Value>().await.unwrap()["invalid_ids"], json!(["bad"]));
    let both = world.post("/api/jobs/cancel", &json!({"job_ids": [waiting[1], running]})).await;
    assert_eq!(both.json::<Value>().await.unwrap(), json!({"cancelled": true}));
    until("the queue is empty", || async {
        (world.queued().await == (Vec::new(), Vec::new())).then_some(())
    })
    .await;
    let again = world.post(&format!("/api/jobs/{running}/cancel"), &json!({})).await;
    assert_eq!(again.json::<Value>().await.unwrap(), json!({"cancelled": false}));
}

#[tokio::test]
async fn a_job_is_in_the_queue_or_in_the_history_at_every_moment() {
    let world = World::start().await;
    for color in 0..30 {
        let id = world.prompt(picture(color), None).await;
        loop {
            let (running, pending) = world.queued().await;
            let is_queued = running.contains(&id) || pending.contains(&id);
            let history = world.get_json(&format!("/history/{id}")).await;
            assert!(is_queued || history.get(&id).is_some(), "{id} went missing");
            if history.get(&id).is_some() {
                break;
            }
        }
    }
}
