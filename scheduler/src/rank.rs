//! Who is next: what a waiting job counts against what it costs.
//!
//! A score is class × age × urgency × share / √size. Dividing by the size itself gives the best mean and lets long jobs
//! starve behind short ones; its root keeps most of the gain. Every factor grows or shrinks slowly, so a score that was
//! computed a moment ago still orders well.

use crate::jobs::{Job, Jobs, Slot};
use crate::kinds::{Kind, Kinds};
use crate::market::Market;
use crate::pressure::Climate;
use crate::spec::Class;
use crate::tenants::{Tenant, Tenants};
use crate::time::{Millis, Timestamp};

/// What a class counts, tenths of a normal job.
const BATCH: u64 = 6;
const NORMAL: u64 = 10;
const INTERACTIVE: u64 = 20;
/// Fixed point of age and share.
const ONE: u64 = 1 << 10;
/// Age counts at most this many times the ageing.
const OLDEST: u64 = 1 << 12;
/// Work of a moment is not infinitely better than work of a second: added to each size, milliseconds.
const LEAST_SIZE_MS: u64 = 2_000;
/// A deadline begins to count when this much slack is left …
const URGENT_WITHIN: Millis = Millis::from_secs(60);
/// … and adds this much when there is none, thousandths of what the job counts without it.
const MOST_URGENT_MILLI: u64 = 3_000;
/// What a job counts whose deadline cannot be met any more: those that can still make it go first.
const LATE_MILLI: u64 = 700;

fn class_weight(class: Class) -> u64 {
    match class {
        Class::Batch => BATCH,
        Class::Normal => NORMAL,
        Class::Interactive => INTERACTIVE,
    }
}

/// All that a score depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Judge<'a> {
    pub(crate) jobs: &'a Jobs,
    pub(crate) kinds: &'a Kinds,
    pub(crate) tenants: &'a Tenants,
    pub(crate) market: &'a Market,
    pub(crate) climate: Climate,
    pub(crate) now: Timestamp,
}

impl Judge<'_> {
    /// The score of a waiting job; the largest is next. `setup_ms`: its share of bringing its models in somewhere.
    pub(crate) fn score(&self, slot: Slot, setup_ms: u64) -> u64 {
        let Some(job) = self.jobs.get(slot) else { return 0 };
        let tenant = self.tenants.get(job.tenant);
        if tenant.is_some_and(Tenant::is_at_bound) {
            return 0;
        }
        self.merit_of(job, tenant, setup_ms)
    }

    /// The score, whatever bounds its tenant has.
    pub(crate) fn merit(&self, slot: Slot, setup_ms: u64) -> u64 {
        let Some(job) = self.jobs.get(slot) else { return 0 };
        self.merit_of(job, self.tenants.get(job.tenant), setup_ms)
    }

    fn merit_of(&self, job: &Job, tenant: Option<&Tenant>, setup_ms: u64) -> u64 {
        let Some(kind) = self.kinds.get(job.kind) else { return 0 };
        let size = self.market.worth_ms(kind.demand, kind.reference_ms) + LEAST_SIZE_MS + setup_ms;
        let class = class_weight(job.class);
        let share = self.share(tenant.map_or(0, Tenant::usage));
        class * self.age(job) * self.urgency(job, kind) / 1000 * share / size.isqrt().max(1)
    }

    /// What a second of a job's time counts, thousandths of a tenth of a normal job's: its class and its deadline.
    pub(crate) fn importance(&self, slot: Slot) -> u64 {
        let Some(job) = self.jobs.get(slot) else { return 0 };
        let Some(kind) = self.kinds.get(job.kind) else { return 0 };
        class_weight(job.class) * self.urgency(job, kind)
    }

    /// Whether a deadline is near and can still be met.
    pub(crate) fn is_urgent(&self, slot: Slot) -> bool {
        let Some(job) = self.jobs.get(slot) else { return false };
        self.kinds.get(job.kind).is_some_and(|kind| self.urgency(job, kind) > 1000)
    }

    fn age(&self, job: &Job) -> u64 {
        let waited = u64::try_from(self.now.since(job.accepted_at).0).unwrap_or(0);
        let ageing = self.climate.pressure.ageing.0.unsigned_abs().max(1);
        ONE + (waited.saturating_mul(ONE) / ageing).min(ONE * OLDEST)
    }

    fn urgency(&self, job: &Job, kind: &Kind) -> u64 {
        if job.wanted_by() == Timestamp::NEVER {
            return 1000;
        }
        let slack = job.slack(self.now, kind.reference_ms).0;
        if slack < 0 {
            return LATE_MILLI;
        }
        let gone = u64::try_from(URGENT_WITHIN.0 - slack).unwrap_or(0);
        let within = URGENT_WITHIN.0.unsigned_abs();
        1000 + MOST_URGENT_MILLI * gone / within * gone / within
    }

    /// Who had less than the mean counts up to twice as much as who had just that; who had much more, nearly nothing.
    fn share(&self, usage: u128) -> u64 {
        let mean = self.climate.mean_usage;
        // Only their ratio counts: both are brought into 64 bits.
        let shift = (u128::BITS - (usage | mean).leading_zeros()).saturating_sub(u64::BITS / 2);
        let (usage, mean) = ((usage >> shift) as u64, (mean >> shift) as u64);
        if usage + mean == 0 {
            return ONE / 2;
        }
        (mean * ONE / (usage + mean)).clamp(1, ONE)
    }
}
