#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::http::view::tests::live;

fn names(out: &str) -> Vec<String> {
    let events = out.lines().filter_map(|line| line.strip_prefix("event: "));
    let datas = out.lines().filter_map(|line| line.strip_prefix("data: "));
    events
        .zip(datas)
        .map(|(event, data)| {
            let data: serde_json::Value = serde_json::from_str(data).unwrap();
            data["status"].as_str().map_or_else(|| event.to_owned(), str::to_owned)
        })
        .collect()
}

fn state(transitions: &[Phase]) -> LiveState {
    let mut state = live(1, *transitions.last().unwrap());
    state.progress = None;
    state.transitions = (1..).zip(transitions.iter().copied()).collect();
    state
}

#[test]
fn each_status_is_told_once_and_a_prefetch_is_no_transition() {
    let mut told = Told::default();
    let mut out = String::new();
    let now = Instant::now();
    told.status("queued", &mut out);
    told.live(&state(&[Phase::Queued, Phase::Dispatching]), now, &mut out);
    told.live(&state(&[Phase::Queued, Phase::Dispatching, Phase::Running, Phase::Collecting]), now, &mut out);
    told.live(&state(&[Phase::Queued, Phase::Dispatching, Phase::Running, Phase::Collecting]), now, &mut out);
    assert_eq!(names(&out), ["queued", "running"]);
}

#[test]
fn a_job_that_did_everything_between_two_looks_is_told_in_order_and_its_end_is_left_to_the_row() {
    let mut told = Told::default();
    let mut out = String::new();
    told.status("queued", &mut out);
    let all = [Phase::Dispatching, Phase::Running, Phase::Collecting, Phase::Succeeded];
    assert_eq!(told.live(&state(&all), Instant::now(), &mut out), Next::Ended);
    assert_eq!(names(&out), ["queued", "running"]);
}

#[test]
fn a_job_in_doubt_keeps_its_status() {
    let mut told = Told::default();
    let mut out = String::new();
    told.live(&state(&[Phase::Running, Phase::InDoubt]), Instant::now(), &mut out);
    assert_eq!(names(&out), ["running"]);
}

#[test]
fn progress_is_held_back_to_its_pace_and_the_newest_wins() {
    let mut told = Told::default();
    let mut out = String::new();
    let began = Instant::now();
    let mut state = state(&[Phase::Running]);
    let mut look = |value: f64, after: Duration, out: &mut String| {
        state.progress = Some(Progress { value, ..Progress::default() });
        told.live(&state, began + after, out)
    };
    assert_eq!(look(0.1, Duration::ZERO, &mut out), Next::Later(None));
    assert_eq!(look(0.2, PACE / 5, &mut out), Next::Later(Some(began + PACE)));
    assert_eq!(look(0.3, PACE / 2, &mut out), Next::Later(Some(began + PACE)));
    assert_eq!(look(0.3, PACE, &mut out), Next::Later(None));
    assert_eq!(look(0.3, PACE * 3, &mut out), Next::Later(None));
    let values: Vec<_> = out.lines().filter_map(|line| line.strip_prefix("data: {\"value\":")).collect();
    assert_eq!(values.len(), 2, "{out}");
    assert!(values[0].starts_with("0.1,") && values[1].starts_with("0.3,"), "{out}");
}

#[test]
fn a_preview_is_told_once_in_base64() {
    let mut told = Told::default();
    let mut out = String::new();
    let mut state = state(&[Phase::Running]);
    let preview =
        Preview { node_id: None, content_type: "image/jpeg".into(), bytes: Bytes::from_static(b"jpeg") };
    state.preview = Some((1, Arc::new(preview)));
    told.live(&state, Instant::now(), &mut out);
    told.live(&state, Instant::now() + PACE * 2, &mut out);
    assert_eq!(names(&out), ["running", "preview"]);
    assert!(out.contains("\"data_base64\":\"anBlZw==\""));
}

#[test]
fn a_position_is_told_when_it_changes_and_only_while_the_job_waits() {
    let mut told = Told::default();
    let mut out = String::new();
    told.status("queued", &mut out);
    told.position(3, &mut out);
    told.position(3, &mut out);
    told.position(2, &mut out);
    told.status("running", &mut out);
    told.position(1, &mut out);
    assert_eq!(names(&out), ["queued", "queued", "queued", "running"]);
    assert!(out.ends_with("data: {\"status\":\"running\",\"queue_position\":null}\n\n"), "{out}");
}
