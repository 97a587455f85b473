//! Jobs moving through their states: every change of a job goes through [`Scheduler::step`] and the table in `job`.

use crate::core::Scheduler;
use crate::decision::{Decisions, Effect, Record};
use crate::ids::{AttemptNo, InstanceId, JobId};
use crate::job::{JobState, Moment, Outcome, Phase, Signal, Step, StopReason};
use crate::jobs::{Job, Slot, Stage};
use crate::time::Timestamp;

/// Earlier attempts of one job whose outputs may still win; older ones are forgotten.
const KEPT_ATTEMPTS: usize = 8;

/// An attempt that was given up, though its output set may still arrive.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Superseded {
    pub(crate) attempt: AttemptNo,
    instance: InstanceId,
    started_at: Option<Timestamp>,
}

/// The attempt that ends a job.
#[derive(Debug, Clone, Copy)]
struct Winner {
    attempt: AttemptNo,
    instance: Option<InstanceId>,
    started_at: Option<Timestamp>,
}

impl Scheduler {
    pub(crate) fn on_signal(&mut self, job: JobId, attempt: AttemptNo, signal: Signal, out: &mut Decisions) {
        let Some(slot) = self.jobs.slot(job) else { return self.stray() };
        let Some(entry) = self.jobs.get(slot) else { return self.stray() };
        if entry.active().is_some_and(|active| active.attempt == attempt) {
            self.on_current(slot, signal, out);
        } else if attempt.0 >= 1 && attempt.0 <= entry.attempts {
            self.on_superseded(slot, attempt, signal, out);
        } else {
            self.stray();
        }
    }

    fn stray(&mut self) {
        self.strays = self.strays.saturating_add(1);
    }

    fn on_current(&mut self, slot: Slot, signal: Signal, out: &mut Decisions) {
        let Some(state) = self.jobs.get(slot).map(Job::state) else { return };
        match (state, signal) {
            (JobState::Canceling { .. }, _) => self.step(slot, Step::Heard(signal), out),
            (_, Signal::Lost(end)) => self.lose(slot, end, out),
            // After an end that it told first, too: then its files went with it.
            (JobState::Preempting { .. } | JobState::Collecting { .. }, Signal::Stopped) => {
                self.give_back(slot, out);
            }
            // Asked again for its tickets: after a reconnect the runner lists its files once more.
            (JobState::Collecting { .. }, Signal::Executed) => self.grant(slot, out),
            _ => self.step(slot, Step::Heard(signal), out),
        }
    }

    /// Only its complete output set moves the job; everything else of an attempt that was given up is late.
    fn on_superseded(&mut self, slot: Slot, attempt: AttemptNo, signal: Signal, out: &mut Decisions) {
        let Some(job) = self.jobs.get(slot) else { return };
        let id = job.id;
        match (job.state(), signal) {
            (JobState::Canceling { .. }, _) => self.stray(),
            (_, Signal::Executed) => out.effects.push(Effect::Grant { job: id, attempt }),
            (_, Signal::Published) => self.overtake(slot, attempt, out),
            _ => self.stray(),
        }
    }

    fn overtake(&mut self, slot: Slot, attempt: AttemptNo, out: &mut Decisions) {
        let Some(job) = self.jobs.get(slot) else { return };
        let Ok(next) = job.state().next(self.moment(), Step::Overtaken) else { return self.stray() };
        let JobState::Ended(outcome) = next else { return };
        let known =
            self.superseded.get(&job.id).and_then(|all| all.iter().find(|old| old.attempt == attempt));
        let winner = Winner {
            attempt,
            instance: known.map(|old| old.instance),
            started_at: known.and_then(|old| old.started_at),
        };
        if let Some(active) = job.active() {
            let (job, attempt, instance) = (job.id, active.attempt, active.instance);
            out.effects.push(Effect::Withdraw { job, attempt, instance });
        }
        self.end(slot, outcome, Some(winner), out);
    }

    pub(crate) fn moment(&self) -> Moment {
        Moment { now: self.now, lease_until: self.now.plus(self.config.lease) }
    }

    /// Takes one step of the table and does what the new state demands.
    pub(crate) fn step(&mut self, slot: Slot, step: Step, out: &mut Decisions) {
        let Some(from) = self.jobs.get(slot).map(Job::state) else { return };
        let Ok(to) = from.next(self.moment(), step) else { return self.stray() };
        match to {
            JobState::Ended(outcome) => {
                let winner = self.current(slot);
                self.end(slot, outcome, winner, out);
            }
            JobState::Queued { not_before } => self.wait_again(slot, not_before, out),
            _ => self.stay_active(slot, from, to, step, out),
        }
    }

    fn stay_active(&mut self, slot: Slot, from: JobState, to: JobState, step: Step, out: &mut Decisions) {
        if let (Some(old), Some(new)) = (from.placement(), to.placement())
            && new.lease_until > old.lease_until
        {
            self.note_sign(slot);
        }
        if let Some(active) = self.jobs.get_mut(slot).and_then(Job::active_mut) {
            active.exact &= step != Step::Heard(Signal::ContactLost);
            active.state = to;
            self.fleet.touch_id(active.instance);
        }
        if Phase::from(from) != Phase::from(to) {
            self.announce(slot, out);
        }
        if matches!(to, JobState::Collecting { .. }) && !matches!(from, JobState::Collecting { .. }) {
            self.learn(slot, out);
            self.vacate(slot);
            self.collect(slot);
            self.grant(slot, out);
        }
        self.rearm(slot);
    }

    /// It lives: the lease is whole again, and nobody needs to look.
    fn note_sign(&mut self, slot: Slot) {
        if let Some(active) = self.jobs.get_mut(slot).and_then(Job::active_mut) {
            active.asked = false;
        }
    }

    pub(crate) fn collect(&mut self, slot: Slot) {
        let Some(instance) = self.jobs.get(slot).and_then(Job::active).map(|active| active.instance) else {
            return;
        };
        if let Some(instance) = self.fleet.get_mut(instance) {
            instance.collecting.push(slot);
        }
    }

    pub(crate) fn grant(&self, slot: Slot, out: &mut Decisions) {
        let Some(job) = self.jobs.get(slot) else { return };
        if let Some(active) = job.active() {
            out.effects.push(Effect::Grant { job: job.id, attempt: active.attempt });
        }
    }

    fn announce(&self, slot: Slot, out: &mut Decisions) {
        if let Some(job) = self.jobs.get(slot) {
            out.effects.push(Effect::Announce { job: job.id, phase: job.state().into() });
        }
    }

    fn current(&self, slot: Slot) -> Option<Winner> {
        let job = self.jobs.get(slot)?;
        match job.active() {
            Some(active) => Some(Winner {
                attempt: active.attempt,
                instance: Some(active.instance),
                started_at: active.placement().and_then(|on| on.started_at),
            }),
            None => job.last_attempt().map(|attempt| Winner { attempt, instance: None, started_at: None }),
        }
    }

    /// Cancels or expires: at once while it waits, through its instance while it is on one.
    pub(crate) fn stop(&mut self, slot: Slot, why: StopReason, out: &mut Decisions) {
        let Some(job) = self.jobs.get(slot) else { return };
        let (id, from) = (job.id, job.state());
        let Ok(to) = from.next(self.moment(), Step::Stop(why)) else { return };
        if matches!(to, JobState::Canceling { .. }) && why == StopReason::Canceled {
            out.records.push(Record::CancelIntended { job: id });
        }
        self.step(slot, Step::Stop(why), out);
        if matches!(to, JobState::Canceling { .. }) {
            self.begin_stop(slot, out);
        }
    }

    /// Tells the instance, and gives it its grace to answer.
    pub(crate) fn begin_stop(&mut self, slot: Slot, out: &mut Decisions) {
        let stop_by = self.now.plus(self.config.withdraw_grace);
        if let Some(active) = self.jobs.get_mut(slot).and_then(Job::active_mut) {
            active.stop_by = stop_by;
        }
        self.withdraw(slot, out);
        self.rearm(slot);
    }

    pub(crate) fn withdraw(&self, slot: Slot, out: &mut Decisions) {
        let Some(job) = self.jobs.get(slot) else { return };
        if let Some(active) = job.active() {
            let (job, attempt, instance) = (job.id, active.attempt, active.instance);
            out.effects.push(Effect::Withdraw { job, attempt, instance });
        }
    }

    pub(crate) fn wait_again(&mut self, slot: Slot, not_before: Timestamp, out: &mut Decisions) {
        self.leave_instance(slot);
        let Some(job) = self.jobs.get_mut(slot) else { return };
        if let Stage::Active(active) = &job.stage {
            let old = Superseded {
                attempt: active.attempt,
                instance: active.instance,
                started_at: active.placement().and_then(|on| on.started_at),
            };
            let all = self.superseded.entry(job.id).or_default();
            if all.len() == KEPT_ATTEMPTS {
                all.remove(0);
            }
            all.push(old);
        }
        job.stage = Stage::Waiting { not_before };
        self.begin_wait(slot);
        self.announce(slot, out);
    }

    fn end(&mut self, slot: Slot, outcome: Outcome, winner: Option<Winner>, out: &mut Decisions) {
        let Some(job) = self.jobs.get(slot) else { return };
        let id = job.id;
        out.records.push(Record::Ended {
            job: id,
            attempt: winner.map(|winner| winner.attempt),
            started_at: winner.and_then(|winner| winner.started_at),
            outcome,
        });
        if let (Outcome::Succeeded, Some(Winner { attempt, instance: Some(instance), .. })) =
            (outcome, winner)
        {
            out.effects.push(Effect::Settle { job: id, attempt, instance });
        }
        out.effects.push(Effect::Announce { job: id, phase: outcome.into() });
        self.close(slot);
    }

    /// Takes a job out of every table.
    pub(crate) fn close(&mut self, slot: Slot) {
        match self.jobs.get(slot).map(|job| &job.stage) {
            Some(Stage::Active(_)) => self.leave_instance(slot),
            Some(Stage::Waiting { .. }) => {
                self.end_wait(slot);
                self.door.note_departure(self.now);
            }
            None => return,
        }
        if let Some(job) = self.jobs.get_mut(slot) {
            self.timers.disarm(job, slot);
        }
        let Some(job) = self.jobs.remove(slot) else { return };
        self.superseded.remove(&job.id);
        if let Some(tenant) = self.tenants.get_mut(job.tenant) {
            tenant.open = tenant.open.saturating_sub(1);
        }
        if job.suspect
            && let Some(kind) = self.kinds.get_mut(job.kind)
        {
            kind.suspects = kind.suspects.saturating_sub(1);
            self.dirty = true;
        }
        self.forget_kind(job.kind);
    }
}
