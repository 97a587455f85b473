#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

use serde_json::{Value, json};

use super::*;
use crate::delivery::Place;
use crate::http::view::tests::{ACCEPTED, live, row};
use crate::store::{JobRow, StoredState};

const BASE: &str = "https://gw.example";

fn rendered(seen: &Seen) -> Value {
    serde_json::to_value(job(seen, None, &[], BASE, ACCEPTED)).unwrap()
}

#[test]
fn required_members_are_there_even_when_they_are_null() {
    let job = rendered(&Seen::new(row(StoredState::Queued), None));
    let required = [
        "id",
        "status",
        "created_at",
        "started_at",
        "completed_at",
        "expires_at",
        "queue_position",
        "progress",
        "outputs",
        "error",
        "urls",
    ];
    for member in required {
        assert!(job.get(member).is_some(), "{member} is missing");
    }
    assert_eq!(job["created_at"], "2026-01-02T03:04:05.678Z");
    assert_eq!(job["started_at"], Value::Null);
    assert_eq!(job["urls"]["events"], format!("/api/v2/jobs/{}/events", job["id"].as_str().unwrap()));
}

#[test]
fn a_prefetched_job_is_queued_and_a_collecting_one_is_running() {
    for (phase, expected) in [
        (Phase::Dispatching, "queued"),
        (Phase::Running, "running"),
        (Phase::Collecting, "running"),
        (Phase::Canceling, "canceling"),
    ] {
        let job = rendered(&Seen::new(row(StoredState::Placed), Some(live(1, phase))));
        assert_eq!(job["status"], expected);
    }
}

#[test]
fn a_job_in_doubt_is_shown_as_what_it_was_before() {
    let mut before_start = live(1, Phase::InDoubt);
    before_start.started_at = None;
    assert_eq!(rendered(&Seen::new(row(StoredState::Placed), Some(before_start)))["status"], "queued");
    let job = rendered(&Seen::new(row(StoredState::Placed), Some(live(1, Phase::InDoubt))));
    assert_eq!(job["status"], "running");
}

#[test]
fn a_passed_deadline_is_a_failure_with_its_own_code() {
    let error = JobError { code: "deadline_exceeded".into(), ..JobError::default() };
    let passed = JobRow { error: Some(error), ..row(StoredState::Expired) };
    let job = rendered(&Seen::new(passed, None));
    assert_eq!(job["status"], "failed");
    assert_eq!(job["error"]["code"], "deadline_exceeded");
}

#[test]
fn a_record_past_its_retention_is_expired() {
    let job = rendered(&Seen::new(row(StoredState::Expired), None));
    assert_eq!(job["status"], "expired");
    assert!(job["error"].is_null());
}

#[test]
fn an_ended_job_tells_all_its_times() {
    let job = rendered(&Seen::new(row(StoredState::Succeeded), None));
    assert_eq!(job["completed_at"], "2026-01-02T03:04:14.678Z");
    assert_eq!(job["metrics"], json!({"queue_ms": 1000, "execution_ms": 8000}));
}

#[test]
fn a_node_error_has_the_contracts_code() {
    let mut failed = row(StoredState::Failed);
    failed.error =
        Some(JobError { code: "node_error".into(), message: "boom".into(), ..JobError::default() });
    let job = rendered(&Seen::new(failed, None));
    assert_eq!(job["error"]["code"], "node_execution_error");
    assert_eq!(job["error"]["traceback"], Value::Null);
}

#[test]
fn an_output_has_its_size_its_hash_and_an_absolute_url() {
    let output_row = OutputRow {
        id: Uuid::from_u128(7),
        job: Uuid::from_u128(1),
        node_id: "9".into(),
        kind: OutputKind::Image,
        name: "ComfyUI_00001_.png".into(),
        content_type: "image/png".into(),
        size_bytes: 12,
        hash: "ab".repeat(32),
        object_key: "secret/place".into(),
        place: Place::Own,
        receipt: None,
        size: None,
        placeholder: None,
        variants: Vec::new(),
    };
    let rendered = serde_json::to_value(output(&output_row, "job", BASE, ACCEPTED)).unwrap();
    assert_eq!(rendered["type"], "image");
    assert_eq!(rendered["size_bytes"], 12);
    assert_eq!(rendered["hash"], format!("blake3:{}", "ab".repeat(32)));
    assert_eq!(rendered["url"], format!("{BASE}/api/v2/assets/{}/content", Uuid::from_u128(7)));
    assert!(!rendered.to_string().contains("secret/place"));
}

#[test]
fn a_progress_that_lies_stays_between_0_and_1() {
    for (value, expected) in [(2.0, 1.0), (-1.0, 0.0), (f64::NAN, 0.0)] {
        let shown = serde_json::to_value(progress(&Live { value, ..Live::default() })).unwrap();
        assert_eq!(shown["value"], expected);
    }
}
