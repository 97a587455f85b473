//! Event streams.

use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::world::{PATIENCE, World, picture, slow_picture, v2_code};

/// All frames of a stream up to its end: name and data.
async fn frames(world: &World, path: &str) -> Vec<(String, Value)> {
    let response = world.get(path).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let text = tokio::time::timeout(PATIENCE, response.text()).await.expect("the stream ends").unwrap();
    assert!(!text.lines().any(|line| line.starts_with("id:")), "no ids: {text}");
    let frame = |block: &str| {
        let event = block.lines().find_map(|line| line.strip_prefix("event: "))?;
        let data = block.lines().find_map(|line| line.strip_prefix("data: "))?;
        Some((event.to_owned(), serde_json::from_str(data).unwrap()))
    };
    text.split("\n\n").filter_map(frame).collect()
}

fn check_end(frames: &[(String, Value)], end: &str, outputs: usize) {
    let (last, before) = frames.split_last().expect("there are frames");
    assert_eq!((last.0.as_str(), &last.1["status"]), ("status", &Value::from(end)), "{frames:?}");
    assert_eq!(before.iter().filter(|(name, _)| name == "output").count(), outputs, "{frames:?}");
    let is_terminal =
        |status: &Value| ["succeeded", "failed", "canceled", "expired"].iter().any(|end| status == end);
    assert!(
        !before.iter().any(|(name, data)| name == "status" && is_terminal(&data["status"])),
        "{frames:?}"
    );
}

#[tokio::test]
async fn a_stream_ends_with_the_outputs_and_then_the_terminal_status() {
    let world = World::start().await;
    let job = world.submit(slow_picture(0.3)).await;
    let path = job["urls"]["events"].as_str().unwrap();
    let live = frames(&world, path).await;
    check_end(&live, "succeeded", 1);
    let statuses: Vec<_> =
        live.iter().filter(|(name, _)| name == "status").map(|(_, data)| &data["status"]).collect();
    let mut once = statuses.clone();
    once.dedup();
    let road = ["queued", "running", "succeeded"];
    assert!(once == road || once == road[1..], "from wherever it was met, each status once: {statuses:?}");

    let ended = frames(&world, path).await;
    check_end(&ended, "succeeded", 1);
    assert_eq!(ended.len(), 2, "an ended job has its outputs and its end: {ended:?}");
}

#[tokio::test]
async fn jobs_of_no_time_are_never_missed() {
    let world = World::start().await;
    let watch = async |color: u32| {
        let job = world.submit(picture(color)).await;
        check_end(&frames(&world, job["urls"]["events"].as_str().unwrap()).await, "succeeded", 1);
    };
    for round in 0..5 {
        join_all((0..20).map(|n| watch(round * 20 + n))).await;
    }
}

#[tokio::test]
async fn a_canceled_job_ends_its_streams() {
    let world = World::with(vec![], "").await;
    let job = world.submit(picture(1)).await;
    let path = job["urls"]["events"].as_str().unwrap();
    let cancel = world.request(Method::POST, job["urls"]["cancel"].as_str().unwrap()).send();
    let (seen, _) = tokio::join!(frames(&world, path), cancel);
    check_end(&seen, "canceled", 0);
}

#[tokio::test]
async fn a_waiting_job_is_told_its_position() {
    let world = World::start().await;
    world.submit(slow_picture(60.0)).await;
    for n in 0..3 {
        world.submit(picture(n)).await;
    }
    let job = world.submit(picture(9)).await;
    let mut response = world.get(job["urls"]["events"].as_str().unwrap()).await;
    let mut text = String::new();
    while !text.contains("\"queue_position\":") || text.ends_with("null}\n\n") {
        let chunk = tokio::time::timeout(PATIENCE, response.chunk()).await.expect("in time").unwrap();
        text.push_str(std::str::from_utf8(&chunk.expect("the stream stays open")).unwrap());
    }
    let polled = world.get_json(job["urls"]["self"].as_str().unwrap()).await;
    assert!(polled["queue_position"].as_u64().is_some_and(|position| position >= 2), "{polled}");
}

#[tokio::test]
async fn a_key_has_a_bounded_number_of_streams_and_gets_them_back() {
    let world = World::with(vec![], "[http]\nmax_streams_per_key = 2\n").await;
    let job = world.submit(picture(1)).await;
    let path = job["urls"]["events"].as_str().unwrap();
    let (one, two) = (world.get(path).await, world.get(path).await);
    let third = world.get(path).await;
    assert!(third.headers().contains_key("retry-after"));
    assert_eq!(v2_code(third, StatusCode::TOO_MANY_REQUESTS).await, "too_many_streams");
    drop((one, two));
    crate::world::until("a stream is free again", || async {
        (world.get(path).await.status() == StatusCode::OK).then_some(())
    })
    .await;
}
