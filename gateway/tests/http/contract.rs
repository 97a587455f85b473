//! The golden files of `/v1`, which the gateway and its clients both read: `tests/contract/*.json`.
//! `UPDATE_CONTRACT=1` writes the answers anew, for a change that is meant.

use std::path::PathBuf;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::world::World;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/contract").join(name)
}

fn golden(name: &str) -> Value {
    let path = path(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

const TIME: &str = "2026-01-02T03:04:05.678Z";
const ID: &str = "019b7c5e-2b4e-7000-8000-000000000001";
const BASE: &str = "http://gateway.example";

/// Puts one plausible value for all that differ from run to run, so that clients can read the files as answers.
fn settle(value: &mut Value, name: &str, base: &str) {
    match value {
        Value::Object(members) => members.iter_mut().for_each(|(name, value)| settle(value, name, base)),
        Value::Array(items) => items.iter_mut().for_each(|item| settle(item, name, base)),
        Value::String(text) => settle_text(text, name, base),
        Value::Number(_) if matches!(name, "size_bytes" | "gpu_ms") => *value = json!(1234),
        _ => {}
    }
}

fn settle_text(text: &mut String, name: &str, base: &str) {
    if text.parse::<jiff::Timestamp>().is_ok() {
        *text = TIME.into();
    }
    if name == "hash" {
        assert!(text.starts_with("blake3:") && text.len() == 71, "{text}");
        *text = format!("blake3:{}", "0".repeat(64));
    }
    if name == "object_key" {
        assert!(text.starts_with("outputs/") && text.ends_with("-1-0000-0.png"), "{text}");
        *text = format!("outputs/01/{ID}-1-0000-0.png");
    }
    if name == "instance" {
        *text = "http://127.0.0.1:8188".into();
    }
    for part in text.clone().split('/').filter(|part| part.parse::<uuid::Uuid>().is_ok()) {
        *text = text.replace(part, ID);
    }
    *text = text.replace(base, BASE);
}

fn check(name: &str, mut shown: Value, base: &str) {
    settle(&mut shown, "", base);
    if std::env::var_os("UPDATE_CONTRACT").is_some() {
        std::fs::write(path(name), format!("{shown:#}\n")).unwrap();
    }
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
