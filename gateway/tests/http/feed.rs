//! The feed of events.

use std::time::Duration;

use gateway::store::Scope;
use reqwest::header::ACCEPT;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::world::{PATIENCE, World, picture, problem_code, until};

async fn submit(world: &World, color: u32) -> String {
    let response = world.post("/v1/jobs", &json!({"workflow": picture(color)})).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    response.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned()
}

async fn finished(world: &World, colors: std::ops::Range<u32>) -> Vec<String> {
    let mut ids = Vec::new();
    for color in colors {
        ids.push(submit(world, color).await);
    }
    for id in &ids {
        world.reaches(&format!("/v1/jobs/{id}"), "succeeded").await;
    }
    ids
}

/// All events from `after` on, in pages of `limit`.
async fn read_all(world: &World, query: &str) -> Vec<Value> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let page = world.get_json(&format!("/v1/events?{query}{after}")).await;
        let events = page["events"].as_array().unwrap();
        if events.is_empty() {
            return all;
        }
        all.extend(events.iter().cloned());
        after = format!("&after={}", page["next"].as_str().unwrap());
    }
}

fn kinds_of<'a>(events: &'a [Value], job: &str) -> Vec<&'a str> {
    let of_job = events.iter().filter(|event| event["job_id"] == job);
    of_job.map(|event| event["type"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn every_step_of_every_job_is_in_the_feed_in_order() {
    let world = World::start().await;
    let ids = finished(&world, 0..5).await;
    let events = read_all(&world, "limit=4").await;
    for id in &ids {
        assert_eq!(kinds_of(&events, id), ["job.accepted", "job.placed", "job.succeeded"]);
    }
    assert_eq!(events.len(), 15);
    let last = events.iter().rfind(|event| event["job_id"] == ids[0].as_str()).unwrap();
    assert_eq!(last["id"], format!("{}.{}", ids[0], last["revision"]));
    let shown = world.get_json(&format!("/v1/jobs/{}", ids[0])).await;
    assert_eq!(last["job"], shown, "the job as GET shows it");
    assert_eq!(last["job"]["revision"], last["revision"]);
    assert!(
        events[0]["job"]["revision"].as_u64() > events[0]["revision"].as_u64(),
        "the job as it is by now"
    );
    let ends = read_all(&world, "types=job.succeeded,job.failed").await;
    assert_eq!(ends.len(), 5);
}

#[tokio::test]
async fn a_long_poll_answers_when_something_happens_and_not_before() {
    let world = World::start().await;
    finished(&world, 0..1).await;
    let head = world.get_json("/v1/events?after=latest").await;
    assert_eq!(head["events"], json!([]));
    let path = format!("/v1/events?wait_seconds=20&after={}", head["next"].as_str().unwrap());
    let (page, id) = tokio::join!(world.get_json(&path), submit(&world, 7));
    assert_eq!(page["events"][0]["job_id"], id.as_str());
    let other =
        format!("/v1/events?wait_seconds=1&types=job.failed&after={}", page["next"].as_str().unwrap());
    assert_eq!(world.get_json(&other).await["events"], json!([]), "nobody waits for ever");
}

#[tokio::test]
async fn a_bad_cursor_or_query_is_named() {
    let world = World::with(vec![], "[http]\nfeed_wait_seconds = 5\n").await;
    for (query, code) in [
        ("after=x", "invalid_cursor"),
        ("limit=0", "invalid_request"),
        ("wait_seconds=6", "invalid_request"),
        ("types=job.lost", "invalid_request"),
    ] {
        let response = world.get(&format!("/v1/events?{query}")).await;
        assert_eq!(problem_code(response, StatusCode::BAD_REQUEST).await, code, "{query}");
    }
    let ahead = world.get("/v1/events?after=99").await;
    assert_eq!(problem_code(ahead, StatusCode::GONE).await, "cursor_expired", "of another store");
    let stream = world.request(Method::GET, "/v1/events?after=99").header(ACCEPT, "text/event-stream");
    assert_eq!(problem_code(stream.send().await.unwrap(), StatusCode::GONE).await, "cursor_expired");
}

/// The frames of a stream, read one at a time.
struct Frames {
    response: Response,
    text: String,
}

impl Frames {
    async fn open(world: &World, query: &str, last: Option<&str>) -> Self {
        let request =
            world.request(Method::GET, &format!("/v1/events?{query}")).header(ACCEPT, "text/event-stream");
        let request = last.into_iter().fold(request, |request, last| request.header("last-event-id", last));
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, text: String::new() }
    }

    /// The next event: its id, name and data.
    async fn next(&mut self) -> (String, String, Value) {
        loop {
            while let Some((frame, rest)) = self.text.split_once("\n\n") {
                let field =
                    |name: &str| frame.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                let found = (field("id: "), field("event: "), field("data: "));
                self.text = rest.to_owned();
                if let (Some(id), Some(name), Some(data)) = found {
                    return (id, name, serde_json::from_str(&data).unwrap());
                }
            }
            let chunk =
                tokio::time::timeout(PATIENCE, self.response.chunk()).await.expect("in time").unwrap();
            self.text.push_str(std::str::from_utf8(&chunk.expect("the stream stays open")).unwrap());
        }
    }
}

#[tokio::test]
async fn a_stream_is_resumed_where_it_was_left() {
    let world = World::start().await;
    let ids = finished(&world, 0..2).await;
    let mut stream = Frames::open(&world, "types=job.succeeded", None).await;
    let (first, name, data) = stream.next().await;
    assert_eq!((name.as_str(), &data["cursor"]), ("job.succeeded", &Value::from(first.as_str())));
    drop(stream);
    let mut resumed = Frames::open(&world, "types=job.succeeded", Some(&first)).await;
    let (second, _, event) = resumed.next().await;
    assert_ne!(event["id"], data["id"]);
    assert!(ids.iter().any(|id| event["job_id"] == id.as_str()));
    assert!(second.parse::<u64>().unwrap() > first.parse::<u64>().unwrap());
    let live = finished(&world, 2..3).await;
    assert_eq!(resumed.next().await.2["job_id"], live[0].as_str(), "and goes on with what happens");
}

#[tokio::test]
async fn a_tenant_reads_its_own_events_only() {
    let world = World::start().await;
    let (ours, theirs) = (world.key("ours", Scope::Submit).await, world.key("theirs", Scope::Submit).await);
    let ask = async |key: &str, path: &str| {
        let response = world.request(Method::GET, path).bearer_auth(key).send().await.unwrap();
        response.json::<Value>().await.unwrap()
    };
    let body = json!({"workflow": picture(1)});
    let submitted =
        world.request(Method::POST, "/v1/jobs").bearer_auth(&ours).json(&body).send().await.unwrap();
    assert_eq!(submitted.status(), StatusCode::CREATED);
    until("the job's end is in the feed", || async {
        let page = ask(&ours, "/v1/events?types=job.succeeded").await;
        (page["events"].as_array().unwrap().len() == 1).then_some(())
    })
    .await;
    assert_eq!(ask(&theirs, "/v1/events").await["events"], json!([]));
}

#[tokio::test]
async fn readers_of_a_key_are_bounded() {
    let world = World::with(vec![], "[http]\nmax_streams_per_key = 1\n").await;
    let stream = Frames::open(&world, "", None).await;
    let second = world.get("/v1/events?wait_seconds=1").await;
    assert_eq!(problem_code(second, StatusCode::TOO_MANY_REQUESTS).await, "too_many_streams");
    assert_eq!(world.get("/v1/events").await.status(), StatusCode::OK, "a look that does not wait is free");
    drop(stream);
    tokio::time::timeout(Duration::from_secs(20), async {
        until("the place is free again", || async {
            (world.get("/v1/events?wait_seconds=1").await.status() == StatusCode::OK).then_some(())
        })
        .await;
    })
    .await
    .unwrap();
}
