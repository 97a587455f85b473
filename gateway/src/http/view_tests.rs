#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

use std::collections::BTreeMap;

use scheduler::Class;

use super::*;
use crate::store::Face;

/// 2026-01-02T03:04:05.678Z.
pub(crate) const ACCEPTED: i64 = 1_767_323_045_678;

/// A job in the given state, on its first attempt unless it waits.
pub(crate) fn row(state: StoredState) -> JobRow {
    let id = Uuid::from_u128(0x019b_7c5e_0000_7000_8000_0000_0000_0001);
    JobRow {
        id,
        public_id: id.to_string(),
        tenant: 1,
        face: Face::V2,
        state,
        revision: 3,
        class: Class::Normal,
        attempt: u32::from(state != StoredState::Queued),
        instance: None,
        faults: 0,
        losses: 0,
        labels: BTreeMap::from([("order".into(), "1234".into())]),
        user: None,
        template: None,
        retry_of: None,
        batch: None,
        due_at: None,
        accepted_at: ACCEPTED,
        started_at: state.is_terminal().then_some(ACCEPTED + 1_000),
        ended_at: state.is_terminal().then_some(ACCEPTED + 9_000),
        start_deadline: None,
        deadline: ACCEPTED + 86_400_000,
        expires_at: ACCEPTED + 604_800_000,
        error: None,
        used: None,
    }
}

/// What the board knows of an attempt.
pub(crate) fn live(attempt: u32, phase: Phase) -> LiveState {
    LiveState {
        phase: Some(phase),
        attempt,
        instance: Some("gpu-0".into()),
        started_at: Some(ACCEPTED + 1_000),
        progress: Some(Progress { value: 0.5, nodes_done: 3, nodes_total: 6, ..Progress::default() }),
        preview: None,
        transitions: vec![(1, phase)],
        committed: 0,
    }
}

#[test]
fn a_row_that_ended_is_the_truth_whatever_the_board_says() {
    let seen = Seen::new(row(StoredState::Succeeded), Some(live(1, Phase::Running)));
    assert_eq!(seen.phase, Phase::Succeeded);
}

#[test]
fn a_row_that_waits_again_hides_what_the_board_knew_of_the_lost_attempt() {
    let mut waiting = row(StoredState::Queued);
    waiting.attempt = 1;
    let seen = Seen::new(waiting, Some(live(1, Phase::Running)));
    assert_eq!((seen.phase, seen.progress()), (Phase::Queued, None));
}

#[test]
fn progress_of_an_older_attempt_is_not_shown() {
    let mut placed = row(StoredState::Placed);
    placed.attempt = 2;
    let seen = Seen::new(placed, Some(live(1, Phase::Running)));
    assert_eq!((seen.phase, seen.progress().is_none()), (Phase::Dispatching, true));
}

#[test]
fn a_placed_job_is_as_far_as_the_board_says() {
    let seen = Seen::new(row(StoredState::Placed), Some(live(1, Phase::Running)));
    assert_eq!((seen.phase, seen.instance()), (Phase::Running, Some("gpu-0")));
}
