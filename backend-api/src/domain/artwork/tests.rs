//! Any history of signals, in any order and number.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

use proptest::prelude::*;

use super::*;

const SIGNALS: [Signal; 10] = [
    Signal::Taken,
    Signal::Started,
    Signal::Succeeded,
    Signal::Failed,
    Signal::Canceled,
    Signal::CheckAsked,
    Signal::Passed,
    Signal::Stopped,
    Signal::Approved,
    Signal::TakenDown,
];

fn history() -> impl Strategy<Value = Vec<Signal>> {
    prop::collection::vec(prop::sample::select(&SIGNALS[..]), 0..40)
}

/// Every state that a history leads through; what is illegal changes nothing.
fn lived(signals: &[Signal]) -> Vec<(Signal, ArtworkState, ArtworkState)> {
    let mut state = ArtworkState::Created;
    let mut steps = Vec::new();
    for &signal in signals {
        if let Ok(Step::To(next)) = state.next(signal) {
            steps.push((signal, state, next));
            state = next;
        }
    }
    steps
}

proptest! {
    #[test]
    fn credits_are_settled_or_released_once_and_never_both(signals in history()) {
        let ends = lived(&signals).into_iter().filter(|(_, from, to)| from.fate() != to.fate());
        let ends: Vec<_> = ends.collect();
        prop_assert!(ends.len() <= 1, "{ends:?}");
        for (signal, from, to) in ends {
            prop_assert_eq!(from.fate(), Fate::Held);
            let is_success = signal == Signal::Succeeded;
            prop_assert_eq!(to.fate() == Fate::Settled, is_success, "only a success settles");
        }
    }

    #[test]
    fn nothing_is_visible_without_a_check_that_passed_or_a_person_who_approved(signals in history()) {
        for (signal, _, to) in lived(&signals) {
            if to == ArtworkState::Visible {
                prop_assert!(matches!(signal, Signal::Passed | Signal::Approved));
            }
        }
    }

    #[test]
    fn what_was_hidden_comes_back_by_a_person_alone(signals in history()) {
        for (signal, from, to) in lived(&signals) {
            if from == ArtworkState::Hidden {
                prop_assert_eq!((signal, to), (Signal::Approved, ArtworkState::Visible));
            }
        }
    }

    #[test]
    fn the_same_word_twice_is_the_same_as_once(signals in history()) {
        let twice: Vec<_> = signals.iter().flat_map(|&signal| [signal, signal]).collect();
        prop_assert_eq!(lived(&signals), lived(&twice));
    }
}

#[test]
fn a_success_after_the_credits_went_back_is_illegal_rather_than_paid() {
    for state in [ArtworkState::Failed, ArtworkState::Canceled] {
        assert!(state.next(Signal::Succeeded).is_err());
    }
}

#[test]
fn every_state_is_read_back_from_its_name() {
    for state in ArtworkState::ALL {
        assert_eq!(ArtworkState::named(state.as_str()), Some(state));
        assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
    }
}

#[test]
fn the_worst_picture_decides_and_a_missing_verdict_decides_nothing() {
    use Verdict::*;
    assert_eq!(Verdict::of_all([Some(Pass), Some(Risky), Some(Review)]), Some(Risky));
    assert_eq!(Verdict::of_all([Some(Pass), Some(Review)]), Some(Review));
    assert_eq!(Verdict::of_all([Some(Pass), Some(Pass)]), Some(Pass));
    assert_eq!(Verdict::of_all([Some(Risky), None]), None);
}
