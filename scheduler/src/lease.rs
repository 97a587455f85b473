//! Time passing over jobs: leases, pauses, deadlines and grace, each job armed at its next instant only.

use std::collections::BTreeSet;

use crate::config::Config;
use crate::core::Scheduler;
use crate::decision::{Decisions, Effect};
use crate::job::{AttemptEnd, JobState, Step, StopReason};
use crate::jobs::{Active, Job, Slot, Stage};
use crate::time::{Millis, Timestamp};

/// The next instant of each job.
#[derive(Debug, Clone, Default)]
pub(crate) struct Timers {
    armed: BTreeSet<(Timestamp, Slot)>,
}

impl Timers {
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.armed.first().map(|(at, _)| *at)
    }

    pub(crate) fn arm(&mut self, job: &mut Job, slot: Slot, at: Timestamp) {
        if job.timer == at {
            return;
        }
        self.disarm(job, slot);
        if at < Timestamp::NEVER {
            self.armed.insert((at, slot));
            job.timer = at;
        }
    }

    pub(crate) fn disarm(&mut self, job: &mut Job, slot: Slot) {
        if job.timer < Timestamp::NEVER {
            self.armed.remove(&(job.timer, slot));
            job.timer = Timestamp::NEVER;
        }
    }

    fn pop_due(&mut self, now: Timestamp) -> Option<Slot> {
        let (at, slot) = self.armed.first().copied()?;
        (at <= now).then(|| self.armed.pop_first()).map(|_| slot)
    }

    pub(crate) fn len(&self) -> usize {
        self.armed.len()
    }

    pub(crate) fn contains(&self, at: Timestamp, slot: Slot) -> bool {
        self.armed.contains(&(at, slot))
    }
}

/// A third of the lease: a look-up has this long to find the attempt.
fn third(config: &Config) -> Millis {
    Millis(config.lease.0 / 3)
}

/// When an attempt runs out of time. Only one that is known not to have started has to start yet: one in doubt,
/// adopted ones among them, may have started unheard, so its look-up answers first.
fn last_instant(job: &Job, active: &Active) -> Timestamp {
    match active.state {
        JobState::Dispatching { on } if on.started_at.is_none() => job.start_by(),
        _ => job.deadline,
    }
}

/// When something must happen to an attempt, whoever is heard or not.
fn attempt_due(config: &Config, job: &Job, active: &Active) -> Timestamp {
    match active.state {
        JobState::Canceling { .. } | JobState::Preempting { .. } => active.stop_by,
        JobState::Dispatching { on } | JobState::Running { on } | JobState::InDoubt { on, .. } => {
            let ask_at = on.lease_until.plus(Millis(-third(config).0));
            let lease = if active.asked { on.lease_until } else { ask_at };
            lease.min(last_instant(job, active))
        }
        // Its runner holds its files, or says that they are gone; ComfyUI is not needed any more.
        JobState::Queued { .. } | JobState::Collecting { .. } | JobState::Ended(_) => Timestamp::NEVER,
    }
}

impl Scheduler {
    /// Arms the next instant of a job.
    pub(crate) fn rearm(&mut self, slot: Slot) {
        let at = match self.jobs.get(slot) {
            Some(job) => self.due(job),
            None => return,
        };
        if let Some(job) = self.jobs.get_mut(slot) {
            self.timers.arm(job, slot, at);
        }
    }

    fn due(&self, job: &Job) -> Timestamp {
        match &job.stage {
            Stage::Waiting { not_before } => {
                let mut at = job.start_by();
                if !job.in_lane {
                    at = at.min(*not_before);
                }
                at
            }
            Stage::Active(active) => attempt_due(&self.config, job, active),
        }
    }

    /// Does what time alone demands.
    pub(crate) fn pass_time(&mut self, out: &mut Decisions) {
        if self.fleet.end_restarts(self.now) {
            self.dirty = true;
        }
        while let Some(slot) = self.timers.pop_due(self.now) {
            if let Some(job) = self.jobs.get_mut(slot) {
                job.timer = Timestamp::NEVER;
            }
            self.on_due(slot, out);
            self.rearm(slot);
        }
    }

    fn on_due(&mut self, slot: Slot, out: &mut Decisions) {
        let Some(job) = self.jobs.get(slot) else { return };
        match job.state() {
            JobState::Queued { not_before } => self.on_waiting_due(slot, not_before, out),
            JobState::Canceling { .. } => self.step(slot, Step::GraceOver, out),
            JobState::Preempting { .. } => self.give_back(slot, out),
            JobState::Dispatching { .. } | JobState::Running { .. } | JobState::InDoubt { .. } => {
                self.on_attempt_due(slot, out);
            }
            JobState::Collecting { .. } | JobState::Ended(_) => {}
        }
    }

    fn on_waiting_due(&mut self, slot: Slot, not_before: Timestamp, out: &mut Decisions) {
        let Some(job) = self.jobs.get(slot) else { return };
        if job.start_by() <= self.now {
            return self.stop(slot, StopReason::Expired, out);
        }
        if not_before <= self.now {
            self.enter_lane(slot);
        }
    }

    /// A lease ends only after a look-up had its time to answer: after a pause of the process everyone is asked
    /// before anything expires (DESIGN §4.17).
    fn on_attempt_due(&mut self, slot: Slot, out: &mut Decisions) {
        let Some(job) = self.jobs.get(slot) else { return };
        let Some(active) = job.active() else { return };
        let Some(on) = active.placement().copied() else { return };
        if last_instant(job, active) <= self.now {
            return self.stop(slot, StopReason::Expired, out);
        }
        let third = third(&self.config);
        let overslept = on.lease_until.plus(third) < self.now;
        if active.asked && on.lease_until <= self.now && !overslept {
            return self.withdraw_and_lose(slot, AttemptEnd::LeaseExpired, out);
        }
        if on.lease_until.plus(Millis(-third.0)) <= self.now {
            self.ask(slot, out);
        }
    }

    /// Looks an attempt up and leaves the answer its time.
    pub(crate) fn ask(&mut self, slot: Slot, out: &mut Decisions) {
        let answer_by = self.now.plus(third(&self.config));
        let Some(job) = self.jobs.get_mut(slot) else { return };
        let id = job.id;
        let Some(active) = job.active_mut() else { return };
        active.asked = true;
        if let Some(on) = active.state.placement_mut() {
            on.lease_until = on.lease_until.max(answer_by);
        }
        let (attempt, instance) = (active.attempt, active.instance);
        if self.fleet.get(instance).is_some_and(|known| known.profile.is_some()) {
            out.effects.push(Effect::LookUp { job: id, attempt, instance });
        }
    }
}
