//! The books of who waits and who holds a seat: each count changes here and nowhere else.

use crate::core::Scheduler;
use crate::costs::Prediction;
use crate::decision::{Decisions, Record};
use crate::ids::InstanceId;
use crate::jobs::{Active, Job, Slot, Stage};
use crate::kinds::{Kind, KindId};
use crate::market;
use crate::pools::Seat;

impl Scheduler {
    /// Counts a job among those that wait, and gives it its seat when no pause holds it back.
    pub(crate) fn begin_wait(&mut self, slot: Slot) {
        let Some(job) = self.jobs.get(slot) else { return };
        let (tenant, kind, class) = (job.tenant, job.kind, job.class);
        let ready = matches!(job.stage, Stage::Waiting { not_before } if not_before <= self.now);
        self.tenants.enqueue(tenant);
        if let Some(kind) = self.kinds.get_mut(kind) {
            kind.queued += 1;
        }
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
        if let Some(kind) = self.kinds.get_mut(kind) {
            kind.queued = kind.queued.saturating_sub(1);
        }
        self.queued[class as usize] -= 1;
    }

    /// A job turns out to be of another kind while it waits; it keeps its age.
    pub(crate) fn change_kind(&mut self, slot: Slot, new: KindId) {
        let Some(job) = self.jobs.get_mut(slot) else { return };
        let old = std::mem::replace(&mut job.kind, new);
        if job.suspect {
            for (id, step) in [(old, -1), (new, 1)] {
                if let Some(kind) = self.kinds.get_mut(id) {
                    kind.suspects = kind.suspects.saturating_add_signed(step);
                }
            }
        }
        self.forget_kind(old);
    }

    /// A job of a kind has ended or is of another kind now.
    pub(crate) fn forget_kind(&mut self, id: KindId) {
        if let Some(pool) = self.kinds.leave(id) {
            self.pools.leave(pool);
        }
    }

    pub(crate) fn enter_lane(&mut self, slot: Slot) {
        let Some(job) = self.jobs.get_mut(slot).filter(|job| !job.in_lane) else { return };
        job.in_lane = true;
        let (place, id) = ((job.tenant, job.class, job.order), job.kind);
        let (Some(job), Some(kind)) = (self.jobs.get(slot), self.kinds.get(id)) else { return };
        let (seat, pool) = (Seat::of(job, kind, slot), kind.pool);
        self.market.enqueue(kind.demand, kind.reference_ms);
        self.orders.enter((place.0, place.1, place.2, kind.demand));
        let mut pools = std::mem::take(&mut self.pools);
        let judge = self.judge();
        pools.enter(pool, seat, self.now, |slot, setup| judge.score(slot, setup));
        self.pools = pools;
        self.dirty = true;
    }

    pub(crate) fn leave_lane(&mut self, slot: Slot) {
        let Some(job) = self.jobs.get_mut(slot).filter(|job| job.in_lane) else { return };
        job.in_lane = false;
        self.waits.forget(slot);
        let (place, id) = ((job.tenant, job.class, job.order), job.kind);
        let (Some(job), Some(kind)) = (self.jobs.get(slot), self.kinds.get(id)) else { return };
        let (seat, pool) = (Seat::of(job, kind, slot), kind.pool);
        self.market.dequeue(kind.demand, kind.reference_ms);
        self.orders.exit((place.0, place.1, place.2, kind.demand));
        let mut pools = std::mem::take(&mut self.pools);
        let judge = self.judge();
        pools.exit(pool, seat, self.now, |slot, setup| judge.score(slot, setup));
        self.pools = pools;
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
    pub(crate) fn predict(&self, kind: &Kind, id: InstanceId) -> Prediction {
        let Some(instance) = self.fleet.get(id) else { return Prediction::default() };
        let class = self.costs.runs.known_class(instance.device_class());
        self.costs.predict(kind, instance, self.costs.run_ms(kind, class))
    }

    /// The models of a kind are on their way into an instance.
    pub(crate) fn bring_in(&mut self, id: InstanceId, kind: KindId, need_mib: u32) {
        if let (Some(instance), Some(kind)) = (self.fleet.get_mut(id), self.kinds.get(kind)) {
            instance.bring_in(&kind.needs, need_mib);
        }
    }

    /// A finished run teaches its time and that it fits.
    pub(crate) fn learn(&mut self, slot: Slot, out: &mut Decisions) {
        let Some(job) = self.jobs.get(slot) else { return };
        let id = job.kind;
        let (Some(active), Some(kind)) = (job.active(), self.kinds.get(id)) else { return };
        let Some(instance) = self.fleet.get(active.instance) else { return };
        if active.predicted.is_repeat {
            // It executed next to nothing: neither its time nor that it fitted says anything.
            return;
        }
        let size = instance.capacity_mib();
        let took = u32::try_from(self.device_ms(active)).unwrap_or(u32::MAX);
        let fits = if size < u32::MAX && instance.profile.is_some() {
            self.costs.rooms.learn_fits(kind.signature, size)
        } else {
            None
        };
        out.records.extend(fits.map(Record::Learned));
        if active.exact {
            let class = instance.device_class();
            let class = (self.costs.runs.known_class(class), class);
            let told = self.costs.learn_time(kind, class, took, active.predicted);
            out.records.extend(told.into_iter().map(Record::Learned));
        }
        if fits.is_some() {
            self.refit(id);
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
    pub(crate) fn vacate(&mut self, slot: Slot) {
        let Some(job) = self.jobs.get(slot) else { return };
        let (tenant, kind) = (job.tenant, job.kind);
        let Some(active) = job.active() else { return };
        let Some(instance) = self.fleet.get(active.instance) else { return };
        if !instance.held.contains(&slot) {
            return;
        }
        let started = active.placement().is_some_and(|on| on.started_at.is_some());
        let had_it = started || !active.occupies();
        let took = if had_it { market::at_price(self.device_ms(active), active.price) } else { 0 };
        let (charged, id, is_done) = (active.charged_ms, active.instance, !active.occupies());
        if took > charged {
            self.tenants.charge(self.now, tenant, took - charged);
        } else {
            self.tenants.refund(self.now, tenant, charged - took);
        }
        if let Some(tenant) = self.tenants.get_mut(tenant) {
            let was_at_bound = tenant.is_at_bound();
            tenant.occupied = tenant.occupied.saturating_sub(1);
            if was_at_bound {
                self.pools.doubt_all();
            }
        }
        if let Some(kind) = self.kinds.get_mut(kind) {
            kind.in_flight = kind.in_flight.saturating_sub(1);
        }
        if let Some(instance) = self.fleet.get_mut(id) {
            instance.held.retain(|held| *held != slot);
            instance.freed_at = self.now;
            if !is_done {
                // Whatever the node cache holds now, it is not what was expected.
                instance.keeps_graph = false;
            }
        }
        self.dirty = true;
    }

    /// Nothing of the attempt is left on its instance.
    pub(crate) fn leave_instance(&mut self, slot: Slot) {
        self.vacate(slot);
        let Some(active) = self.jobs.get(slot).and_then(Job::active) else { return };
        let id = active.instance;
        if let Some(instance) = self.fleet.get_mut(id) {
            instance.collecting.retain(|collecting| *collecting != slot);
        }
        self.fleet.forget_if_empty(id);
    }
}
