//! One receiver: what is under way to it, and whether it is well. Kept in memory: after a restart every receiver is
//! taken for well until it shows otherwise.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use crate::store::Delivery;

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
    /// Nothing is sent before, milliseconds since the epoch.
    pub(super) paused_until: i64,
    /// Events that were read and are not settled in the store yet: waiting here, being sent, or over.
    claimed: HashSet<i64>,
    waiting: VecDeque<Delivery>,
    sending: usize,
    /// Failures in sequence.
    failures: u32,
    /// When the first of them was, milliseconds since the epoch.
    failing_since: i64,
}

impl Lane {
    /// How many events to read beyond those claimed: enough to go on with until the next look, and one to probe with
    /// when it fails.
    pub(super) fn appetite(&self, per_receiver: usize) -> usize {
        let most = if self.failures > 0 { 1 } else { per_receiver * 4 };
        most.saturating_sub(self.waiting.len() + self.sending)
    }

    /// Events claimed.
    pub(super) fn claimed(&self) -> usize {
        self.claimed.len()
    }

    /// Takes events in that were read; those that are claimed already are left out.
    pub(super) fn claim(&mut self, due: Vec<Delivery>) {
        for delivery in due {
            if self.claimed.insert(delivery.event.cursor) {
                self.waiting.push_back(delivery);
            }
        }
    }

    /// The next event to be sent, if another may be.
    pub(super) fn start(&mut self, per_receiver: usize) -> Option<Delivery> {
        let most = if self.failures > 0 { 1 } else { per_receiver };
        if self.sending >= most {
            return None;
        }
        let next = self.waiting.pop_front()?;
        self.sending += 1;
        Some(next)
    }

    /// Sending an event is over.
    pub(super) fn ended(&mut self) {
        self.sending = self.sending.saturating_sub(1);
    }

    /// The store knows what became of an event.
    pub(super) fn settled(&mut self, cursor: i64) {
        self.claimed.remove(&cursor);
    }

    /// The receiver answered well. Returns how long it had not, milliseconds.
    pub(super) fn well(&mut self, now: i64) -> i64 {
        let failed_for = if self.failures > 0 { now - self.failing_since } else { 0 };
        (self.failures, self.paused_until) = (0, 0);
        failed_for
    }

    /// The receiver failed and shall be left alone for a while: longer each time, or as long as it asks for. What
    /// waits here goes back to the store.
    pub(super) fn failed(&mut self, now: i64, pause: impl FnOnce(u32) -> Duration) {
        if self.failures == 0 {
            self.failing_since = now;
        }
        self.failures = self.failures.saturating_add(1);
        let pause = i64::try_from(pause(self.failures).as_millis()).unwrap_or(i64::MAX);
        self.paused_until = self.paused_until.max(now.saturating_add(pause));
        for delivery in self.waiting.drain(..) {
            self.claimed.remove(&delivery.event.cursor);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may")]
    use uuid::Uuid;

    use super::*;
    use crate::store::{Event, EventKind};

    fn due(cursors: std::ops::Range<i64>) -> Vec<Delivery> {
        let event = |cursor| {
            let (job, kind) = (Uuid::nil(), EventKind::Accepted);
            Event { cursor, tenant: 1, job, revision: 1, kind, at: 0 }
        };
        let delivery = |cursor| Delivery {
            event: event(cursor),
            url: String::new(),
            tenant_name: String::new(),
            since: 0,
            tries: 0,
        };
        cursors.map(delivery).collect()
    }

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
    fn an_event_is_sent_once_however_often_it_is_read() {
        let mut lane = Lane::default();
        lane.claim(due(0..3));
        lane.claim(due(0..4));
        let started: Vec<_> = std::iter::from_fn(|| lane.start(8)).map(|next| next.event.cursor).collect();
        assert_eq!(started, [0, 1, 2, 3]);
        lane.ended();
        lane.claim(due(0..4));
        assert!(lane.start(8).is_none(), "over, and not settled yet");
        lane.settled(0);
        lane.claim(due(0..1));
        assert_eq!(lane.start(8).unwrap().event.cursor, 0, "settled for another try");
    }

    #[test]
    fn a_receiver_that_fails_is_probed_and_one_that_is_well_gets_its_share() {
        let mut lane = Lane::default();
        assert_eq!(lane.appetite(2), 8);
        lane.claim(due(0..8));
        assert!(lane.start(2).is_some() && lane.start(2).is_some() && lane.start(2).is_none());
        assert_eq!((lane.appetite(2), lane.claimed()), (0, 8));
        lane.ended();
        lane.failed(100, |failures| Duration::from_millis(u64::from(failures)));
        assert_eq!((lane.claimed(), lane.paused_until), (2, 101), "what waited is given back");
        assert_eq!(lane.appetite(2), 0, "one is still being sent");
        lane.ended();
        lane.failed(200, |failures| Duration::from_millis(u64::from(failures)));
        assert_eq!((lane.appetite(2), lane.paused_until), (1, 202));
        lane.claim(due(10..12));
        assert!(lane.start(2).is_some() && lane.start(2).is_none());
        lane.ended();
        assert_eq!(lane.well(350), 250);
        assert!(lane.start(2).is_some() && lane.paused_until == 0);
    }
}
