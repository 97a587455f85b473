//! Our door: admit, or "not now" with an honest time to come back.

use crate::config::Config;
use crate::decision::{Refusal, RefusalReason};
use crate::time::{Millis, Timestamp};

/// Shortest and longest time a refused caller is told to wait.
const LEAST: Millis = Millis::from_secs(1);
const MOST: Millis = Millis::from_secs(3600);
/// A spool empties when a store comes back; a draining process is replaced: nobody knows when.
const SPOOL_RETRY: Millis = Millis::from_secs(30);
const DRAIN_RETRY: Millis = Millis::from_secs(10);
/// The mean time between departures forgets by one part in this many.
const MEMORY: i64 = 16;
/// Its fixed point.
const SCALE: i64 = 1024;

/// What the door has to know of a caller and of the backlog.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) queued: u64,
    pub(crate) tenant_queued: u32,
    /// The tenant's own bound of that.
    pub(crate) tenant_queue: u32,
    pub(crate) spool_full: bool,
}

/// The state of the door.
#[derive(Debug, Clone, Default)]
pub(crate) struct Door {
    draining: bool,
    /// Closed at the high watermark, until the low one.
    full: bool,
    last_departure: Option<Timestamp>,
    /// Mean time between departures from the backlog, in `SCALE`ths of a millisecond.
    interval: i64,
}

impl Door {
    pub(crate) fn drain(&mut self) {
        self.draining = true;
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining
    }

    /// A job left the backlog.
    pub(crate) fn note_departure(&mut self, now: Timestamp) {
        if let Some(last) = self.last_departure {
            let gap = now.since(last).0.clamp(0, MOST.0) * SCALE;
            self.interval =
                if self.interval == 0 { gap } else { self.interval + (gap - self.interval) / MEMORY };
        }
        self.last_departure = Some(now);
    }

    /// `None` admits. `active_tenants` is only counted when the answer needs it.
    pub(crate) fn refusal(
        &mut self,
        config: &Config,
        asked: Asked,
        active_tenants: impl Fn() -> u64,
    ) -> Option<Refusal> {
        self.full = if self.full {
            asked.queued > u64::from(config.low_watermark)
        } else {
            asked.queued >= u64::from(config.high_watermark)
        };
        let (reason, retry_after) = if self.draining {
            (RefusalReason::Draining, DRAIN_RETRY)
        } else if self.full {
            let excess = asked.queued.saturating_sub(u64::from(config.low_watermark));
            (RefusalReason::QueueFull, self.time_for(excess))
        } else if asked.tenant_queued >= config.tenant_queue.min(asked.tenant_queue) {
            // One of the tenant's own has to leave; the others leave in between.
            (RefusalReason::TenantQueueFull, self.time_for(active_tenants().max(1)))
        } else if asked.spool_full {
            (RefusalReason::SpoolFull, SPOOL_RETRY)
        } else {
            return None;
        };
        Some(Refusal { reason, retry_after: retry_after.clamp(LEAST, MOST) })
    }

    fn time_for(&self, departures: u64) -> Millis {
        let departures = i64::try_from(departures).unwrap_or(i64::MAX);
        Millis(departures.saturating_mul(self.interval) / SCALE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(queued: u64) -> Asked {
        Asked { queued, tenant_queued: 0, tenant_queue: u32::MAX, spool_full: false }
    }

    #[test]
    fn a_full_door_reopens_only_at_the_low_watermark() {
        let config = Config { high_watermark: 10, low_watermark: 5, ..Config::default() };
        let mut door = Door::default();
        assert_eq!(door.refusal(&config, asked(9), || 1), None);
        assert_eq!(
            door.refusal(&config, asked(10), || 1).map(|no| no.reason),
            Some(RefusalReason::QueueFull)
        );
        assert!(door.refusal(&config, asked(6), || 1).is_some());
        assert_eq!(door.refusal(&config, asked(5), || 1), None);
        assert_eq!(door.refusal(&config, asked(9), || 1), None);
    }

    #[test]
    fn the_time_to_come_back_follows_the_rate_of_departures() {
        let config = Config { high_watermark: 100, low_watermark: 50, ..Config::default() };
        let mut door = Door::default();
        for at in 0..64 {
            door.note_departure(Timestamp(at * 2_000));
        }
        let refusal = door.refusal(&config, asked(100), || 1);
        assert_eq!(refusal.map(|no| no.retry_after), Some(Millis(100_000)));
    }
}
