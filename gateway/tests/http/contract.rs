//! The golden files of `/v1`, which the gateway and its clients both read: `tests/contract/*.json`.

use std::path::PathBuf;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::world::World;

fn golden(name: &str) -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/contract").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// Replaces what differs from run to run by what it is.
fn redact(value: &mut Value, name: &str, base: &str) {
    match value {
        Value::Object(members) => members.iter_mut().for_each(|(name, value)| redact(value, name, base)),
        Value::Array(items) => items.iter_mut().for_each(|item| redact(item, name, base)),
        Value::String(text) => {
            if text.parse::<jiff::Timestamp>().is_ok() {
                *text = "<time>".into();
            } else if text.parse::<uuid::Uuid>().is_ok() {
                *text = "<id>".into();
            } else if let Some(rest) = text.strip_prefix(base) {
                *text = format!("<base>{rest}");
            }
            for part in text.clone().split('/').filter(|part| part.parse::<uuid::Uuid>().is_ok()) {
                *text = text.replace(part, "<id>");
            }
            if name == "hash" {
                assert!(text.starts_with("blake3:") && text.len() == 71, "{text}");
                *text = "blake3:<hash>".into();
            }
            if name == "object_key" {
                *text = "<key>".into();
            }
        }
        Value::Number(_) if name == "size_bytes" => *value = json!("<bytes>"),
        _ => {}
    }
}

fn check(name: &str, mut shown: Value, base: &str) {
    redact(&mut shown, "", base);
    assert_eq!(shown, golden(name), "{name} differs from\n{shown:#}");
}

#[tokio::test]
async fn v1_speaks_as_the_golden_files_say() {
    let world = World::start().await;
    let request = golden("v1_submit_request.json");
    let response = world.post("/v1/jobs", &request).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    let job: Value = response.json().await.unwrap();
    check("v1_job_queued.json", job.clone(), &world.base);
    let ended = world.reaches(job["urls"]["self"].as_str().unwrap(), "succeeded").await;
    check("v1_job_succeeded.json", ended, &world.base);

    let refused = world.post("/v1/jobs", &golden("v1_submit_unknown_class_request.json")).await;
    assert_eq!(refused.headers()["content-type"], "application/problem+json");
    check("v1_problem_invalid_workflow.json", refused.json().await.unwrap(), &world.base);
    let none = world.request(Method::GET, "/v1/jobs/none").send().await.unwrap();
    check("v1_problem_not_found.json", none.json().await.unwrap(), &world.base);
}
