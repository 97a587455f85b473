//! The platform's time: that of this machine, and as far ahead of it as a test wants.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};

/// Milliseconds since the epoch.
pub(crate) type Millis = i64;

/// Terms of codes, tokens and orders end by it. Signatures are timed by the real clock, which both sides share.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    ahead_ms: AtomicI64,
}

impl Clock {
    pub(crate) fn now(&self) -> Millis {
        wall_ms() + self.ahead_ms.load(Ordering::SeqCst)
    }

    pub(crate) fn now_s(&self) -> i64 {
        self.now() / 1000
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.ahead_ms.fetch_add(millis(by), Ordering::SeqCst);
    }
}

/// Whole milliseconds, at most what fits.
pub(crate) fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}

/// Seconds since the epoch by this machine's clock.
pub(crate) fn wall_s() -> i64 {
    wall_ms() / 1000
}

fn wall_ms() -> Millis {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)
}

/// `2026-11-22T20:01:03+08:00`
pub(crate) fn rfc3339(at: Millis) -> String {
    format(at, "%Y-%m-%dT%H:%M:%S%:z")
}

/// `20261122200103`, as in ids and in the older interfaces.
pub(crate) fn compact(at: Millis) -> String {
    format(at, "%Y%m%d%H%M%S")
}

/// `2026-11-22 20:01:03`, as in bills.
pub(crate) fn spaced(at: Millis) -> String {
    format(at, "%Y-%m-%d %H:%M:%S")
}

/// `2026-11-22`, the day in China.
pub(crate) fn day(at: Millis) -> String {
    format(at, "%Y-%m-%d")
}

/// A time as RFC 3339 has it, with its offset.
pub(crate) fn parse_rfc3339(text: &str) -> Option<Millis> {
    text.parse::<Timestamp>().ok().map(|at| at.as_millisecond())
}

fn format(at: Millis, pattern: &str) -> String {
    let china = TimeZone::fixed(Offset::constant(8));
    let at = Timestamp::from_millisecond(at).unwrap_or(Timestamp::UNIX_EPOCH);
    at.to_zoned(china).strftime(pattern).to_string()
}
