//! Milliseconds since the epoch inside, RFC 3339 outside.

use std::sync::Mutex;
use std::time::Duration;

use jiff::Timestamp;
use uuid::{ContextV7, Uuid};

/// Ids of one millisecond count up.
static CONTEXT: Mutex<ContextV7> = Mutex::new(ContextV7::new());

/// A job's id at `now`: it carries the millisecond of acceptance.
pub(super) fn job_id(now: i64) -> Uuid {
    let now = u64::try_from(now).unwrap_or(0);
    let nanos = u32::try_from(now % 1000).unwrap_or(0) * 1_000_000;
    Uuid::new_v7(uuid::Timestamp::from_unix(&CONTEXT, now / 1000, nanos))
}

/// An instant as the faces show it; beyond what a date can say, the last one.
pub(super) fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX)
}

/// A duration in whole milliseconds.
pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
