//! Everything that is counted, in one struct (STYLE §8). Counters and histograms are told what happened; gauges of the
//! fleet are computed from its view when somebody scrapes, so they cannot drift.
//!
//! `docs/METRICS.md` lists every family; a test keeps the two together.

mod families;
mod fleet;

use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use prometheus::{Encoder as _, TextEncoder};
use scheduler::{AttemptEnd, Class, Outcome, RefusalReason};

use crate::fleet::FleetView;
use crate::link::message::{MadeOf, PictureWork};
use crate::store::OutboxFigures;
use crate::ticket_desk::DeskError;
use families::Families;

pub use families::Family;

/// Why a connection was closed before its first request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turned {
    /// There are too many.
    Full,
    /// Its TLS handshake failed or took too long.
    Handshake,
}

/// The registry and its families. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    families: Arc<Families>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All families, at zero.
    #[must_use]
    pub fn new() -> Self {
        Self { families: Arc::new(Families::new()) }
    }

    /// One HTTP request was answered; `route` is a template, never a path.
    pub fn http_request(&self, route: &str, method: &Method, status: StatusCode, took: Duration) {
        let method = match *method {
            Method::GET | Method::HEAD | Method::POST | Method::PATCH | Method::DELETE | Method::OPTIONS => {
                method.as_str()
            }
            _ => "other",
        };
        let families = &self.families;
        families.http_requests.with_label_values(&[route, method, status.as_str()]).inc();
        families.http_seconds.with_label_values(&[route, method]).observe(took.as_secs_f64());
    }

    /// A connection was closed before its first request.
    pub fn connection_turned_away(&self, why: Turned) {
        let reason = match why {
            Turned::Full => "full",
            Turned::Handshake => "handshake",
        };
        self.families.connections_refused.with_label_values(&[reason]).inc();
    }

    /// The certificates of the listener were read again, or could not be.
    pub fn tls_reloaded(&self, is_good: bool) {
        let outcome = if is_good { "read" } else { "failed" };
        self.families.tls_reloads.with_label_values(&[outcome]).inc();
    }

    /// A job was accepted.
    pub fn job_accepted(&self, class: Class) {
        self.families.jobs_accepted.with_label_values(&[class_name(class)]).inc();
    }

    /// A submission was refused by admission.
    pub fn job_refused(&self, reason: RefusalReason) {
        let reason = match reason {
            RefusalReason::QueueFull => "queue_full",
            RefusalReason::TenantQueueFull => "tenant_queue_full",
            RefusalReason::SpoolFull => "spool_full",
            RefusalReason::Draining => "draining",
        };
        self.families.jobs_refused.with_label_values(&[reason]).inc();
    }

    /// A job ended, `seconds` after its acceptance and `run` seconds after its start.
    pub fn job_ended(&self, outcome: Outcome, seconds: f64, run: Option<f64>) {
        let outcome = match outcome {
            Outcome::Succeeded => "succeeded",
            Outcome::Failed(_) => "failed",
            Outcome::Canceled => "canceled",
            Outcome::Expired => "expired",
        };
        self.families.jobs.with_label_values(&[outcome]).inc();
        self.families.job_seconds.with_label_values(&[outcome]).observe(seconds);
        if let Some(run) = run {
            self.families.run_seconds.observe(run);
        }
    }

    /// A job was placed after waiting `seconds`.
    pub fn placed(&self, seconds: f64) {
        self.families.queue_wait_seconds.observe(seconds);
    }

    /// An instance answered a placement, or did not (`accepted` is false), after so long.
    pub fn dispatched(&self, accepted: bool, took: Duration) {
        let outcome = if accepted { "accepted" } else { "lost" };
        self.families.dispatch_seconds.with_label_values(&[outcome]).observe(took.as_secs_f64());
    }

    /// An attempt ended without ending its job.
    pub fn attempt_ended(&self, end: AttemptEnd) {
        self.families.attempts_ended.with_label_values(&[end_name(end)]).inc();
    }

    /// An output was stored.
    pub fn output_stored(&self, size_bytes: u64) {
        self.families.outputs.inc();
        self.families.output_bytes.inc_by(size_bytes);
    }

    /// A caller uploaded an asset.
    pub fn asset_uploaded(&self, size_bytes: u64) {
        self.families.upload_bytes.inc_by(size_bytes);
    }

    /// A turn was committed in `took`.
    pub fn committed(&self, took: Duration) {
        self.families.commit_seconds.observe(took.as_secs_f64());
    }

    /// A turn had so many events.
    pub fn turn_events(&self, events: usize) {
        // Turns are bounded far below the 53 bits of a float.
        #[expect(clippy::cast_precision_loss, reason = "see above")]
        self.families.turn_events.observe(events as f64);
    }

    /// A commit failed.
    pub fn store_failed(&self) {
        self.families.store_failures.inc();
    }

    /// A prompt with our mark that belonged to no open attempt was withdrawn.
    pub fn orphan(&self) {
        self.families.orphans.inc();
    }

    /// Files were made of the originals of an attempt.
    pub fn pictures_made(&self, made: &[MadeOf], work: PictureWork) {
        for (step, ms) in [("wait", work.waited_ms), ("make", work.made_ms)] {
            let took = Duration::from_millis(ms).as_secs_f64();
            self.families.picture_seconds.with_label_values(&[step]).observe(took);
        }
        for file in made.iter().flat_map(|made| &made.files) {
            let kind = file.content_type.strip_prefix("image/").unwrap_or_default();
            let kind = one_of(families::TYPES, kind);
            self.families.deliverables.with_label_values(&[kind]).inc();
        }
    }

    /// What a job asks for could not be made of its files.
    pub fn undeliverable(&self, code: &str) {
        self.families.undeliverable.with_label_values(&[one_of(families::UNDELIVERABLE, code)]).inc();
    }

    /// A caller was asked for tickets.
    pub fn tickets_asked(&self, failure: Option<&DeskError>) {
        let result = match failure {
            None => "granted",
            Some(DeskError::Refused(_)) => "refused",
            Some(DeskError::Unreachable(_)) => "unreachable",
            Some(DeskError::Status(_)) => "status",
            Some(DeskError::Wrong(_)) => "wrong",
        };
        self.families.ticket_requests.with_label_values(&[result]).inc();
    }

    /// A webhook was sent, or tried.
    pub fn webhook(&self, result: WebhookResult) {
        self.families.webhooks.with_label_values(&[result.name()]).inc();
    }

    /// How the outbox stands at `now` (milliseconds since the epoch).
    pub fn outbox(&self, figures: OutboxFigures, now: i64) {
        let gauge = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.families.webhooks_pending.set(gauge(figures.pending));
        self.families.webhooks_dead.set(gauge(figures.dead));
        let oldest = figures.oldest_at.map_or(0, |at| now.saturating_sub(at).max(0) / 1000);
        self.families.webhooks_oldest.set(oldest);
    }

    /// A request was passed on to an instance's own route, and that became of it.
    pub fn forwarded(&self, passed: Passed) {
        self.families.forwards.with_label_values(&[passed.name()]).inc();
    }

    /// Bytes of a body that was passed on: of a `request` or of an `answer`.
    pub fn forward_bytes(&self, part: &'static str, bytes: usize) {
        self.families.forward_bytes.with_label_values(&[part]).inc_by(bytes as u64);
    }

    /// How many requests are being passed on.
    pub fn forwards_open(&self, open: usize) {
        self.families.forwards_open.set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    /// How many event streams are open.
    pub fn event_streams(&self, open: usize) {
        self.families.event_streams.set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    /// All families with their figures, in the classic text format 0.0.4.
    ///
    /// # Errors
    /// The encoder's, in words.
    pub fn render(&self, fleet: &FleetView) -> Result<String, String> {
        let mut gathered = self.families.registry.gather();
        gathered.extend(fleet::gather(fleet).map_err(|error| error.to_string())?);
        gathered.sort_by(|a, b| a.name().cmp(b.name()));
        let mut text = Vec::new();
        TextEncoder::new().encode(&gathered, &mut text).map_err(|error| error.to_string())?;
        String::from_utf8(text).map_err(|error| error.to_string())
    }

    /// Every family there can be: name, type, labels and help, sorted by name.
    #[must_use]
    pub fn describe() -> Vec<Family> {
        families::describe()
    }
}

/// The value among the known ones of a label, or `other`.
fn one_of(known: &[&'static str], value: &str) -> &'static str {
    known.iter().find(|known| **known == value).copied().unwrap_or("other")
}

/// What came of sending a webhook once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookResult {
    /// The receiver has it.
    Delivered,
    /// It will be sent again.
    Failed,
    /// The receiver does not want it (410).
    Gone,
    /// It failed once more, and is too old.
    GivenUp,
}

impl WebhookResult {
    fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Gone => "gone",
            Self::GivenUp => "given_up",
        }
    }
}

/// What became of a request that was passed on to an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passed {
    /// It was answered to the end, whatever the status.
    Answered,
    /// The caller went away, or its body broke off.
    Abandoned,
    /// The instance, or its host, broke off.
    Failed,
    /// The instance said nothing for too long.
    Silent,
}

impl Passed {
    fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Abandoned => "abandoned",
            Self::Failed => "failed",
            Self::Silent => "silent",
        }
    }
}

fn class_name(class: Class) -> &'static str {
    match class {
        Class::Batch => "batch",
        Class::Normal => "normal",
        Class::Interactive => "interactive",
    }
}

fn end_name(end: AttemptEnd) -> &'static str {
    match end {
        AttemptEnd::NoTrace => "no_trace",
        AttemptEnd::Unreachable => "unreachable",
        AttemptEnd::LeaseExpired => "lease_expired",
        AttemptEnd::InstanceDied => "instance_died",
        AttemptEnd::Hung => "hung",
        AttemptEnd::OutOfMemory => "out_of_memory",
        AttemptEnd::DeviceFault => "device_fault",
        AttemptEnd::HostFault => "host_fault",
        AttemptEnd::OutputsGone => "outputs_gone",
        AttemptEnd::Drained => "drained",
        AttemptEnd::Preempted => "preempted",
    }
}

#[cfg(test)]
mod tests;
