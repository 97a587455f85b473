//! Webhooks from a whole gateway to receivers of every temper.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

mod receiver;
mod tempers;
mod trust;
#[path = "../http/world.rs"]
#[allow(dead_code, reason = "shared with the tests of the HTTP faces")]
mod world;

use std::collections::BTreeMap;

use comfyui_sim::Config as SimConfig;
use reqwest::StatusCode;
use serde_json::{Value, json};

use receiver::{Heard, Receiver};
use world::{World, picture, until};

/// The tenant's key.
const SECRET: &str = "a secret of at least thirty-two characters";

/// Receivers on loopback, quick repeats.
fn settings(more: &str) -> String {
    format!(
        r#"
        [outside]
        allow = ["127.0.0.0/8"]
        allow_http = ["127.0.0.0/8"]
        ports = []
        [webhooks]
        first_retry_ms = 20
        longest_retry_seconds = 1
        longest_pause_seconds = 1
        timeout_seconds = 1
        {more}
        [[tenants]]
        name = "default"
        [tenants.webhook]
        keys = [{{ id = "k1", secret = "{SECRET}" }}]
        "#
    )
}

async fn world(more: &str) -> World {
    let world = World::with(vec![SimConfig::default()], &settings(more)).await;
    world.usable().await;
    world
}

/// Submits a job whose events go to `url`; its id.
async fn submit(world: &World, color: u32, url: &str, events: &[&str]) -> String {
    let body = json!({"workflow": picture(color), "webhook": {"url": url, "events": events}});
    let response = world.post("/v1/jobs", &body).await;
    let status = response.status();
    let job: Value = response.json().await.unwrap();
    assert_eq!(status, StatusCode::CREATED, "{job}");
    job["id"].as_str().unwrap().to_owned()
}

const ALL: &[&str] = &["job.accepted", "job.placed", "job.requeued", "job.succeeded", "job.failed"];

/// Checks that the events of every job came in order, none missing; repeats are allowed.
fn check_order(heard: &[Heard], jobs: &[String]) {
    let mut by_job: BTreeMap<&str, Vec<(u64, &str)>> = BTreeMap::new();
    for one in heard {
        let of_job = by_job.entry(one.body["job_id"].as_str().unwrap()).or_default();
        let revision = one.body["revision"].as_u64().unwrap();
        if of_job.last().is_none_or(|(last, _)| *last < revision) {
            of_job.push((revision, one.body["type"].as_str().unwrap()));
        } else {
            assert!(
                of_job.iter().any(|(known, _)| *known == revision),
                "out of order: {of_job:?}, then {revision}"
            );
        }
    }
    for job in jobs {
        let kinds: Vec<_> = by_job.get(job.as_str()).into_iter().flatten().map(|(_, kind)| *kind).collect();
        assert_eq!(kinds, ["job.accepted", "job.placed", "job.succeeded"], "{job}");
    }
}

/// Waits until nothing is pending at any receiver.
async fn drained(world: &World) {
    until("every receiver has everything", || async {
        let shown = world.get_json("/v1/webhooks").await;
        let pending =
            shown["receivers"].as_array().unwrap().iter().filter(|receiver| receiver["pending"] != 0);
        (pending.count() == 0).then_some(())
    })
    .await;
}

/// Waits until the receiver has heard the end of each job.
async fn all_ended(receiver: &Receiver, jobs: &[String]) {
    until("the receiver has heard of every end", || async {
        let heard = receiver.accepted();
        let has_end = |job: &String| {
            heard.iter().any(|one| one.body["job_id"] == job.as_str() && one.body["type"] == "job.succeeded")
        };
        jobs.iter().all(has_end).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_receiver_gets_signed_events_of_its_jobs_in_order() {
    let (world, receiver) = (world("").await, Receiver::start().await);
    let mut jobs = Vec::new();
    for color in 0..10 {
        jobs.push(submit(&world, color, &receiver.url("/hook?token=t"), ALL).await);
    }
    all_ended(&receiver, &jobs).await;
    let heard = receiver.heard();
    check_order(&heard, &jobs);
    assert_eq!(heard.len(), 30, "nothing failed, so nothing was repeated");
    let keys = [trust::key("k1", SECRET)];
    for one in &heard {
        one.verify(&keys).unwrap();
        assert_eq!(one.path, "/hook?token=t");
        assert_eq!(one.header("darkroom-event-id"), one.body["id"].as_str().unwrap());
        assert_eq!(one.header("darkroom-event-type"), one.body["type"].as_str().unwrap());
        assert!(
            one.header("darkroom-signature").starts_with(&format!("t={},", one.header("darkroom-timestamp")))
        );
    }
    let last = heard.iter().rfind(|one| one.body["job_id"] == jobs[0].as_str()).unwrap();
    let mut shown = world.get_json(&format!("/v1/jobs/{}", jobs[0])).await;
    assert_eq!(last.body["job"], shown, "as GET shows it");
    assert!(!shown.as_object_mut().unwrap().contains_key("webhook"));
    let feed = world.get_json("/v1/events?types=job.succeeded").await;
    let same =
        feed["events"].as_array().unwrap().iter().find(|event| event["id"] == last.body["id"]).unwrap();
    assert_eq!(same, &last.body, "the feed says the same");
}

#[tokio::test]
async fn without_any_word_about_events_only_the_end_is_told() {
    let (world, receiver) = (world("").await, Receiver::start().await);
    let job = submit(&world, 1, &receiver.url("/"), &[]).await;
    all_ended(&receiver, &[job]).await;
    drained(&world).await;
    assert_eq!(receiver.heard().len(), 1);
}

#[tokio::test]
async fn two_thousand_jobs_leave_in_order_to_two_receivers() {
    let world = World::with(vec![SimConfig::default(); 4], &settings("")).await;
    world.usable().await;
    let receivers = [Receiver::start().await, Receiver::start().await];
    let mut jobs = [Vec::new(), Vec::new()];
    for chunk in (0..2_000_u32).collect::<Vec<_>>().chunks(50) {
        let batch = chunk.iter().map(|&color| {
            let side = color as usize % 2;
            let url = receivers[side].url("/hook");
            let world = &world;
            async move { (side, submit(world, color % 16, &url, ALL).await) }
        });
        for (side, job) in futures_util::future::join_all(batch).await {
            jobs[side].push(job);
        }
    }
    for (receiver, jobs) in receivers.iter().zip(&jobs) {
        receiver::eventually("the last end", std::time::Duration::from_secs(120), || {
            receiver.accepted_ends() >= jobs.len()
        })
        .await;
        check_order(&receiver.heard(), jobs);
    }
    drained(&world).await;
}
