//! Wrong predictions are wrong in the same way everywhere.

use crate::support::{measure, scenario};
use scheduler::simulate::{PolicyKind, Speed};

#[test]
fn an_estimate_error_has_the_spread_it_was_asked_for_and_no_bias() {
    let exact = scenario("steady");
    let wrong = exact.clone().with_estimate_error(300, 7);
    let logs: Vec<f64> = exact
        .jobs()
        .iter()
        .zip(wrong.jobs())
        .map(|(exact, wrong)| (wrong.est_ms as f64 / exact.est_ms as f64).ln())
        .collect();
    let count = logs.len() as f64;
    let mean = logs.iter().sum::<f64>() / count;
    let sigma = (logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / count).sqrt();
    assert!(mean.abs() < 0.02, "mean {mean}");
    assert!((sigma - 0.3).abs() < 0.01, "sigma {sigma}");
}

#[test]
fn an_estimate_error_depends_on_the_seed_alone() {
    let exact = scenario("light");
    let draw = |seed| exact.clone().with_estimate_error(300, seed);
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
    assert_eq!(exact.clone().with_estimate_error(0, 1), exact);
    let first: Vec<i64> = draw(1).jobs().iter().take(4).map(|job| job.est_ms).collect();
    assert_eq!(first, [3958, 7340, 13436, 5212], "pinned: another platform must find the same");
}

#[test]
fn only_policies_that_predict_feel_an_estimate_error() {
    let exact = scenario("light");
    let wrong = exact.clone().with_estimate_error(300, 1);
    assert_eq!(measure(&exact, PolicyKind::Fifo), measure(&wrong, PolicyKind::Fifo));
    assert_ne!(measure(&exact, PolicyKind::Ect), measure(&wrong, PolicyKind::Ect));
}

#[test]
fn hidden_speeds_still_tell_what_a_class_cannot_run() {
    let shown = scenario("light");
    let hidden = shown.clone().with_hidden_speeds();
    for (shown, hidden) in shown.setting().classes.iter().zip(&hidden.setting().classes) {
        for (shown, hidden) in shown.speeds.iter().zip(&hidden.speeds) {
            assert_eq!(*hidden, if shown.runs() { Speed::Unknown } else { Speed::CannotRun });
        }
    }
    assert_eq!(measure(&shown, PolicyKind::Fifo), measure(&hidden, PolicyKind::Fifo));
}
