//! `/v1/jobs` beyond submit and get: filters, another class, the same again, many at once, waiting for a change.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::world::{World, picture, problem_code, slow_picture};

/// Submits by `/v1`; the job.
pub async fn submit(world: &World, body: Value) -> Value {
    let response = world.post("/v1/jobs", &body).await;
    let status = response.status();
    let job: Value = response.json().await.unwrap();
    assert_eq!(status, StatusCode::CREATED, "{job}");
    job
}

pub fn path(job: &Value) -> &str {
    job["urls"]["self"].as_str().unwrap()
}

fn ids(list: &Value) -> Vec<&str> {
    list["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn jobs_are_found_by_whom_they_are_for_and_by_all_other_filters() {
    let world = World::with(vec![], "").await;
    let mut made = Vec::new();
    for (user, class, order) in [("anna", "batch", "1"), ("ben", "batch", "1"), ("anna", "interactive", "2")]
    {
        let body = json!({"workflow": picture(1), "user": user, "class": class, "labels": {"order": order}});
        made.push(submit(&world, body).await);
    }
    let id = |at: usize| made[at]["id"].as_str().unwrap();
    assert_eq!(made[0]["user"], "anna");
    world.request(Method::POST, made[1]["urls"]["cancel"].as_str().unwrap()).send().await.unwrap();
    let begun = made[0]["created_at"].as_str().unwrap();
    for (query, expected) in [
        ("user=anna".to_owned(), vec![id(2), id(0)]),
        ("user=anna&class=batch".into(), vec![id(0)]),
        ("user=nobody".into(), vec![]),
        ("status=canceled".into(), vec![id(1)]),
        ("status=queued,canceled&class=batch".into(), vec![id(1), id(0)]),
        ("labels[order]=1&status=queued".into(), vec![id(0)]),
        (format!("accepted_after={begun}"), vec![id(2), id(1), id(0)]),
        (format!("accepted_before={begun}"), vec![]),
        ("template=none".into(), vec![]),
    ] {
        let list = world.get_json(&format!("/v1/jobs?{query}")).await;
        assert_eq!(ids(&list), expected, "{query}");
    }
    for bad in ["class=urgent", "accepted_after=yesterday", "batch=1", "limit=0", "status=asleep"] {
        let refused = world.get(&format!("/v1/jobs?{bad}")).await;
        assert_eq!(problem_code(refused, StatusCode::BAD_REQUEST).await, "invalid_request", "{bad}");
    }
}

#[tokio::test]
async fn a_waiting_job_changes_its_class_and_a_running_one_does_not() {
    let world = World::start().await;
    let running = submit(&world, json!({"workflow": slow_picture(60.0)})).await;
    world.reaches(path(&running), "running").await;
    // One is prefetched behind it; the next one waits.
    submit(&world, json!({"workflow": picture(1)})).await;
    let waiting = submit(&world, json!({"workflow": picture(2)})).await;
    let change = async |job: &Value, body: Value| world.post(&format!("{}/class", path(job)), &body).await;
    let changed: Value = change(&waiting, json!({"class": "batch"})).await.json().await.unwrap();
    assert_eq!((&changed["class"], &changed["revision"]), (&json!("batch"), &json!(2)));
    let again: Value = change(&waiting, json!({"class": "batch"})).await.json().await.unwrap();
    assert_eq!(again["revision"], 2, "nothing changed");
    let refused = change(&running, json!({"class": "batch"})).await;
    assert_eq!(problem_code(refused, StatusCode::CONFLICT).await, "job_not_waiting");
    let bad = change(&waiting, json!({"class": "urgent"})).await;
    assert_eq!(problem_code(bad, StatusCode::BAD_REQUEST).await, "invalid_request");
}

/// A small picture.
fn png() -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(4, 4).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

#[tokio::test]
async fn a_retry_is_a_new_job_of_the_same_that_names_the_old_one() {
    let world = World::start().await;
    let asset = world.upload("in.png", png()).await;
    let workflow = json!({
        "1": {"class_type": "LoadImage", "inputs": {"image": "in.png"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    });
    let body = json!({"workflow": workflow, "user": "anna", "class": "batch", "labels": {"a": "b"},
        "finish_within_seconds": 3600, "due_within_seconds": 60});
    let first = submit(&world, body).await;
    let retry = format!("{}/retry", path(&first));
    let early = world.request(Method::POST, &retry).send().await.unwrap();
    if early.status() != StatusCode::CREATED {
        assert_eq!(problem_code(early, StatusCode::CONFLICT).await, "job_not_ended");
    }
    world.reaches(path(&first), "succeeded").await;
    // Its input was replaced since then; the retry reads what the first one read.
    world.request(Method::DELETE, &format!("/api/v2/assets/{asset}")).send().await.unwrap();
    let send = async || {
        let request = world.request(Method::POST, &retry).header("idempotency-key", "again");
        request.send().await.unwrap()
    };
    let second = send().await;
    assert_eq!(second.status(), StatusCode::CREATED);
    let text = second.text().await.unwrap();
    let second: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&second["retry_of"], &second["user"]), (&first["id"], &json!("anna")));
    assert_eq!((&second["class"], &second["labels"]), (&first["class"], &first["labels"]));
    let span = |job: &Value| {
        let at = |name: &str| job[name].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        (at("deadline") - at("created_at"), at("due_at") - at("created_at"))
    };
    assert_eq!(format!("{:?}", span(&second)), format!("{:?}", span(&first)));
    world.reaches(path(&second), "succeeded").await;
    assert_eq!(send().await.text().await.unwrap(), text, "a repeat gets the first answer");
    let unknown = world.request(Method::POST, "/v1/jobs/none/retry").send().await.unwrap();
    assert_eq!(problem_code(unknown, StatusCode::NOT_FOUND).await, "not_found");
}

#[tokio::test]
async fn many_jobs_are_asked_about_and_canceled_in_one_request() {
    let world = World::with(vec![], "[http]\nmax_batch_jobs = 3\n").await;
    let mut made = Vec::new();
    for user in ["anna", "anna", "ben", "anna", "anna"] {
        let body = json!({"workflow": picture(1), "user": user, "labels": {"run": "7"}});
        made.push(submit(&world, body).await["id"].as_str().unwrap().to_owned());
    }
    let asked = json!({"ids": [made[2], "none", made[0]]});
    let standings: Value = world.post("/v1/jobs/status", &asked).await.json().await.unwrap();
    assert_eq!(ids(&standings), [&made[2], &made[0]]);
    assert_eq!(
        (&standings["unknown"], &standings["jobs"][0]["status"]),
        (&json!(["none"]), &json!("queued"))
    );
    let too_many = world.post("/v1/jobs/status", &json!({"ids": made})).await;
    assert_eq!(problem_code(too_many, StatusCode::BAD_REQUEST).await, "invalid_request");

    let cancel =
        async |body: Value| -> Value { world.post("/v1/jobs/cancel", &body).await.json().await.unwrap() };
    let by_id = cancel(json!({"ids": [made[2], "none"]})).await;
    assert_eq!((&by_id["jobs"][0]["status"], &by_id["unknown"]), (&json!("canceled"), &json!(["none"])));
    let by_user = cancel(json!({"user": "anna", "labels": {"run": "7"}})).await;
    assert_eq!((ids(&by_user).len(), &by_user["more"]), (3, &json!(true)));
    assert!(by_user["jobs"].as_array().unwrap().iter().all(|job| job["status"] == "canceled"), "{by_user}");
    let rest = cancel(json!({"user": "anna"})).await;
    assert_eq!((ids(&rest), &rest["more"]), (vec![made[0].as_str()], &json!(false)));
    assert_eq!(ids(&world.get_json("/v1/jobs?status=queued").await), Vec::<&str>::new());
    for bad in [json!({}), json!({"ids": [], "user": "x"}), json!({"labels": {}}), json!({"id": ["x"]})] {
        let refused = world.post("/v1/jobs/cancel", &bad).await;
        assert_eq!(problem_code(refused, StatusCode::BAD_REQUEST).await, "invalid_request", "{bad}");
    }
}

#[tokio::test]
async fn concurrent_repeats_under_one_key_are_one_job() {
    let world = World::start().await;
    let body = json!({"workflow": picture(3)});
    let send = || async {
        let request = world.request(Method::POST, "/v1/jobs").header("idempotency-key", "k").json(&body);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::CREATED);
        response.text().await.unwrap()
    };
    let mut answers = join_all((0..20).map(|_| send())).await;
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(ids(&world.get_json("/v1/jobs").await).len(), 1);
}

#[tokio::test]
async fn a_key_replays_after_a_restart() {
    let world = World::start().await;
    let body = json!({"workflow": picture(4)});
    let send = async |world: &World, body: &Value| {
        let request = world.request(Method::POST, "/v1/jobs").header("idempotency-key", "k").json(body);
        request.send().await.unwrap()
    };
    let first = send(&world, &body).await.text().await.unwrap();
    let world = world.restart().await;
    let again = send(&world, &body).await;
    assert_eq!(again.headers()["idempotency-replayed"], "true");
    assert_eq!(again.text().await.unwrap(), first);
    let other = send(&world, &json!({"workflow": picture(5)})).await;
    assert_eq!(problem_code(other, StatusCode::CONFLICT).await, "idempotency_conflict");
}

#[tokio::test]
async fn a_caller_without_a_stream_waits_for_the_next_change() {
    let world = World::start().await;
    let job = submit(&world, json!({"workflow": slow_picture(0.3)})).await;
    let mut seen = job;
    let mut steps = Vec::new();
    while seen["ended_at"].is_null() {
        let known = seen["revision"].as_u64().unwrap();
        let url = format!("{}?wait_seconds=20&revision={known}", path(&seen));
        let next = world.get_json(&url).await;
        assert!(next["revision"].as_u64().unwrap() > known, "{next}");
        steps.push(next["status"].as_str().unwrap().to_owned());
        seen = next;
    }
    assert!(steps.len() <= 2, "one answer a change: {steps:?}");
    assert_eq!((seen["status"].as_str(), seen["outputs"].as_array().unwrap().len()), (Some("succeeded"), 1));
    let ended = world.get_json(&format!("{}?wait_seconds=20", path(&seen))).await;
    assert_eq!(ended["revision"], seen["revision"], "an ended job is told at once");
    let bad = world.get(&format!("{}?wait_seconds=31", path(&seen))).await;
    assert_eq!(problem_code(bad, StatusCode::BAD_REQUEST).await, "invalid_request");
}

#[tokio::test]
async fn a_wait_in_vain_ends_with_the_job_as_it_is() {
    let world = World::with(vec![], "").await;
    let job = submit(&world, json!({"workflow": picture(1)})).await;
    let wait = world.get_json(&format!("{}?wait_seconds=1", path(&job))).await;
    assert_eq!((&wait["status"], &wait["revision"]), (&json!("queued"), &json!(1)));
    let cancel = async {
        tokio::task::yield_now().await;
        world.request(Method::POST, job["urls"]["cancel"].as_str().unwrap()).send().await.unwrap();
    };
    let url = format!("{}?wait_seconds=20&revision=1", path(&job));
    let (seen, ()) =
        tokio::join!(tokio::time::timeout(Duration::from_secs(15), world.get_json(&url)), cancel);
    assert_eq!(seen.unwrap()["status"], "canceled");
}
