#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

use super::*;
use crate::fleet::FleetView;
use crate::http::view::tests::{ACCEPTED, live, row};
use crate::prices::Prices;
use crate::store::StoredState;

fn names(out: &str) -> Vec<&str> {
    out.lines().filter_map(|line| line.strip_prefix("event: ")).collect()
}

fn tell(told: &mut Told, state: StoredState, revision: u64) -> String {
    let mut out = String::new();
    let mut row = row(state);
    row.revision = revision;
    let (fleet, prices) = (FleetView::default(), Prices::default());
    let setting = Setting { base: "http://x", fleet: &fleet, prices: &prices };
    told.job(&Seen::new(row, None), &[], &setting, &mut out);
    out
}

#[test]
fn a_revision_is_told_once_and_is_the_events_id() {
    let mut told = Told::default();
    let first = tell(&mut told, StoredState::Queued, 1);
    assert!(first.starts_with("id: 1\nevent: job\ndata: {"), "{first}");
    assert_eq!(tell(&mut told, StoredState::Queued, 1), "");
    assert!(tell(&mut told, StoredState::Placed, 4).starts_with("id: 4\n"), "revisions may be skipped");
    assert_eq!(tell(&mut told, StoredState::Queued, 3), "", "never an older one");
}

#[test]
fn what_is_not_on_disk_has_no_id() {
    let (mut told, mut out) = (Told::default(), String::new());
    tell(&mut told, StoredState::Placed, 2);
    let state = live(1, Phase::Running);
    told.status(&state, &mut out);
    told.progress(&state, Instant::now(), &mut out);
    told.outlook(Outlook { position: Some(3), ..Outlook::default() }, &mut out);
    assert_eq!(names(&out), ["status", "progress", "outlook"]);
    assert!(!out.contains("id: "), "{out}");
    let before = out.len();
    told.status(&state, &mut out);
    told.progress(&state, Instant::now(), &mut out);
    told.outlook(Outlook { position: Some(3), ..Outlook::default() }, &mut out);
    assert_eq!(out.len(), before, "nothing twice");
}

#[test]
fn progress_is_thinned_and_its_newest_word_comes_later() {
    let (mut told, mut out) = (Told::default(), String::new());
    let now = Instant::now();
    let mut state = live(1, Phase::Running);
    assert_eq!(told.progress(&state, now, &mut out), None);
    state.progress = Some(Progress { value: 0.75, ..Progress::default() });
    let due = told.progress(&state, now, &mut out);
    assert_eq!((due, names(&out).len()), (Some(now + PACE), 1));
    assert_eq!(told.progress(&state, now + PACE, &mut out), None);
    assert!(out.contains("0.75"), "{out}");
}

#[test]
fn a_prediction_that_hardly_moves_is_not_told_again() {
    let (mut told, mut out) = (Told::default(), String::new());
    let end = |ms| Outlook { predicted_end: Some(ACCEPTED + ms), ..Outlook::default() };
    for (ms, told_so_far) in [(0, 1), (999, 1), (-999, 1), (1_000, 2), (1_500, 2)] {
        told.outlook(end(ms), &mut out);
        assert_eq!(names(&out).len(), told_so_far, "{ms}");
    }
}
