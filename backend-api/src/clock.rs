//! The wall clock, in the one form that tables know.

use jiff::Timestamp;

use crate::domain::Millis;

/// Now.
pub fn now() -> Millis {
    Timestamp::now().as_millisecond()
}
