//! The only place that reads the wall clock.

use jiff::Timestamp;

use crate::domain::Millis;

/// Now.
pub fn now() -> Millis {
    Timestamp::now().as_millisecond()
}
