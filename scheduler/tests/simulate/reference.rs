//! The simple policies do exactly what the reference did.

use scheduler::simulate::{JobEnd, PolicyKind, Replay, Scenario};
use serde_json::Value;

use crate::support::{REFERENCES, SCENARIOS, measure, play, scenario, text};

/// The replay in the format of the fixtures.
fn csv(scenario: &Scenario, replay: &Replay) -> String {
    let mut text = "job,start_ms,end_ms,attempts\n".to_owned();
    for ((job, end), failed) in scenario.jobs().iter().zip(&replay.ends).zip(&replay.failed_attempts) {
        let JobEnd::Completed { attempt } = *end else { continue };
        let attempt = &replay.attempts[attempt];
        text += &format!("{},{},{},{failed}\n", job.id, attempt.start_ms, attempt.end_ms);
    }
    text
}

fn agrees_job_by_job(kind: PolicyKind) {
    for name in ["failures_spot", "light", "mixed_vram"] {
        let scenario = scenario(name);
        let expected = text(&format!("fixtures/{name}.{kind}.csv.gz"));
        let found = csv(&scenario, &play(&scenario, kind));
        for (line, (found, expected)) in found.lines().zip(expected.lines()).enumerate() {
            assert_eq!(found, expected, "{name}.{kind} line {}", line + 1);
        }
        assert_eq!(found.lines().count(), expected.lines().count(), "{name}.{kind}");
    }
}

#[test]
fn fifo_starts_and_ends_every_job_as_the_reference_did() {
    agrees_job_by_job(PolicyKind::Fifo);
}

#[test]
fn round_robin_starts_and_ends_every_job_as_the_reference_did() {
    agrees_job_by_job(PolicyKind::RoundRobin);
}

#[test]
fn least_queue_starts_and_ends_every_job_as_the_reference_did() {
    agrees_job_by_job(PolicyKind::LeastQueue);
}

#[test]
fn affinity_starts_and_ends_every_job_as_the_reference_did() {
    agrees_job_by_job(PolicyKind::Affinity);
}

#[test]
fn ect_starts_and_ends_every_job_as_the_reference_did() {
    agrees_job_by_job(PolicyKind::Ect);
}

#[test]
fn every_metric_of_every_scenario_and_simple_policy_equals_the_reference_to_its_last_digit() {
    let results: Value = serde_json::from_str(&text("results.json")).unwrap();
    for name in SCENARIOS {
        let scenario = scenario(name);
        for kind in REFERENCES {
            let found = serde_json::to_value(measure(&scenario, kind)).unwrap();
            let (found, expected) =
                (found.as_object().unwrap(), results[name][kind.name()].as_object().unwrap());
            for (key, expected) in expected {
                assert_eq!(found.get(key), Some(expected), "{name}.{kind} {key}");
            }
            assert_eq!(found.len(), expected.len(), "{name}.{kind} has as many keys");
        }
    }
}
