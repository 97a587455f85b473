//! What GPU time costs, in integers: millionths of the configured currency.

use std::collections::BTreeMap;
use std::sync::Arc;

/// A table of prices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prices {
    /// Code of the currency (ISO 4217), such as `CNY`.
    pub currency: Arc<str>,
    /// One second on a device of a class, millionths; a class that is not there costs nothing.
    pub per_gpu_second: Arc<BTreeMap<String, u64>>,
    /// Least price of a job that succeeded, millionths.
    pub minimum_per_job: u64,
}

impl Default for Prices {
    fn default() -> Self {
        Self { currency: "CNY".into(), per_gpu_second: Arc::default(), minimum_per_job: 0 }
    }
}

impl Prices {
    /// The price of a job that succeeded: its time at the price of the class, rounded up, and never below the minimum.
    #[must_use]
    pub fn of(&self, device_class: &str, gpu_ms: u64) -> u64 {
        let second = self.per_gpu_second.get(device_class).copied().unwrap_or(0);
        let price = (u128::from(second) * u128::from(gpu_ms)).div_ceil(1000);
        u64::try_from(price).unwrap_or(u64::MAX).max(self.minimum_per_job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_priced_by_class_and_rounded_up() {
        let per_gpu_second = [("t4".to_owned(), 300), ("a100".to_owned(), u64::MAX)].into();
        let prices = Prices { per_gpu_second: Arc::new(per_gpu_second), ..Prices::default() };
        assert_eq!(prices.of("t4", 10_000), 3_000);
        assert_eq!(prices.of("t4", 1), 1, "never free");
        assert_eq!(prices.of("t4", 0), 0);
        assert_eq!(prices.of("v100", 10_000), 0, "not in the table");
        assert_eq!(prices.of("a100", u64::MAX), u64::MAX);
        let minimum = Prices { minimum_per_job: 500, ..prices };
        assert_eq!((minimum.of("t4", 1), minimum.of("t4", 10_000), minimum.of("v100", 0)), (500, 3_000, 500));
    }
}
