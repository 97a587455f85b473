//! Fairness of service: who got how much device time while several tenants waited (`jain_service`).

use std::collections::BTreeMap;

use super::devices::price;
use super::numbers::jain;
use crate::simulate::replay::{JobEnd, Replay};
use crate::simulate::scenario::{Ms, Scenario};

const WINDOW_MS: Ms = 300_000;
const SAMPLE_MS: Ms = 10_000;
const SAMPLES: Ms = WINDOW_MS / SAMPLE_MS;

pub(super) struct Service {
    /// Weighted by the number of tenants; `None` without a window.
    pub(super) mean: Option<f64>,
    /// Windows with at least two backlogged tenants, one of which was served.
    pub(super) windows: usize,
}

/// Price-weighted device time of each backlogged tenant, by window.
type Shares = BTreeMap<Ms, BTreeMap<usize, i128>>;

pub(super) fn fairness(scenario: &Scenario, replay: &Replay) -> Service {
    let mut shares = backlogged(scenario, replay);
    shares.retain(|_, tenants| tenants.len() >= 2);
    add_service(&mut shares, scenario, replay);
    let (mut sum, mut weight, mut windows) = (0.0, 0.0, 0);
    for tenants in shares.values() {
        let values: Vec<f64> = tenants
            .iter()
            .map(|(tenant, got)| *got as f64 / scenario.setting.tenants[*tenant].weight as f64)
            .collect();
        // A window in which none of them got anything says nothing about their shares.
        let Some(jain) = jain(&values) else { continue };
        sum += jain * values.len() as f64;
        weight += values.len() as f64;
        windows += 1;
    }
    Service { mean: (weight > 0.0).then(|| sum / weight), windows }
}

/// The windows in which a tenant waits at every sample point.
fn backlogged(scenario: &Scenario, replay: &Replay) -> Shares {
    let mut shares = Shares::new();
    for (tenant, mut waits) in waits_by_tenant(scenario, replay).into_iter().enumerate() {
        waits.sort_unstable();
        let mut merged: Vec<(Ms, Ms)> = Vec::new();
        for (from, until) in waits {
            match merged.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(until),
                _ => merged.push((from, until)),
            }
        }
        for (from, until) in merged {
            for window in (from + SAMPLES - 1) / SAMPLES..until / SAMPLES {
                shares.entry(window).or_default().insert(tenant, 0);
            }
        }
    }
    shares
}

/// By tenant, the sample points `[from, until)` at which each job waits: `t <= g < start`.
fn waits_by_tenant(scenario: &Scenario, replay: &Replay) -> Vec<Vec<(Ms, Ms)>> {
    let mut waits = vec![Vec::new(); scenario.setting.tenants.len()];
    let sample = |ms: Ms| (ms + SAMPLE_MS - 1) / SAMPLE_MS;
    for (job, end) in scenario.jobs.iter().zip(&replay.ends) {
        let JobEnd::Completed { attempt } = end else { continue };
        let (from, until) = (sample(job.t), sample(replay.attempts[*attempt].start_ms));
        if from < until {
            waits[job.tenant.index()].push((from, until));
        }
    }
    waits
}

fn add_service(shares: &mut Shares, scenario: &Scenario, replay: &Replay) {
    for attempt in &replay.attempts {
        let tenant = scenario.jobs[attempt.job.index()].tenant.index();
        let windows = attempt.start_ms / WINDOW_MS..=attempt.end_ms / WINDOW_MS;
        for (window, tenants) in shares.range_mut(windows) {
            let Some(got) = tenants.get_mut(&tenant) else { continue };
            let from = attempt.start_ms.max(window * WINDOW_MS);
            let until = attempt.end_ms.min((window + 1) * WINDOW_MS);
            *got += i128::from(until - from) * price(scenario, attempt.node);
        }
    }
}
