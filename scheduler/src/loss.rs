//! Attempts that fail without ending their job (DESIGN §5): whose fault it was, and what follows.

use crate::core::Scheduler;
use crate::decision::{Decisions, Effect, Record};
use crate::device::RESTART_WITHIN;
use crate::ids::InstanceId;
use crate::job::{AfterLoss, AttemptEnd, Failure, JobState, Signal, Step};
use crate::jobs::{Job, Slot};
use crate::time::Millis;

/// Back-off doubles at most this often; the configured bound comes long before.
const MOST_DOUBLINGS: u32 = 20;

impl Scheduler {
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
    pub(crate) fn lose(&mut self, slot: Slot, end: AttemptEnd, out: &mut Decisions) {
        let Some(job) = self.jobs.get(slot) else { return };
        let Some(active) = job.active() else { return };
        let (id, attempt, instance) = (job.id, active.attempt, active.instance);
        let is_fault = end.is_fault(active.state.was_running());
        self.blame(slot, instance, end, out);
        let verdict = self.verdict(slot, end, is_fault);
        let Some(job) = self.jobs.get_mut(slot) else { return };
        job.avoid = instance;
        if is_fault {
            job.faults = job.faults.saturating_add(1);
        } else {
            job.losses = job.losses.saturating_add(1);
        }
        let (faults, losses) = (u32::from(job.faults), u32::from(job.losses));
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
        let faults = u32::from(job.faults) + u32::from(is_fault);
        let losses = u32::from(job.losses) + u32::from(!is_fault);
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
        self.costs.need_mib(kind, largest) <= largest
    }

    /// None after the first mishap that says nothing about the job, and none where another card is the cure.
    fn pause(&mut self, end: AttemptEnd, mishaps: u32) -> Millis {
        let at_once = match end {
            AttemptEnd::OutOfMemory | AttemptEnd::Preempted => true,
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
                instance.empty_vram();
                out.effects.push(Effect::Free { instance: id });
            }
            AttemptEnd::OutputsGone if instance.up => {
                instance.empty_vram();
                out.effects.push(Effect::Free { instance: id });
            }
            AttemptEnd::NoTrace | AttemptEnd::InstanceDied => instance.forget_models(),
            AttemptEnd::DeviceFault => instance.faulty = true,
            AttemptEnd::Hung => {
                let by = now.plus(RESTART_WITHIN);
                instance.empty_vram();
                instance.restart_by = Some(by);
                self.fleet.await_restart(id, by);
                out.effects.push(Effect::Restart { instance: id });
            }
            AttemptEnd::OutputsGone
            | AttemptEnd::Unreachable
            | AttemptEnd::LeaseExpired
            | AttemptEnd::HostFault
            | AttemptEnd::Drained
            | AttemptEnd::Preempted => {}
        }
    }

    fn learn_overflow(&mut self, slot: Slot, id: InstanceId, out: &mut Decisions) {
        let Some(of) = self.jobs.get(slot).map(|job| job.kind) else { return };
        let Some(kind) = self.kinds.get(of) else { return };
        let Some(instance) = self.fleet.get(id) else { return };
        // A device of unknown size proves only that the belief was too low.
        let room = match instance.room_mib() {
            u32::MAX => self.costs.need_mib(kind, u32::MAX),
            room => room,
        };
        out.records.extend(self.costs.rooms.learn_overflows(kind.signature, room).map(Record::Learned));
        self.refit(of);
    }
}
