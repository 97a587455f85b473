//! The scheduler itself: the only `match event`.

use crate::config::Config;
use crate::decision::Decisions;
use crate::event::Event;
use crate::explain::{Explanation, Summary};
use crate::ids::JobId;
use crate::job::JobState;
use crate::time::Timestamp;

/// The brain: owned by one task, fed with events, asked for decisions.
#[derive(Debug, Clone)]
pub struct Scheduler {
    now: Timestamp,
}

impl Scheduler {
    /// A scheduler that knows nothing yet. `seed` feeds the jitter of back-offs.
    #[must_use]
    pub fn new(_config: Config, _seed: u64) -> Self {
        Self { now: Timestamp::default() }
    }

    /// Advances the world by one event. Never blocks and never reads a clock.
    pub fn handle(&mut self, now: Timestamp, _event: Event, _out: &mut Decisions) {
        self.now = self.now.max(now);
    }

    /// Places what can be placed. Call once after the events of a turn.
    pub fn place(&mut self, _now: Timestamp, _out: &mut Decisions) {}

    /// When to send [`Event::Woke`] at the latest; `None`: not before something else happens.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Timestamp> {
        None
    }

    /// The state of an open job; `None` once it has ended or if it never was.
    #[must_use]
    pub fn state(&self, _job: JobId) -> Option<JobState> {
        None
    }

    /// Why a job waits, device by device; `None` for a job that is not open.
    #[must_use]
    pub fn explain(&self, _now: Timestamp, _job: JobId) -> Option<Explanation> {
        None
    }

    /// Fleet and backlog in numbers.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary::default()
    }

    /// Whether a drain was requested and no attempt is left on any instance.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        false
    }
}
