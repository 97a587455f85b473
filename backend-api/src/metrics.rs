//! What is counted. Labels come from closed sets: routes, statuses, outcomes; never from persons or requests.
//! `docs/BACKEND.md` lists every family; a test holds the two together.

use prometheus::core::Collector;
use prometheus::{
    Encoder as _, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry, TextEncoder,
};

const LATENCY: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
const CONSTANT: &str = "names and labels are constants, registered by a test";

/// Every family, and the registry that they are in. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    seconds: HistogramVec,
    logins: IntCounterVec,
    rate_limited: IntCounterVec,
    retries: IntCounter,
}

impl Metrics {
    /// Registers every family. `retries` is the database's own.
    pub fn new(retries: IntCounter) -> Self {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| {
            keep(&registry, IntCounterVec::new(Opts::new(name, help), labels).expect(CONSTANT))
        };
        let requests =
            counter("backend_http_requests_total", "Requests answered.", &["method", "route", "status"]);
        let logins = counter("backend_logins_total", "Exchanges of codes and tokens.", &["way", "outcome"]);
        let rate_limited =
            counter("backend_rate_limited_total", "Requests answered 429 by our own limits.", &["kind"]);
        let options = HistogramOpts::new("backend_http_request_seconds", "Time to the answer.")
            .buckets(LATENCY.to_vec());
        let seconds = keep(&registry, HistogramVec::new(options, &["route"]).expect(CONSTANT));
        let retries = keep(&registry, retries);
        #[cfg(target_os = "linux")]
        keep_process(&registry);
        Self { registry, requests, seconds, logins, rate_limited, retries }
    }

    /// Registers a family of another part.
    ///
    /// # Panics
    /// When its name is taken: names are constants, and a test registers them all.
    pub fn register<C: Collector + Clone + 'static>(&self, family: C) -> C {
        keep(&self.registry, family)
    }

    /// A request to `route` was answered.
    pub fn answered(&self, method: &str, route: &str, status: u16, seconds: f64) {
        self.requests.with_label_values(&[method, route, &status.to_string()]).inc();
        self.seconds.with_label_values(&[route]).observe(seconds);
    }

    /// Somebody tried to log in by `way`.
    pub fn login(&self, way: &'static str, is_good: bool) {
        let outcome = if is_good { "good" } else { "refused" };
        self.logins.with_label_values(&[way, outcome]).inc();
    }

    /// A request of this kind was one too many.
    pub fn rate_limited(&self, kind: &'static str) {
        self.rate_limited.with_label_values(&[kind]).inc();
    }

    /// Attempts at the database that were begun again.
    pub fn retries(&self) -> u64 {
        self.retries.get()
    }

    /// Everything, in the text format 0.0.4.
    pub fn text(&self) -> String {
        let mut text = Vec::new();
        // Writing into memory does not fail, and names and labels are text.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        String::from_utf8(text).unwrap_or_default()
    }
}

fn keep<C: Collector + Clone + 'static>(registry: &Registry, family: C) -> C {
    registry.register(Box::new(family.clone())).expect(CONSTANT);
    family
}

#[cfg(target_os = "linux")]
fn keep_process(registry: &Registry) {
    let process = prometheus::process_collector::ProcessCollector::for_self();
    registry.register(Box::new(process)).expect(CONSTANT);
}
