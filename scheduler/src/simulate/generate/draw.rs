//! Choosing from a list of weights.

use crate::rng::Rng;
use crate::simulate::fixed;

/// Weights that add up, for choosing a position.
#[derive(Debug, Clone)]
pub(super) struct Weights {
    sums: Vec<u64>,
}

impl Weights {
    pub(super) fn of(weights: impl IntoIterator<Item = u64>) -> Self {
        let mut sum = 0;
        let sums = weights.into_iter().map(|weight| {
            sum += weight;
            sum
        });
        Self { sums: sums.collect() }
    }

    /// The k-th of `count` things has weight k^-exponent.
    pub(super) fn zipf(count: u32, exponent_milli: i64) -> Self {
        let exponent = exponent_milli * fixed::ONE / 1000;
        Self::of((1..=count).map(|rank| fixed::inverse_power(rank, exponent)))
    }

    pub(super) fn pick(&self, rng: &mut Rng) -> usize {
        let total = self.sums.last().copied().unwrap_or(1).max(1);
        let at = rng.up_to(total - 1);
        self.sums.partition_point(|sum| *sum <= at).min(self.sums.len().saturating_sub(1))
    }
}

/// Whether something happens that does so `milli` times in a thousand.
pub(super) fn happens(rng: &mut Rng, milli: u64) -> bool {
    rng.up_to(999) < milli
}

/// A whole number from `low` to `high`.
pub(super) fn between(rng: &mut Rng, low: i64, high: i64) -> i64 {
    low + i64::try_from(rng.up_to(high.abs_diff(low))).unwrap_or(0)
}

/// Any order of the items, each equally likely.
pub(super) fn shuffle<T>(rng: &mut Rng, items: &mut [T]) {
    for last in (1..items.len()).rev() {
        let other = usize::try_from(rng.up_to(last as u64)).unwrap_or(0);
        items.swap(last, other);
    }
}
