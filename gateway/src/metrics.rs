//! What is counted.

use std::time::Duration;

use scheduler::{AttemptEnd, Outcome};

/// All metric families.
#[derive(Debug, Clone, Default)]
pub struct Metrics;

impl Metrics {
    /// A turn was committed in `took`.
    pub fn committed(&self, _took: Duration) {}
    /// A job was placed after waiting `seconds`.
    pub fn placed(&self, _seconds: f64) {}
    /// An attempt ended without ending its job.
    pub fn attempt_ended(&self, _end: AttemptEnd) {}
    /// A job ended, `seconds` after its acceptance and `run` seconds after its start.
    pub fn job_ended(&self, _outcome: Outcome, _seconds: f64, _run: Option<f64>) {}
    /// A prompt with our mark that belonged to no open attempt was withdrawn.
    pub fn orphan(&self) {}
    /// A commit failed.
    pub fn store_failed(&self) {}
}
