//! The scheduler's settings: a plain value, checked once.

use crate::time::Millis;

/// Bounds and times of the scheduler. Every wait and every queue has its bound here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The backlog is full at this many waiting jobs …
    pub high_watermark: u32,
    /// … and opens again at this many (hysteresis).
    pub low_watermark: u32,
    /// Most waiting jobs of one tenant.
    pub tenant_queue: u32,
    /// Length of a placement lease; any sign of the attempt renews it.
    pub lease: Millis,
    /// Prompts given to an instance behind the one it runs: 0 or 1 (DESIGN §4.6).
    pub prefetch: u32,
    /// A prompt is given to a busy instance only when that is predicted to be free within this: late enough to decide by
    /// what is known then, early enough that nothing idles; [`Millis::FOREVER`]: at once.
    pub prefetch_ahead: Millis,
    /// Faults that make a job poison (DESIGN §5).
    pub fault_limit: u32,
    /// First pause after a loss; doubles with each further one …
    pub backoff_first: Millis,
    /// … up to this.
    pub backoff_max: Millis,
    /// How long a withdrawal may take before the job ends without its confirmation.
    pub withdraw_grace: Millis,
    /// Waiting this long doubles what a job counts while little else waits, so that nothing waits for ever.
    pub ageing: Millis,
    /// How much longer than on the best idle device a job may wait for a busy one that holds its models.
    pub affinity_delay: Millis,
    /// Waiting jobs looked at for each open seat in one pass, and pools of them: the look-ahead into the backlog.
    pub look_ahead: u32,
    /// A running attempt gives its place to more important work when that saves this many times what is lost by it;
    /// 0: never.
    pub preemption: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            high_watermark: 1_000_000,
            low_watermark: 950_000,
            tenant_queue: 500_000,
            lease: Millis::from_secs(60),
            prefetch: 1,
            prefetch_ahead: Millis::FOREVER,
            fault_limit: 3,
            backoff_first: Millis(500),
            backoff_max: Millis::from_secs(60),
            withdraw_grace: Millis::from_secs(60),
            ageing: Millis::from_secs(30),
            affinity_delay: Millis::from_secs(120),
            look_ahead: 32,
            preemption: 0,
        }
    }
}

/// A setting that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("scheduler.{setting}: {problem}")]
pub struct Mistake {
    /// Its name in the configuration.
    pub setting: &'static str,
    /// What is wrong and what would be right.
    pub problem: String,
}

impl Config {
    /// All mistakes at once; empty when the settings can be used.
    #[must_use]
    pub fn mistakes(&self) -> Vec<Mistake> {
        let mut found = Vec::new();
        let mut check = |wrong: bool, setting, problem: &str| {
            if wrong {
                found.push(Mistake { setting, problem: problem.to_owned() });
            }
        };
        check(self.high_watermark == 0, "high_watermark", "must be at least 1");
        check(self.low_watermark > self.high_watermark, "low_watermark", "must not be above high_watermark");
        check(self.tenant_queue == 0, "tenant_queue", "must be at least 1");
        check(self.lease.0 < 3_000, "lease", "must be at least 3 s: three look-ups fit into one lease");
        check(self.prefetch > 1, "prefetch", "must be 0 or 1");
        check(self.prefetch_ahead.0 < 0, "prefetch_ahead", "must not be negative");
        check(self.fault_limit == 0, "fault_limit", "must be at least 1");
        check(self.backoff_first.0 < 0, "backoff_first", "must not be negative");
        check(self.backoff_max < self.backoff_first, "backoff_max", "must not be below backoff_first");
        check(self.withdraw_grace.0 <= 0, "withdraw_grace", "must be above 0");
        check(self.ageing.0 <= 0, "ageing", "must be above 0");
        check(self.affinity_delay.0 < 0, "affinity_delay", "must not be negative");
        check(self.look_ahead == 0, "look_ahead", "must be at least 1");
        found
    }
}
