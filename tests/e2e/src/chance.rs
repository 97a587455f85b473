//! Chance that can be repeated, and numbers that a caller sets.

use anyhow::Context as _;

/// Numbers that look random and follow from a seed (splitmix64).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// From a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number from 0 that is below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// The number in a variable of the environment, if it is set.
///
/// # Errors
/// When there is something else in it.
pub fn number(variable: &str) -> anyhow::Result<Option<u64>> {
    let text = std::env::var(variable).ok().filter(|text| !text.is_empty());
    text.map(|text| text.parse().with_context(|| format!("{variable} is not a number"))).transpose()
}

/// A seed to begin with: what `SEED` says, or a fresh one.
///
/// # Errors
/// When `SEED` is no number.
pub fn seed() -> anyhow::Result<u64> {
    Ok(number("SEED")?.unwrap_or_else(|| u64::from(uuid::Uuid::new_v4().as_fields().0)))
}
