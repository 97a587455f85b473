//! Wrong predictions, on purpose: how much a policy depends on knowing run times.

use super::fixed;
use super::scenario::{Job, Scenario};
use crate::rng::Rng;

/// The longest prediction that an error can make, ms: what a trace may say at most.
const MOST_MS: i64 = 1_000_000_000;

impl Scenario {
    /// The same world with a log-normal error on every `est_ms`: each is multiplied by e^(σ·z), z standard normal.
    ///
    /// `sigma_milli` is σ in thousandths. Every job draws from `seed` and its own position, in whole numbers, so that
    /// the predictions are the same on every platform.
    #[must_use]
    pub fn with_estimate_error(mut self, sigma_milli: u32, seed: u64) -> Self {
        for (job, index) in self.jobs.iter_mut().zip(0..) {
            let mut rng = Rng::new(seed).fork(index);
            let power = i64::from(sigma_milli).saturating_mul(fixed::normal(&mut rng)) / 1000;
            let Job { est_ms, .. } = job;
            *est_ms = fixed::scale(*est_ms, fixed::exp(power)).clamp(1, MOST_MS);
        }
        self
    }
}
