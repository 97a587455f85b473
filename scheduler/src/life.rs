//! Jobs moving through their states: every change of a job goes through [`Scheduler::step`] and the table in `job`.

use crate::core::Scheduler;
use crate::costs::Prediction;
use crate::decision::{Decisions, Effect, Record};
use crate::ids::{AttemptNo, InstanceId, JobId};
use crate::job::{
    AfterLoss, AttemptEnd, Failure, JobState, Moment, Outcome, Phase, Signal, Step, StopReason,
};
use crate::jobs::{Active, Job, Slot, Stage};
use crate::spec::Requirement;
use crate::time::{Millis, Timestamp};

/// Earlier attempts of one job whose outputs may still win; older ones are forgotten.
const KEPT_ATTEMPTS: usize = 8;
/// Back-off doubles at most this often; the configured bound comes long before.
const MOST_DOUBLINGS: u32 = 20;

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

    fn collect(&mut self, slot: Slot) {
        let Some(instance) = self.jobs.get(slot).and_then(Job::active).map(|active| active.instance) else {
            return;
        };
        if let Some(instance) = self.fleet.get_mut(instance) {
            instance.collecting.push(slot);
        }
    }

    fn grant(&self, slot: Slot, out: &mut Decisions) {
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

    fn withdraw(&self, slot: Slot, out: &mut Decisions) {
        let Some(job) = self.jobs.get(slot) else { return };
        if let Some(active) = job.active() {
            let (job, attempt, instance) = (job.id, active.attempt, active.instance);
            out.effects.push(Effect::Withdraw { job, attempt, instance });
        }
    }

    /// Gives an attempt up that may still be alive somewhere.
    pub(crate) fn withdraw_and_lose(&mut self, slot: Slot, end: AttemptEnd, out: &mut Decisions) {
        self.withdraw(slot, out);
        if self.jobs.get(slot).is_some_and(|job| matches!(job.state(), JobState::Canceling { .. })) {
            self.step(slot, Step::Heard(Signal::Lost(end)), out);
        } else {
            self.lose(slot, end, out);
        }
    }

    /// One try is over: what it says of the instance, what it says of the job, and whether the job goes on.
    fn lose(&mut self, slot: Slot, end: AttemptEnd, out: &mut Decisions) {
        let Some(job) = self.jobs.get(slot) else { return };
        let Some(active) = job.active() else { return };
        let (id, attempt, instance) = (job.id, active.attempt, active.instance);
        let is_fault = end.is_fault(active.state.was_running());
        self.blame(slot, instance, end, out);
        let verdict = self.verdict(slot, end, is_fault);
        let Some(job) = self.jobs.get_mut(slot) else { return };
        job.avoid = Some(instance);
        if is_fault {
            job.faults = job.faults.saturating_add(1);
        } else {
            job.losses = job.losses.saturating_add(1);
        }
        let (faults, losses) = (job.faults, job.losses);
        if is_fault && end != AttemptEnd::OutOfMemory {
            self.suspect(slot);
        }
        if matches!(verdict, AfterLoss::Wait(_)) {
            out.records.push(Record::AttemptEnded { job: id, attempt, end, faults, losses });
        }
        self.step(slot, Step::Over(verdict), out);
    }

    fn suspect(&mut self, slot: Slot) {
        let Some(job) = self.jobs.get_mut(slot) else { return };
        if !job.suspect {
            job.suspect = true;
            if let Some(kind) = self.kinds.get_mut(job.kind) {
                kind.suspects += 1;
            }
        }
    }

    fn verdict(&mut self, slot: Slot, end: AttemptEnd, is_fault: bool) -> AfterLoss {
        let Some(job) = self.jobs.get(slot) else { return AfterLoss::Wait(self.now) };
        let faults = job.faults.saturating_add(u32::from(is_fault));
        let losses = job.losses.saturating_add(u32::from(!is_fault));
        if end == AttemptEnd::OutOfMemory && !self.could_ever_fit(job) {
            return AfterLoss::Fail(Failure::OutOfMemory);
        }
        if is_fault && faults >= self.config.fault_limit {
            return AfterLoss::Fail(Failure::PoisonJob);
        }
        AfterLoss::Wait(self.now.plus(self.pause(end, faults.saturating_add(losses))))
    }

    fn could_ever_fit(&self, job: &Job) -> bool {
        let Some(kind) = self.kinds.get(job.kind) else { return false };
        let largest = self.fleet.largest_mib();
        self.costs.need_mib(kind.shape, largest) <= largest
    }

    /// None after the first mishap that says nothing about the job, and none where another card is the cure.
    fn pause(&mut self, end: AttemptEnd, mishaps: u32) -> Millis {
        let at_once = match end {
            AttemptEnd::OutOfMemory => true,
            AttemptEnd::NoTrace | AttemptEnd::Unreachable | AttemptEnd::InstanceDied => mishaps <= 1,
            AttemptEnd::LeaseExpired
            | AttemptEnd::Hung
            | AttemptEnd::DeviceFault
            | AttemptEnd::HostFault
            | AttemptEnd::OutputsGone
            | AttemptEnd::Drained => false,
        };
        if at_once {
            return Millis(0);
        }
        let doublings = mishaps.saturating_sub(1).min(MOST_DOUBLINGS);
        let pause = (self.config.backoff_first.0 << doublings).min(self.config.backoff_max.0);
        // Between three quarters and the whole, so that what was lost together does not come back together.
        let jitter = self.rng.up_to(u64::try_from(pause / 4).unwrap_or(0));
        Millis(pause - i64::try_from(jitter).unwrap_or(0))
    }

    /// What the end of an attempt says of its instance.
    fn blame(&mut self, slot: Slot, id: InstanceId, end: AttemptEnd, out: &mut Decisions) {
        if end == AttemptEnd::OutOfMemory {
            self.learn_overflow(slot, id, out);
        }
        let now = self.now;
        let Some(instance) = self.fleet.get_mut(id) else { return };
        match end {
            AttemptEnd::OutOfMemory => {
                instance.resident.clear();
                out.effects.push(Effect::Free { instance: id });
            }
            AttemptEnd::OutputsGone if instance.up => {
                instance.resident.clear();
                out.effects.push(Effect::Free { instance: id });
            }
            AttemptEnd::NoTrace | AttemptEnd::InstanceDied => instance.resident.clear(),
            AttemptEnd::DeviceFault => instance.faulty = true,
            AttemptEnd::Hung => {
                instance.resident.clear();
                instance.restart_by = Some(now.plus(crate::device::RESTART_WITHIN));
                out.effects.push(Effect::Restart { instance: id });
            }
            AttemptEnd::OutputsGone
            | AttemptEnd::Unreachable
            | AttemptEnd::LeaseExpired
            | AttemptEnd::HostFault
            | AttemptEnd::Drained => {}
        }
    }

    fn learn_overflow(&mut self, slot: Slot, id: InstanceId, out: &mut Decisions) {
        let Some(kind) = self.jobs.get(slot).and_then(|job| self.kinds.get(job.kind)) else { return };
        let Some(instance) = self.fleet.get(id) else { return };
        // A device of unknown size proves only that the belief was too low.
        let room = match instance.room_mib() {
            u32::MAX => self.costs.need_mib(kind.shape, u32::MAX),
            room => room,
        };
        out.records.extend(self.costs.learn_overflows(kind.shape.id, room).map(Record::Learned));
    }

    /// A finished run teaches its time and that it fits.
    fn learn(&mut self, slot: Slot, out: &mut Decisions) {
        let Some(job) = self.jobs.get(slot) else { return };
        let (Some(active), Some(kind)) = (job.active(), self.kinds.get(job.kind)) else { return };
        let Some(instance) = self.fleet.get(active.instance) else { return };
        let shape = kind.shape;
        let size = instance.capacity_mib();
        if size < u32::MAX && instance.profile.is_some() {
            out.records.extend(self.costs.learn_fits(shape.id, size).map(Record::Learned));
        }
        if active.exact {
            let (class, predicted, took) = (instance.speed().class, active.predicted, self.device_ms(active));
            let took = u32::try_from(took).unwrap_or(u32::MAX);
            out.records.extend(self.costs.learn_time(shape, class, took, predicted).map(Record::Learned));
        }
    }

    /// How long an attempt has had the device. One that was never seen to start and is done all the same had it
    /// since its placement, or since the prompt before it left.
    fn device_ms(&self, active: &Active) -> u64 {
        let Some(on) = active.placement() else { return 0 };
        let freed_at = self.fleet.get(active.instance).map_or(on.placed_at, |instance| instance.freed_at);
        let begun = on.started_at.unwrap_or_else(|| on.placed_at.max(freed_at));
        u64::try_from(self.now.since(begun).0).unwrap_or(0)
    }

    /// The seat of an attempt becomes free, and its tenant pays what it took.
    fn vacate(&mut self, slot: Slot) {
        let Some(job) = self.jobs.get(slot) else { return };
        let (tenant, kind) = (job.tenant, job.kind);
        let Some(active) = job.active() else { return };
        let Some(instance) = self.fleet.get(active.instance) else { return };
        if !instance.held.contains(&slot) {
            return;
        }
        let had_it = active.state.was_running() || matches!(active.state, JobState::Collecting { .. });
        let took = if had_it { self.device_ms(active) * u64::from(instance.speed().milli) / 1000 } else { 0 };
        let (charged, id) = (active.charged_ms, active.instance);
        if took > charged {
            self.tenants.charge(self.now, tenant, took - charged);
        } else {
            self.tenants.refund(self.now, tenant, charged - took);
        }
        if let Some(tenant) = self.tenants.get_mut(tenant) {
            tenant.occupied = tenant.occupied.saturating_sub(1);
        }
        if let Some(kind) = self.kinds.get_mut(kind) {
            kind.in_flight = kind.in_flight.saturating_sub(1);
        }
        if let Some(instance) = self.fleet.get_mut(id) {
            instance.held.retain(|held| *held != slot);
            instance.freed_at = self.now;
        }
        self.dirty = true;
    }

    /// Nothing of the attempt is left on its instance.
    fn leave_instance(&mut self, slot: Slot) {
        self.vacate(slot);
        let Some(active) = self.jobs.get(slot).and_then(Job::active) else { return };
        let id = active.instance;
        if let Some(instance) = self.fleet.get_mut(id) {
            instance.collecting.retain(|collecting| *collecting != slot);
        }
        self.fleet.forget_if_empty(id);
    }

    fn wait_again(&mut self, slot: Slot, not_before: Timestamp, out: &mut Decisions) {
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

    /// Counts a job among those that wait, and gives it its seat when no pause holds it back.
    pub(crate) fn begin_wait(&mut self, slot: Slot) {
        let Some(job) = self.jobs.get(slot) else { return };
        let (tenant, kind, class) = (job.tenant, job.kind, job.class);
        let ready = matches!(job.stage, Stage::Waiting { not_before } if not_before <= self.now);
        self.tenants.enqueue(tenant);
        self.kinds.enqueue(kind);
        self.queued[class as usize] += 1;
        self.backlog_ms += self.kinds.get(kind).map_or(0, |kind| u64::from(kind.reference_ms));
        if ready {
            self.enter_lane(slot);
        }
        self.rearm(slot);
    }

    /// The reverse of [`Self::begin_wait`].
    pub(crate) fn end_wait(&mut self, slot: Slot) {
        self.leave_lane(slot);
        let Some(job) = self.jobs.get(slot) else { return };
        let (tenant, kind, class) = (job.tenant, job.kind, job.class);
        if let Some(tenant) = self.tenants.get_mut(tenant) {
            tenant.queued = tenant.queued.saturating_sub(1);
        }
        self.backlog_ms = self
            .backlog_ms
            .saturating_sub(self.kinds.get(kind).map_or(0, |kind| u64::from(kind.reference_ms)));
        self.kinds.dequeue(kind);
        self.queued[class as usize] -= 1;
        self.door.note_departure(self.now);
    }

    pub(crate) fn enter_lane(&mut self, slot: Slot) {
        if let Some(job) = self.jobs.get_mut(slot)
            && !job.in_lane
        {
            job.in_lane = true;
            self.backlog.insert(job, slot);
            self.dirty = true;
        }
    }

    pub(crate) fn leave_lane(&mut self, slot: Slot) {
        if let Some(job) = self.jobs.get_mut(slot)
            && job.in_lane
        {
            job.in_lane = false;
            self.backlog.remove(job, slot);
        }
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
            Some(Stage::Waiting { .. }) => self.end_wait(slot),
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
        self.kinds.leave(job.kind);
    }

    /// Seats an attempt on its instance, new or adopted.
    pub(crate) fn seat(&mut self, slot: Slot, active: Active) {
        let Some(job) = self.jobs.get_mut(slot) else { return };
        let (tenant, kind) = (job.tenant, job.kind);
        let (instance, charged) = (active.instance, active.charged_ms);
        job.attempts = active.attempt.0;
        job.stage = Stage::Active(Box::new(active));
        self.fleet.entry(self.now, instance).held.push(slot);
        self.tenants.charge(self.now, tenant, charged);
        if let Some(tenant) = self.tenants.get_mut(tenant) {
            tenant.occupied += 1;
        }
        if let Some(kind) = self.kinds.get_mut(kind) {
            kind.in_flight += 1;
        }
        self.rearm(slot);
    }

    /// What a kind of work is believed to take on an instance now.
    pub(crate) fn predict(&self, kind: &crate::kinds::Kind, id: InstanceId) -> Prediction {
        let Some(instance) = self.fleet.get(id) else { return Prediction::default() };
        let speed = instance.speed();
        let run_ms = instance.slowed(self.costs.run_ms(kind.shape, speed));
        self.costs.predict(kind, speed, run_ms, |model| instance.is_warm(model))
    }

    /// The models of a kind are on their way into an instance.
    pub(crate) fn bring_in(&mut self, id: InstanceId, requirement: &Requirement, need_mib: u32) {
        if let Some(instance) = self.fleet.get_mut(id) {
            instance.load(&requirement.models, need_mib);
        }
    }
}
