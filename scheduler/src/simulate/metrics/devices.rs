//! What the devices did with their time, and what it cost.

use crate::simulate::replay::{Attempt, AttemptOutcome, Replay};
use crate::simulate::scenario::{NodeIx, Scenario};

/// Sums over the fleet until the end; exact.
pub(super) struct Devices {
    pub(super) busy_ms: i128,
    pub(super) load_ms: i128,
    /// Of attempts that did not complete.
    pub(super) wasted_ms: i128,
    pub(super) up_ms: i128,
    pub(super) usd_busy: f64,
    pub(super) usd_uptime: f64,
}

impl Devices {
    pub(super) fn of(scenario: &Scenario, replay: &Replay) -> Self {
        let overhead = scenario.setting.constants.overhead_ms;
        let attempts = &replay.attempts;
        let wasted = attempts.iter().filter(|attempt| attempt.outcome != AttemptOutcome::Completed);
        let ups = replay.ups.iter().map(|up| (up.node, i128::from(up.until_ms - up.from_ms)));
        Self {
            busy_ms: attempts.iter().map(busy).sum(),
            load_ms: attempts.iter().map(|attempt| i128::from(attempt.loaded_ms(overhead))).sum(),
            wasted_ms: wasted.map(busy).sum(),
            up_ms: ups.clone().map(|(_, ms)| ms).sum(),
            usd_busy: dollars(scenario, attempts.iter().map(|attempt| (attempt.node, busy(attempt)))),
            usd_uptime: dollars(scenario, ups),
        }
    }
}

fn busy(attempt: &Attempt) -> i128 {
    i128::from(attempt.end_ms - attempt.start_ms)
}

/// Millionths of a dollar per hour.
pub(super) fn price(scenario: &Scenario, node: NodeIx) -> i128 {
    i128::from(scenario.setting.class_of(node).usd_micro_per_hour)
}

/// Sums milliseconds times price exactly, and only then turns them into dollars.
fn dollars(scenario: &Scenario, parts: impl Iterator<Item = (NodeIx, i128)>) -> f64 {
    let sum: i128 = parts.map(|(node, ms)| ms * price(scenario, node)).sum();
    sum as f64 / 3_600_000.0 / 1_000_000.0
}
