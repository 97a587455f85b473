//! Means, ranks and rounding.

use crate::simulate::scenario::Ms;

/// Times of many jobs at a glance, in seconds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spread {
    pub(super) mean: Option<f64>,
    pub(super) p50: Option<f64>,
    pub(super) p95: Option<f64>,
    pub(super) p99: Option<f64>,
    pub(super) max: Option<f64>,
}

impl Spread {
    pub(super) fn of(times: impl Iterator<Item = Ms>) -> Self {
        let mut sorted: Vec<Ms> = times.collect();
        sorted.sort_unstable();
        let sum: i128 = sorted.iter().map(|ms| i128::from(*ms)).sum();
        let percentile = |percent| rank(&sorted, percent).map(|ms| seconds(*ms));
        Self {
            mean: ratio(sum as f64, sorted.len() as f64).map(|ms| round4(ms / 1000.0)),
            p50: percentile(50),
            p95: percentile(95),
            p99: percentile(99),
            max: sorted.last().map(|ms| seconds(*ms)),
        }
    }
}

/// Jain's index of fairness: 1 when all are equal, 1/n when one has everything; `None` when nobody has anything.
pub(super) fn jain(values: &[f64]) -> Option<f64> {
    let sum: f64 = values.iter().sum();
    let squares: f64 = values.iter().map(|value| value * value).sum();
    ratio(sum * sum, values.len() as f64 * squares)
}

/// A part of a whole; `None` where there is no whole.
pub(super) fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

pub(super) fn mean(values: &[f64]) -> Option<f64> {
    ratio(values.iter().sum(), values.len() as f64)
}

/// Nearest rank.
pub(super) fn rank<T>(sorted: &[T], percent: usize) -> Option<&T> {
    sorted.get((sorted.len() * percent).div_ceil(100).saturating_sub(1))
}

pub(super) fn seconds(ms: Ms) -> f64 {
    round4(ms as f64 / 1000.0)
}

/// Four decimals, as all figures of the reference but one.
pub(in crate::simulate) fn round4(value: f64) -> f64 {
    round(value, 4)
}

/// Rounds as printing does: to the decimal nearest to the exact value, so that no multiplication pushes it over an edge.
pub(super) fn round(value: f64, decimals: usize) -> f64 {
    format!("{value:.decimals$}").parse().unwrap_or(value)
}
