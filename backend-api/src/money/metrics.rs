//! What money counts. No label names a person, an order or an amount.

use prometheus::{IntCounterVec, IntGaugeVec, Opts};

use crate::domain::money::{Rail, RefundState};

/// Every family of money; registered once.
#[derive(Debug, Clone)]
pub struct Metrics {
    payments: IntCounterVec,
    contradictions: IntCounterVec,
    refunds: IntCounterVec,
    chores: IntCounterVec,
    bill_differences: IntGaugeVec,
}

impl Metrics {
    /// Families that are not registered yet.
    pub fn new() -> Self {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            IntCounterVec::new(Opts::new(name, help), labels).expect("a constant name and help, tested")
        };
        let metrics = Self {
            payments: counter("backend_payments_total", "Orders that were paid and given.", &["rail"]),
            contradictions: counter(
                "backend_payment_contradictions_total",
                "Words of a platform about an order that do not fit it: a person has to look.",
                &["rail"],
            ),
            refunds: counter(
                "backend_refunds_total",
                "Refunds that ended or stand still, by state.",
                &["rail", "state"],
            ),
            chores: counter(
                "backend_chores_total",
                "Steps of background work, by outcome.",
                &["step", "outcome"],
            ),
            bill_differences: IntGaugeVec::new(
                Opts::new(
                    "backend_bill_differences",
                    "Differences between the books and the bill checked last.",
                ),
                &["rail"],
            )
            .expect("a constant name and help, tested"),
        };
        for rail in Rail::ALL {
            metrics.payments.with_label_values(&[rail.as_str()]);
            metrics.contradictions.with_label_values(&[rail.as_str()]);
            metrics.bill_differences.with_label_values(&[rail.as_str()]);
        }
        metrics
    }

    /// Shows them beside all others.
    ///
    /// # Panics
    /// When a name is taken: names are constants, and a test registers them all.
    pub fn register(&self, metrics: &crate::metrics::Metrics) {
        metrics.register(self.payments.clone());
        metrics.register(self.contradictions.clone());
        metrics.register(self.refunds.clone());
        metrics.register(self.chores.clone());
        metrics.register(self.bill_differences.clone());
    }

    pub(super) fn payment(&self, rail: Rail) {
        self.payments.with_label_values(&[rail.as_str()]).inc();
    }

    pub(super) fn contradiction(&self, rail: Rail) {
        self.contradictions.with_label_values(&[rail.as_str()]).inc();
    }

    pub(super) fn refund(&self, rail: Rail, state: RefundState) {
        self.refunds.with_label_values(&[rail.as_str(), state.as_str()]).inc();
    }

    pub(super) fn chore(&self, step: &str, is_done: bool) {
        let outcome = if is_done { "done" } else { "later" };
        self.chores.with_label_values(&[step, outcome]).inc();
    }

    pub(super) fn bill(&self, rail: Rail, differences: i64) {
        self.bill_differences.with_label_values(&[rail.as_str()]).set(differences);
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
