//! The wall clock, in the one form that tables know.

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::Millis;

/// Now.
pub fn now() -> Millis {
    Timestamp::now().as_millisecond()
}

/// A span of time as milliseconds; the longest there is where it does not fit.
pub fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}
