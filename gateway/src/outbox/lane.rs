//! One receiver: what is under way to it, and whether it is well. Kept in memory: after a restart every receiver is
//! taken for well until it shows otherwise.

use std::collections::HashSet;
use std::time::Duration;

/// Doubles from `first` with each try to `longest`; of that, `dice` leaves between half and all.
pub(super) fn back_off(first: Duration, longest: Duration, tries: u32, dice: u16) -> Duration {
    let doubled = first.saturating_mul(1_u32.checked_shl(tries.saturating_sub(1)).unwrap_or(u32::MAX));
    let whole = doubled.min(longest);
    let half = whole / 2;
    half + (whole - half) * u32::from(dice) / u32::from(u16::MAX)
}

/// A receiver with something under way or a failure to live down.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// Whose.
    pub(super) tenant: u32,
    /// Events that were handed out and are not settled in the store yet.
    under_way: HashSet<i64>,
    /// Failures in sequence.
    failures: u32,
    /// When the first of them was, milliseconds since the epoch.
    failing_since: i64,
    /// Nothing is sent before, milliseconds since the epoch.
    pub(super) paused_until: i64,
}

impl Lane {
    /// How many more may be sent now: one that fails is only probed.
    pub(super) fn room(&self, per_receiver: usize) -> usize {
        let most = if self.failures > 0 { 1 } else { per_receiver };
        most.saturating_sub(self.under_way.len())
    }

    /// Events under way.
    pub(super) fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// Hands an event out; `false` when it is under way already.
    pub(super) fn start(&mut self, cursor: i64) -> bool {
        self.under_way.insert(cursor)
    }

    /// The store knows what became of an event.
    pub(super) fn settled(&mut self, cursor: i64) {
        self.under_way.remove(&cursor);
    }

    /// The receiver answered well. Returns how long it had not, milliseconds.
    pub(super) fn well(&mut self, now: i64) -> i64 {
        let failed_for = if self.failures > 0 { now - self.failing_since } else { 0 };
        (self.failures, self.paused_until) = (0, 0);
        failed_for
    }

    /// The receiver failed and shall be left alone for a while: longer each time, or as long as it asks for.
    pub(super) fn failed(&mut self, now: i64, pause: impl FnOnce(u32) -> Duration) {
        if self.failures == 0 {
            self.failing_since = now;
        }
        self.failures = self.failures.saturating_add(1);
        let pause = i64::try_from(pause(self.failures).as_millis()).unwrap_or(i64::MAX);
        self.paused_until = self.paused_until.max(now.saturating_add(pause));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_their_bound_and_are_spread() {
        let pause = |tries, dice| back_off(Duration::from_secs(1), Duration::from_secs(60), tries, dice);
        for (tries, whole) in [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (40, 60), (u32::MAX, 60)] {
            assert_eq!(pause(tries, u16::MAX), Duration::from_secs(whole), "{tries}");
            assert_eq!(pause(tries, 0), Duration::from_secs(whole) / 2, "{tries}");
        }
        assert!(pause(3, 20_000) > pause(3, 10_000));
    }

    #[test]
    fn a_receiver_that_fails_is_probed_and_one_that_is_well_gets_its_share() {
        let mut lane = Lane::default();
        assert_eq!(lane.room(4), 4);
        assert!(lane.start(1) && !lane.start(1));
        assert_eq!(lane.room(4), 3);
        lane.failed(100, |failures| Duration::from_millis(u64::from(failures)));
        assert_eq!((lane.room(4), lane.paused_until), (0, 101));
        lane.settled(1);
        assert_eq!(lane.room(4), 1);
        lane.failed(200, |failures| Duration::from_millis(u64::from(failures)));
        assert_eq!(lane.paused_until, 202);
        assert_eq!(lane.well(350), 250);
        assert!(lane.room(4) == 4 && lane.paused_until == 0);
    }
}
