//! Several policies over several scenarios, side by side.

use std::fmt::Write as _;

use serde::Serialize;
use std::collections::BTreeMap;

use super::fixed;
use super::metrics::{Metrics, round4};
use super::policies::PolicyKind;

/// What one policy achieved in one scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Name of the scenario.
    pub scenario: String,
    /// The policy.
    pub policy: PolicyKind,
    /// Its figures.
    pub metrics: Metrics,
}

/// A figure that is worth a table of its own.
struct Figure {
    title: &'static str,
    key: &'static str,
    decimals: usize,
    value: fn(&Metrics) -> Option<f64>,
    /// Whether ratios of it mean something: a time or a cost that is never zero.
    has_ratio: bool,
}

const fn figure(
    title: &'static str,
    key: &'static str,
    decimals: usize,
    value: fn(&Metrics) -> Option<f64>,
    has_ratio: bool,
) -> Figure {
    Figure { title, key, decimals, value, has_ratio }
}

const FIGURES: [Figure; 14] = [
    figure("Mean completion time, s", "jct_mean_s", 1, |m| m.jct_mean_s, true),
    figure("p99 completion time, s", "jct_p99_s", 0, |m| m.jct_p99_s, true),
    figure("p50 completion time, s", "jct_p50_s", 1, |m| m.jct_p50_s, true),
    figure("Checkpoint switches per job", "ckpt_switches_per_job", 2, |m| m.ckpt_switches_per_job, true),
    figure("SLO attainment", "slo_attain", 3, |m| m.slo_attain, false),
    figure(
        "Largest mean slowdown of a compliant tenant",
        "max_tenant_slowdown",
        1,
        |m| m.max_tenant_slowdown,
        true,
    ),
    figure("Service fairness (jain_service)", "jain_service", 2, |m| m.jain_service, false),
    figure("Interactive jobs: p99 completion, s", "prio2_jct_p99_s", 0, |m| m.prio2_jct_p99_s, true),
    figure("Longest queueing delay, s", "queue_max_s", 0, |m| m.queue_max_s, false),
    figure("Busy GPU cost per 1,000 jobs, $", "usd_busy_per_1k", 1, |m| m.usd_busy_per_1k, true),
    figure("Makespan, s", "makespan_s", 0, |m| Some(m.makespan_s), true),
    figure("Out of memory", "oom", 0, |m| Some(m.oom as f64), false),
    figure("Preemptions", "preemptions", 0, |m| Some(m.preemptions as f64), false),
    figure("Lost jobs", "lost", 0, |m| Some(m.lost as f64), false),
];

/// The policies that the others are measured against.
const YARDSTICKS: [PolicyKind; 2] = [PolicyKind::Ect, PolicyKind::LeastQueue];

/// Runs by scenario and policy, in the order in which they were given.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    runs: Vec<Run>,
    scenarios: Vec<String>,
    policies: Vec<PolicyKind>,
}

impl Comparison {
    /// Puts runs side by side.
    #[must_use]
    pub fn of(runs: Vec<Run>) -> Self {
        let (mut scenarios, mut policies) = (Vec::new(), Vec::new());
        for run in &runs {
            if !scenarios.contains(&run.scenario) {
                scenarios.push(run.scenario.clone());
            }
            if !policies.contains(&run.policy) {
                policies.push(run.policy);
            }
        }
        Self { runs, scenarios, policies }
    }

    fn metrics(&self, scenario: &str, policy: PolicyKind) -> Option<&Metrics> {
        let run = self.runs.iter().find(|run| run.scenario == scenario && run.policy == policy);
        run.map(|run| &run.metrics)
    }

    /// Geometric mean over the scenarios of a policy's figure divided by another's; `None` when one is missing or zero.
    fn ratio(&self, figure: &Figure, policy: PolicyKind, to: PolicyKind) -> Option<f64> {
        let mut logs = 0_i64;
        for scenario in &self.scenarios {
            let value = |policy| self.metrics(scenario, policy).and_then(figure.value);
            logs = logs.checked_add(ln_ratio(value(policy)?, value(to)?)?)?;
        }
        let mean = logs / i64::try_from(self.scenarios.len()).ok().filter(|count| *count > 0)?;
        Some(round4(fixed::exp(mean) as f64 / fixed::ONE as f64))
    }

    fn yardsticks(&self) -> impl Iterator<Item = PolicyKind> {
        YARDSTICKS.into_iter().filter(|yardstick| self.policies.contains(yardstick))
    }

    /// One table per figure, and the geometric means of its ratios.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for figure in &FIGURES {
            self.table(figure, &mut text);
        }
        text
    }

    fn table(&self, figure: &Figure, text: &mut String) {
        let first = self.scenarios.iter().map(String::len).max().unwrap_or(0).max(22);
        let mut row = |label: &str, cells: &mut dyn Iterator<Item = String>| {
            let _ = write!(text, "  {label:<first$}");
            for cell in cells {
                let _ = write!(text, " {cell:>12}");
            }
            text.push('\n');
        };
        let header = figure.title.to_owned();
        row(&header, &mut self.policies.iter().map(ToString::to_string));
        for scenario in &self.scenarios {
            let cell = |policy: &PolicyKind| {
                let value = self.metrics(scenario, *policy).and_then(figure.value);
                value.map_or_else(|| "-".to_owned(), |value| thousands(value, figure.decimals))
            };
            row(scenario, &mut self.policies.iter().map(cell));
        }
        for yardstick in self.yardsticks().filter(|_| figure.has_ratio && self.policies.len() > 1) {
            let cell = |policy: &PolicyKind| {
                let ratio = self.ratio(figure, *policy, yardstick);
                ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3} x"))
            };
            row(&format!("  against {yardstick}"), &mut self.policies.iter().map(cell));
        }
        text.push('\n');
    }

    /// The same as JSON: `{scenarios: {name: {policy: metrics}}, ratios: {yardstick: {policy: {key: geometric mean}}}}`.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        #[derive(Serialize)]
        struct All<'a> {
            ratios: BTreeMap<&'a str, BTreeMap<&'a str, BTreeMap<&'a str, Option<f64>>>>,
            scenarios: BTreeMap<&'a str, BTreeMap<&'a str, &'a Metrics>>,
        }
        let mut scenarios: BTreeMap<&str, BTreeMap<&str, &Metrics>> = BTreeMap::new();
        for run in &self.runs {
            scenarios.entry(&run.scenario).or_default().insert(run.policy.name(), &run.metrics);
        }
        let figures = |policy, to| {
            let with = FIGURES.iter().filter(|figure| figure.has_ratio);
            with.map(|figure| (figure.key, self.ratio(figure, policy, to))).collect()
        };
        let policies =
            |to| self.policies.iter().map(|policy| (policy.name(), figures(*policy, to))).collect();
        let ratios = self.yardsticks().map(|to| (to.name(), policies(to))).collect();
        serde_json::to_value(All { ratios, scenarios }).unwrap_or_default()
    }
}

/// ln(a / b); `None` unless both are positive.
fn ln_ratio(a: f64, b: f64) -> Option<i64> {
    if !(a > 0.0 && b > 0.0) {
        return None;
    }
    // Figures have at most four decimals, so ten thousandths are exact.
    let whole = |value: f64| (value * 10_000.0).round() as u64;
    Some(fixed::ln(whole(a)) - fixed::ln(whole(b)))
}

/// A number with commas between its thousands.
fn thousands(value: f64, decimals: usize) -> String {
    let plain = format!("{value:.decimals$}");
    let (whole, rest) = plain.split_once('.').unwrap_or((&plain, ""));
    let mut text = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    if !rest.is_empty() {
        text.push('.');
        text.push_str(rest);
    }
    text
}
