//! Time as a value. Nothing in this crate can ask what time it is.

use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch, handed in by the caller with every event (DESIGN §4.17: anchored once
/// to wall time and monotonic from there).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Later than anything that happens: the deadline of a job without one.
    pub const NEVER: Self = Self(i64::MAX);

    /// This instant and `ms` milliseconds; saturates instead of wrapping.
    #[must_use]
    pub fn plus(self, ms: Millis) -> Self {
        Self(self.0.saturating_add(ms.0))
    }

    /// How long ago `earlier` was; negative when it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }
}

/// A duration in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub i64);

impl Millis {
    /// Longer than anything takes.
    pub const FOREVER: Self = Self(i64::MAX);

    /// Whole seconds.
    #[must_use]
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }
}
