//! What a turn decided, counted once it is durable.

use scheduler::{AttemptEnd, Outcome, Record, Timestamp};

use super::names;
use crate::metrics::Metrics;
use crate::store::JobRecord;

/// Counts of one turn.
#[derive(Default)]
pub(super) struct Counted {
    waited: Vec<f64>,
    ended: Vec<(Outcome, f64, Option<f64>)>,
    lost: Vec<AttemptEnd>,
    stored: Vec<u64>,
}

/// Counts the records of a turn at `now`.
pub(super) fn count(records: &[Record], now: Timestamp) -> Counted {
    let mut counted = Counted::default();
    for record in records {
        match record {
            Record::Placed { job, at, .. } => {
                counted.waited.push(seconds(at.0 - accepted_at(names::uuid(*job))));
            }
            Record::AttemptEnded { end, .. } => counted.lost.push(*end),
            Record::Ended { job, outcome, started_at, .. } => {
                let whole = seconds(now.0 - accepted_at(names::uuid(*job)));
                counted.ended.push((*outcome, whole, started_at.map(|at| seconds(now.0 - at.0))));
            }
            _ => {}
        }
    }
    counted
}

impl Counted {
    /// Counts the outputs among the rows of the turn.
    pub(super) fn outputs(&mut self, rows: &[JobRecord]) {
        for row in rows {
            if let JobRecord::Ended { outputs, .. } = row {
                self.stored.extend(outputs.iter().map(|output| output.size_bytes));
            }
        }
    }

    pub(super) fn add_to(&self, metrics: &Metrics) {
        for waited in &self.waited {
            metrics.placed(*waited);
        }
        for size_bytes in &self.stored {
            metrics.output_stored(*size_bytes);
        }
        for end in &self.lost {
            metrics.attempt_ended(*end);
        }
        for (outcome, whole, run) in &self.ended {
            metrics.job_ended(*outcome, *whole, *run);
        }
    }
}

/// A job's id carries the millisecond of its acceptance (UUIDv7).
fn accepted_at(job: uuid::Uuid) -> i64 {
    i64::try_from(job.as_u128() >> 80).unwrap_or(0)
}

#[expect(clippy::cast_precision_loss, reason = "a metric of milliseconds stays far below 2^52")]
fn seconds(ms: i64) -> f64 {
    ms.max(0) as f64 / 1000.0
}
