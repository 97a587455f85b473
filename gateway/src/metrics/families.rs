//! The families that are told what happened, registered once; those computed at a scrape are in [`super::fleet`].

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use super::fleet;

const LATENCY: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
const JOB: &[f64] = &[0.01, 0.1, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0];
const WAIT: &[f64] = &[0.01, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];
const COMMIT: &[f64] = &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0];
const EVENTS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// One family, as documented.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Family {
    /// Its name.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// Its labels.
    pub labels: Vec<String>,
    /// What it says.
    pub help: String,
}

/// All families that are told.
#[derive(Debug)]
pub(super) struct Families {
    pub(super) registry: Registry,
    pub(super) http_requests: IntCounterVec,
    pub(super) http_seconds: HistogramVec,
    pub(super) event_streams: IntGauge,
    pub(super) connections_refused: IntCounterVec,
    pub(super) tls_reloads: IntCounterVec,
    pub(super) jobs_accepted: IntCounterVec,
    pub(super) jobs_refused: IntCounterVec,
    pub(super) jobs: IntCounterVec,
    pub(super) job_seconds: HistogramVec,
    pub(super) queue_wait_seconds: Histogram,
    pub(super) run_seconds: Histogram,
    pub(super) dispatch_seconds: HistogramVec,
    pub(super) attempts_ended: IntCounterVec,
    pub(super) outputs: IntCounter,
    pub(super) output_bytes: IntCounter,
    pub(super) upload_bytes: IntCounter,
    pub(super) commit_seconds: Histogram,
    pub(super) turn_events: Histogram,
    pub(super) store_failures: IntCounter,
    pub(super) orphans: IntCounter,
    pub(super) picture_seconds: HistogramVec,
    pub(super) deliverables: IntCounterVec,
    pub(super) undeliverable: IntCounterVec,
    pub(super) ticket_requests: IntCounterVec,
    pub(super) webhooks: IntCounterVec,
    pub(super) webhooks_pending: IntGauge,
    pub(super) webhooks_oldest: IntGauge,
    pub(super) webhooks_dead: IntGauge,
    pub(super) forwards: IntCounterVec,
    pub(super) forward_bytes: IntCounterVec,
    pub(super) forwards_open: IntGauge,
    described: Vec<Family>,
}

/// Registers families and remembers what they are.
struct Register {
    registry: Registry,
    described: Vec<Family>,
}

/// The names below are constants that a test registers: no name or label of them can be malformed or repeated.
const CONSTANT: &str = "names and labels are constants, registered by a test";

impl Register {
    fn keep<C: Collector + Clone + 'static>(&mut self, family: C, kind: &'static str) -> C {
        for desc in family.desc() {
            self.described.push(Family {
                name: desc.fq_name.clone(),
                kind,
                labels: desc.variable_labels.clone(),
                help: desc.help.clone(),
            });
        }
        self.registry.register(Box::new(family.clone())).expect(CONSTANT);
        family
    }

    fn gauge(&mut self, name: &str, help: &str) -> IntGauge {
        self.keep(IntGauge::new(name, help).expect(CONSTANT), "gauge")
    }

    fn counter(&mut self, name: &str, help: &str) -> IntCounter {
        self.keep(IntCounter::new(name, help).expect(CONSTANT), "counter")
    }

    /// A counter by label; `known` are values it starts with, so that a first event is seen as an increase.
    fn counters(&mut self, name: &str, help: &str, labels: &[&str], known: &[&str]) -> IntCounterVec {
        let family = IntCounterVec::new(Opts::new(name, help), labels).expect(CONSTANT);
        for value in known {
            family.with_label_values(&[value]);
        }
        self.keep(family, "counter")
    }

    fn histogram(&mut self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.keep(Histogram::with_opts(options).expect(CONSTANT), "histogram")
    }

    fn histograms(&mut self, name: &str, help: &str, buckets: &[f64], labels: &[&str]) -> HistogramVec {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.keep(HistogramVec::new(options, labels).expect(CONSTANT), "histogram")
    }
}

const CLASSES: &[&str] = &["batch", "normal", "interactive"];
const OUTCOMES: &[&str] = &["succeeded", "failed", "canceled", "expired"];
const REASONS: &[&str] = &["queue_full", "tenant_queue_full", "spool_full", "draining"];
const WEBHOOKS: &[&str] = &["delivered", "failed", "gone", "given_up"];
const PASSED: &[&str] = &["answered", "abandoned", "failed", "silent"];
const PARTS: &[&str] = &["request", "answer"];
const ENDS: &[&str] = &[
    "no_trace",
    "unreachable",
    "lease_expired",
    "instance_died",
    "hung",
    "out_of_memory",
    "device_fault",
    "host_fault",
    "outputs_gone",
    "drained",
];

pub(super) const TYPES: &[&str] = &["png", "jpeg", "webp", "other"];
pub(super) const UNDELIVERABLE: &[&str] = &[
    "label_unsupported",
    "label_impossible",
    "label_failed",
    "picture_damaged",
    "picture_too_large",
    "picture_unsupported",
    "picture_timeout",
    "picture_failed",
    "tickets_refused",
    "other",
];
const ASKED: &[&str] = &["granted", "refused", "unreachable", "status", "wrong"];

impl Families {
    pub(super) fn new() -> Self {
        let mut register = Register { registry: Registry::new(), described: Vec::new() };
        let r = &mut register;
        let families = Self {
            http_requests: r.counters(
                "gateway_http_requests_total",
                "HTTP requests answered.",
                &["route", "method", "code"],
                &[],
            ),
            http_seconds: r.histograms(
                "gateway_http_request_duration_seconds",
                "From a request to the head of its answer.",
                LATENCY,
                &["route", "method"],
            ),
            event_streams: r.keep(
                IntGauge::new("gateway_event_streams", "Event streams that are open.").expect(CONSTANT),
                "gauge",
            ),
            connections_refused: r.counters(
                "gateway_connections_refused_total",
                "Connections closed before their first request.",
                &["reason"],
                &["full", "handshake"],
            ),
            tls_reloads: r.counters(
                "gateway_tls_reloads_total",
                "Times the certificates of the listener were read again.",
                &["outcome"],
                &["read", "failed"],
            ),
            jobs_accepted: r.counters("gateway_jobs_accepted_total", "Jobs accepted.", &["class"], CLASSES),
            jobs_refused: r.counters(
                "gateway_jobs_refused_total",
                "Submissions refused by admission.",
                &["reason"],
                REASONS,
            ),
            jobs: r.counters("gateway_jobs_total", "Jobs ended.", &["outcome"], OUTCOMES),
            job_seconds: r.histograms(
                "gateway_job_duration_seconds",
                "From the acceptance of a job to its end.",
                JOB,
                &["outcome"],
            ),
            queue_wait_seconds: r.histogram(
                "gateway_queue_wait_seconds",
                "From the acceptance of a job to a placement of it.",
                WAIT,
            ),
            run_seconds: r.histogram(
                "gateway_run_seconds",
                "From the start of a job's last attempt to its end.",
                JOB,
            ),
            dispatch_seconds: r.histograms(
                "gateway_dispatch_seconds",
                "From the dispatch of an attempt to the instance's word of it.",
                LATENCY,
                &["outcome"],
            ),
            attempts_ended: r.counters(
                "gateway_attempts_ended_total",
                "Attempts that ended without ending their job.",
                &["end"],
                ENDS,
            ),
            outputs: r.counter("gateway_outputs_total", "Outputs stored."),
            output_bytes: r.counter("gateway_output_bytes_total", "Bytes of outputs stored."),
            upload_bytes: r.counter("gateway_upload_bytes_total", "Bytes of assets uploaded."),
            commit_seconds: r.histogram("gateway_store_commit_seconds", "Time of a turn's commit.", COMMIT),
            turn_events: r.histogram("gateway_turn_events", "Events of a turn.", EVENTS),
            store_failures: r.counter("gateway_store_failures_total", "Commits that failed."),
            orphans: r.counter(
                "gateway_orphans_total",
                "Prompts with our mark that belonged to no open attempt and were withdrawn.",
            ),
            picture_seconds: r.histograms(
                "gateway_picture_seconds",
                "Work on the pictures of an attempt: waiting for a thread and memory, and making.",
                LATENCY,
                &["step"],
            ),
            deliverables: r.counters(
                "gateway_deliverables_total",
                "Files made of originals or sent to another store than them.",
                &["type"],
                TYPES,
            ),
            undeliverable: r.counters(
                "gateway_undeliverable_total",
                "Attempts whose files could not be delivered as asked; labels that failed are among them.",
                &["code"],
                UNDELIVERABLE,
            ),
            ticket_requests: r.counters(
                "gateway_ticket_requests_total",
                "Requests for tickets to callers' own buckets.",
                &["result"],
                ASKED,
            ),
            webhooks: r.counters(
                "gateway_webhook_deliveries_total",
                "Webhooks sent, by what came of it.",
                &["result"],
                WEBHOOKS,
            ),
            webhooks_pending: r.gauge("gateway_webhook_pending", "Events that wait for their receivers."),
            webhooks_oldest: r.gauge(
                "gateway_webhook_oldest_seconds",
                "Age of the oldest event that waits for its receiver.",
            ),
            webhooks_dead: r.gauge("gateway_webhook_dead_letters", "Events that were given up."),
            forwards: r.counters(
                "gateway_forwards_total",
                "Requests passed on to routes of custom nodes, by what became of them.",
                &["outcome"],
                PASSED,
            ),
            forward_bytes: r.counters(
                "gateway_forward_bytes_total",
                "Bytes of bodies passed on to routes of custom nodes, and of their answers.",
                &["part"],
                PARTS,
            ),
            forwards_open: r.gauge("gateway_forwards_open", "Requests that are being passed on."),
            registry: Registry::new(),
            described: Vec::new(),
        };
        let build = IntGaugeVec::new(Opts::new("gateway_build_info", "Always 1."), &["version", "revision"]);
        let build = r.keep(build.expect(CONSTANT), "gauge");
        let revision = option_env!("GATEWAY_REVISION").unwrap_or("unknown");
        build.with_label_values(&[env!("CARGO_PKG_VERSION"), revision]).set(1);
        #[cfg(target_os = "linux")]
        {
            let process = prometheus::process_collector::ProcessCollector::for_self();
            register.registry.register(Box::new(process)).expect(CONSTANT);
        }
        Self { registry: register.registry, described: register.described, ..families }
    }
}

/// Every family of ours, sorted by name; the collector of the process (`process_*`) is not ours.
pub(super) fn describe() -> Vec<Family> {
    let mut all = Families::new().described;
    all.extend(fleet::describe());
    all.sort();
    all
}
