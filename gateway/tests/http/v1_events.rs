//! The event stream of `/v1`.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::v1_jobs::{path, submit};
use crate::world::{PATIENCE, World, picture, problem_code, slow_picture};

#[derive(Debug)]
struct Event {
    id: Option<u64>,
    name: String,
    data: Value,
}

fn event(block: &str) -> Option<Event> {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
    Some(Event {
        id: field("id: ").map(|id| id.parse().unwrap()),
        name: field("event: ")?.to_owned(),
        data: serde_json::from_str(field("data: ")?).unwrap(),
    })
}

/// All events up to the end of the stream.
async fn events(world: &World, job: &Value, last: Option<u64>) -> Vec<Event> {
    let mut request = world.request(Method::GET, job["urls"]["events"].as_str().unwrap());
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let text = tokio::time::timeout(PATIENCE, response.text()).await.expect("the stream ends").unwrap();
    text.split("\n\n").filter_map(event).collect()
}

fn revisions(events: &[Event]) -> Vec<u64> {
    for event in events {
        let revision = (event.name == "job").then(|| event.data["revision"].as_u64().unwrap());
        assert_eq!(event.id, revision, "a job event has its revision as id, all others none: {event:?}");
    }
    events.iter().filter_map(|event| event.id).collect()
}

#[tokio::test]
async fn a_stream_tells_each_revision_once_and_ends_with_the_job() {
    let world = World::start().await;
    let job = submit(&world, json!({"workflow": slow_picture(0.3)})).await;
    let told = events(&world, &job, None).await;
    let ids = revisions(&told);
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    let last = told.last().unwrap();
    assert_eq!((last.name.as_str(), &last.data["status"]), ("job", &json!("succeeded")));
    assert_eq!(last.data["outputs"].as_array().unwrap().len(), 1);
    assert!(told.iter().any(|event| event.data["status"] == "running"), "{told:?}");
    assert_eq!(last.data, world.get_json(path(&job)).await, "the last event is the job as it stays");
}

#[tokio::test]
async fn a_reconnect_begins_with_the_job_as_it_is_and_after_its_end_there_is_nothing_more() {
    let world = World::start().await;
    let job = submit(&world, json!({"workflow": picture(1)})).await;
    let ended = world.reaches(path(&job), "succeeded").await;
    let last = ended["revision"].as_u64().unwrap();
    let told = events(&world, &job, Some(1)).await;
    assert_eq!(revisions(&told), [last], "what was missed is told as it is now");
    let url = job["urls"]["events"].as_str().unwrap();
    let over = world.request(Method::GET, url).header("last-event-id", last).send().await.unwrap();
    assert_eq!(over.status(), StatusCode::NO_CONTENT, "a browser does not come again");
    let unknown = world.get("/v1/jobs/none/events").await;
    assert_eq!(problem_code(unknown, StatusCode::NOT_FOUND).await, "not_found");
}

#[tokio::test]
async fn a_change_of_class_and_a_prediction_reach_the_watchers_of_a_waiting_job() {
    let world = World::start().await;
    submit(&world, json!({"workflow": slow_picture(60.0)})).await;
    for n in 0..3 {
        submit(&world, json!({"workflow": picture(n)})).await;
    }
    let job = submit(&world, json!({"workflow": picture(9)})).await;
    let mut response = world.get(job["urls"]["events"].as_str().unwrap()).await;
    let mut text = String::new();
    let mut read_until = async |what: &str| {
        while !text.contains(what) {
            let chunk = tokio::time::timeout(PATIENCE, response.chunk()).await.expect("in time").unwrap();
            text.push_str(std::str::from_utf8(&chunk.expect("the stream stays open")).unwrap());
        }
    };
    read_until("event: outlook").await;
    world.post(&format!("{}/class", path(&job)), &json!({"class": "batch"})).await;
    read_until("\"class\":\"batch\"").await;
    let cancel = job["urls"]["cancel"].as_str().unwrap();
    world.request(Method::POST, cancel).send().await.unwrap();
    read_until("\"status\":\"canceled\"").await;
    let told: Vec<Event> = text.split("\n\n").filter_map(event).collect();
    assert_eq!(revisions(&told), [1, 2, 3]);
    let outlook = told.iter().find(|event| event.name == "outlook").unwrap();
    assert!(outlook.data["position"].as_u64().is_some_and(|position| position >= 1), "{outlook:?}");
    assert!(outlook.data["predicted_end"].is_string(), "{outlook:?}");
}

#[tokio::test]
async fn waiting_requests_and_streams_share_one_bound() {
    let world = World::with(vec![], "[http]\nmax_streams_per_key = 1\n").await;
    let job = submit(&world, json!({"workflow": picture(1)})).await;
    let open = world.get(job["urls"]["events"].as_str().unwrap()).await;
    let second = world.get(job["urls"]["events"].as_str().unwrap()).await;
    assert_eq!(problem_code(second, StatusCode::TOO_MANY_REQUESTS).await, "too_many_streams");
    let wait = world.get(&format!("{}?wait_seconds=1", path(&job))).await;
    assert_eq!(problem_code(wait, StatusCode::TOO_MANY_REQUESTS).await, "too_many_streams");
    assert_eq!(world.get(path(&job)).await.status(), StatusCode::OK, "a plain look is free");
    drop(open);
}
