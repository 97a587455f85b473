//! Time for the scheduler: monotonic, anchored once to wall time, never below what the store has seen (DESIGN §4.17).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use scheduler::{Millis, Timestamp};
use tokio::time::Instant;

/// A wall clock that differs by more than this is reported, not obeyed.
const JUMP: u64 = 5_000;

/// Milliseconds since the epoch that never jump and never go back.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    anchor: Instant,
    anchored_at: i64,
}

impl Clock {
    /// Anchors to the wall clock, but not below `floor` (the latest time in the store).
    #[must_use]
    pub fn anchored(floor: i64) -> Self {
        Self { anchor: Instant::now(), anchored_at: wall().max(floor) }
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let elapsed = i64::try_from(self.anchor.elapsed().as_millis()).unwrap_or(i64::MAX);
        Timestamp(self.anchored_at.saturating_add(elapsed))
    }

    /// The instant at which `at` will be reached.
    #[must_use]
    pub fn instant(&self, at: Timestamp) -> Instant {
        let ahead = u64::try_from(at.0.saturating_sub(self.anchored_at)).unwrap_or(0);
        // A deadline of centuries is not a sleep that has to be exact.
        self.anchor + Duration::from_millis(ahead.min(1000 * 60 * 60 * 24 * 365))
    }

    /// How far the wall clock is ahead of ours.
    #[must_use]
    pub fn off(&self) -> Millis {
        Millis(wall().saturating_sub(self.now().0))
    }

    /// Whether the wall clock has jumped since it was `before` ahead.
    #[must_use]
    pub fn is_jump(off: Millis, before: Millis) -> bool {
        off.0.abs_diff(before.0) > JUMP
    }
}

fn wall() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
