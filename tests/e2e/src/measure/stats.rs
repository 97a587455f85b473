//! Medians and tails of durations.

use std::time::Duration;

/// Durations of one kind.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    sorted: Vec<Duration>,
}

impl Samples {
    /// The middle one; zero when there are none.
    pub fn median(&self) -> Duration {
        self.at(0.50)
    }

    /// The one that 99 of 100 do not exceed; zero when there are none.
    pub fn p99(&self) -> Duration {
        self.at(0.99)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    fn at(&self, share: f64) -> Duration {
        let last = self.sorted.len().saturating_sub(1);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index of a list that fits into memory, times a share of it"
        )]
        let index = (last as f64 * share).round() as usize;
        self.sorted.get(index).copied().unwrap_or_default()
    }
}

impl IntoIterator for Samples {
    type Item = Duration;
    type IntoIter = std::vec::IntoIter<Duration>;

    fn into_iter(self) -> Self::IntoIter {
        self.sorted.into_iter()
    }
}

impl FromIterator<Duration> for Samples {
    fn from_iter<I: IntoIterator<Item = Duration>>(durations: I) -> Self {
        let mut sorted: Vec<Duration> = durations.into_iter().collect();
        sorted.sort_unstable();
        Self { sorted }
    }
}

/// Milliseconds with a fraction; negative when `less` is more than `from`.
pub fn difference_ms(from: Duration, less: Duration) -> f64 {
    ms(from) - ms(less)
}

/// Milliseconds with a fraction.
pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// How many a second.
pub fn rate(count: usize, took: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let count = count as f64;
    count / took.as_secs_f64().max(f64::EPSILON)
}

/// A duration's share for each of `count`, milliseconds.
pub fn each_ms(total: Duration, count: usize) -> f64 {
    1e3 / rate(count.max(1), total.max(Duration::from_nanos(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle_and_p99_next_to_the_end() {
        let samples: Samples = (0..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(samples.median(), Duration::from_millis(50));
        assert_eq!(samples.p99(), Duration::from_millis(99));
        assert_eq!(Samples::default().median(), Duration::ZERO);
    }

    #[test]
    fn shares_and_rates_agree() {
        let second = Duration::from_secs(1);
        assert!((rate(4, second) - 4.0).abs() < 1e-9);
        assert!((each_ms(second, 4) - 250.0).abs() < 1e-9);
        assert!((difference_ms(second, 2 * second) + 1000.0).abs() < 1e-9);
    }
}
