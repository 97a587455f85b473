//! What was used: kept by day, long after the jobs are forgotten.

use serde::{Deserialize, Serialize};

/// What a job that succeeded used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    /// The class of the device it ran on.
    pub device_class: String,
    /// From its start at ComfyUI until it was executed, milliseconds; 0 where nobody saw the start.
    pub gpu_ms: u64,
    /// Millionths of the configured currency.
    pub price_micros: u64,
}

/// What usage is grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsageKey {
    /// The day of the end, in UTC: days since the epoch, as text.
    Day,
    /// Service level: `batch`, `normal` or `interactive`.
    Class,
    /// The person it was done for; empty: nobody was named.
    User,
    /// Class of the device; empty: it did not succeed.
    DeviceClass,
    /// Name of the template; empty: none.
    Template,
}

/// Which usage is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageQuery {
    /// Whose.
    pub tenant: u32,
    /// First day, days since the epoch.
    pub from_day: i64,
    /// Last day, days since the epoch.
    pub to_day: i64,
    /// Of this person only.
    pub user: Option<String>,
    /// Grouped by; `None`: all of it together.
    pub by: Option<UsageKey>,
    /// Only keys after this one.
    pub after: Option<String>,
    /// Keys, at most.
    pub limit: u32,
}

/// Usage of one key on one class of devices.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UsageRow {
    /// See [`UsageKey`]; empty without a grouping.
    pub key: String,
    /// Empty for jobs that did not succeed.
    pub device_class: String,
    /// Jobs that succeeded.
    pub jobs: u64,
    /// Jobs that ended otherwise: they cost nothing.
    pub unbilled_jobs: u64,
    /// Pictures made.
    pub images: u64,
    /// Bytes of all outputs.
    pub bytes: u64,
    /// GPU time, milliseconds.
    pub gpu_ms: u64,
    /// Millionths of the configured currency.
    pub price_micros: u64,
}
