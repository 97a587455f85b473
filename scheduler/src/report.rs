//! The scheduler's account of itself: why a job waits, and the fleet in numbers.

use std::collections::BTreeMap;

use crate::core::Scheduler;
use crate::device::Instance;
use crate::explain::{Cause, ClassSummary, Explanation, InstanceSummary, InstanceVerdict, Obstacle, Summary};
use crate::ids::DeviceClassId;
use crate::job::JobState;
use crate::jobs::{Job, Slot, Stage};
use crate::kinds::Kind;
use crate::market;
use crate::time::{Millis, Timestamp};

/// Instances named in one explanation.
pub(crate) const MOST_VERDICTS: usize = 64;
/// Up to this many waiting jobs a position is counted on request.
const COUNTED_UP_TO: u64 = 10_000;

impl Scheduler {
    pub(crate) fn explain_job(&self, now: Timestamp, slot: Slot) -> Option<Explanation> {
        let job = self.jobs.get(slot)?;
        let kind = self.kinds.get(job.kind)?;
        let active = job.active();
        let mut instances: Vec<InstanceVerdict> =
            self.fleet.joined().map(|instance| self.verdict_of(instance, kind)).collect();
        instances.sort_by_key(|verdict| {
            (verdict.predicted_end.is_none(), verdict.predicted_end, verdict.instance)
        });
        let waits = active.is_none();
        let cause = if waits { Some(self.cause(now, job, kind, &instances)) } else { None };
        let position = if waits { self.position(kind, slot) } else { None };
        let (predicted_start, predicted_end) = self.predict_times(now, job, kind, &instances, position);
        instances.truncate(MOST_VERDICTS);
        Some(Explanation {
            phase: job.state().into(),
            attempt: job.last_attempt(),
            instance: active.map(|active| active.instance),
            faults: u32::from(job.faults),
            losses: u32::from(job.losses),
            position,
            cause,
            instances,
            predicted_start,
            predicted_end,
        })
    }

    pub(crate) fn verdict_of(&self, instance: &Instance, kind: &Kind) -> InstanceVerdict {
        let free_at = self.free_at(instance);
        let predicted = self.predict(kind, instance.id);
        let obstacle = self.obstacle(instance, kind, free_at);
        let predictable = matches!(obstacle, None | Some(Obstacle::Busy { .. }));
        InstanceVerdict {
            instance: instance.id,
            predicted_end: predictable.then(|| free_at.plus(Millis(predicted.total_ms()))),
            obstacle,
            warm: instance.is_ready_for(&kind.needs),
        }
    }

    /// What stands between a kind and an instance; what lasts longest first.
    fn obstacle(&self, instance: &Instance, kind: &Kind, free_at: Timestamp) -> Option<Obstacle> {
        let Some(catalogue) = instance.catalogue() else { return Some(Obstacle::CatalogueUnknown) };
        if !kind.is_offered_by(catalogue.id) {
            return Some(Obstacle::Lacks(kind.lacks(catalogue)));
        }
        let need_mib = self.costs.need_mib(kind, self.fleet.largest_mib());
        let have_mib = instance.room_mib();
        if need_mib > have_mib {
            return Some(Obstacle::Room { need_mib, have_mib });
        }
        if !instance.up || instance.restart_by.is_some() {
            return Some(Obstacle::Down);
        }
        if instance.is_faulty() {
            return Some(Obstacle::DeviceFaulty);
        }
        if instance.cordoned || self.door.is_draining() {
            return Some(Obstacle::Drained);
        }
        if instance.spool_full {
            return Some(Obstacle::SpoolFull);
        }
        let is_open = self.fleet.ix(instance.id).is_some_and(|ix| self.fleet.is_open(ix));
        (!is_open && !instance.held.is_empty()).then_some(Obstacle::Busy { free_at })
    }

    fn cause(&self, now: Timestamp, job: &Job, kind: &Kind, instances: &[InstanceVerdict]) -> Cause {
        if matches!(job.stage, Stage::Waiting { not_before } if not_before > now) {
            return Cause::Backoff;
        }
        let any = |wanted: fn(&Obstacle) -> bool| {
            instances.iter().any(|verdict| verdict.obstacle.as_ref().is_some_and(wanted))
        };
        if instances.iter().any(|verdict| verdict.obstacle.is_none()) {
            let at_bound = self.tenants.is_at_bound(job.tenant);
            let poisonous = kind.suspects > 0 && kind.in_flight > 0;
            let model = self.reconsider_at.is_some() && !at_bound && !poisonous;
            return if model { Cause::Model } else { Cause::Share };
        }
        // The nearest to a placement first: that is the one thing whose change would move it.
        if any(|obstacle| matches!(obstacle, Obstacle::Busy { .. })) {
            let others = self.tenants.active() > 1 || self.queued.iter().sum::<u64>() > 1;
            return if others && self.is_behind_others(job) { Cause::Share } else { Cause::Busy };
        }
        if any(|obstacle| matches!(obstacle, Obstacle::Drained)) {
            Cause::Drain
        } else if any(|obstacle| {
            matches!(obstacle, Obstacle::Down | Obstacle::DeviceFaulty | Obstacle::SpoolFull)
        }) {
            Cause::Device
        } else if any(|obstacle| matches!(obstacle, Obstacle::Room { .. })) {
            Cause::Room
        } else if any(|obstacle| matches!(obstacle, Obstacle::Lacks(_) | Obstacle::CatalogueUnknown)) {
            Cause::Catalogue
        } else {
            Cause::Device
        }
    }

    fn is_behind_others(&self, job: &Job) -> bool {
        self.tenants.is_at_bound(job.tenant)
            || self.tenants.iter().any(|(id, other)| {
                id != job.tenant
                    && other.queued > 0
                    && self.tenants.usage(id) < self.tenants.usage(job.tenant)
            })
    }

    /// Jobs that count more than it among those that want one of the same instances.
    fn position(&self, kind: &Kind, slot: Slot) -> Option<u64> {
        if self.queued.iter().sum::<u64>() > COUNTED_UP_TO {
            return None;
        }
        let judge = self.judge();
        let rank = |slot: Slot| {
            let seq = self.jobs.get(slot).map(|job| (job.order, job.seq));
            (std::cmp::Reverse(judge.score(slot, 0)), seq)
        };
        let own = rank(slot);
        let grades = self.market.grades(kind.demand);
        let rivals = self.pools.seats().filter(|(ix, _)| {
            self.pools.get(*ix).is_some_and(|pool| self.market.grades(pool.demand).meets(grades))
        });
        Some(rivals.filter(|(_, seat)| rank(seat.slot) < own).count() as u64)
    }

    /// For a waiting job the best instance, after its share of the work that waits.
    fn predict_times(
        &self,
        now: Timestamp,
        job: &Job,
        kind: &Kind,
        instances: &[InstanceVerdict],
        position: Option<u64>,
    ) -> (Option<Timestamp>, Option<Timestamp>) {
        match job.active() {
            Some(active) => {
                let started = active.placement().and_then(|on| on.started_at);
                let total = Millis(active.predicted.total_ms());
                match active.state {
                    JobState::Running { on } | JobState::InDoubt { on, .. } => {
                        let begun = on.started_at.unwrap_or(on.placed_at);
                        (started, Some(begun.plus(total).max(now)))
                    }
                    JobState::Dispatching { .. } => {
                        let free_at = self.fleet.get(active.instance).map(|instance| self.free_at(instance));
                        (free_at.map(|at| at.plus(Millis(-total.0)).max(now)), free_at)
                    }
                    _ => (started, None),
                }
            }
            None => {
                let Some(best) = instances.iter().find(|verdict| verdict.predicted_end.is_some()) else {
                    return (None, None);
                };
                let drain = self.market.drain_time(&self.fleet).0;
                let ahead = position.map_or(drain / 2, |ahead| {
                    let queued = i64::try_from(self.queued.iter().sum::<u64>().max(1)).unwrap_or(i64::MAX);
                    drain.saturating_mul(i64::try_from(ahead).unwrap_or(i64::MAX)) / queued
                });
                let wait = Millis(ahead);
                let end = best.predicted_end.map(|end| end.plus(wait));
                let total = Millis(-self.predict(kind, best.instance).total_ms());
                (end.map(|end| end.plus(total).max(now)), end)
            }
        }
    }

    pub(crate) fn summarize(&self) -> Summary {
        let mut summary = Summary {
            queued: self.queued,
            backlog_ms: self.backlog_ms,
            strays: self.strays,
            ..Summary::default()
        };
        for instance in self.fleet.iter() {
            for slot in instance.held.iter().chain(&instance.collecting) {
                match self.jobs.get(*slot).map(Job::state) {
                    Some(JobState::Dispatching { .. }) => summary.dispatching += 1,
                    Some(JobState::Running { .. } | JobState::Preempting { .. }) => summary.running += 1,
                    Some(JobState::InDoubt { .. }) => summary.in_doubt += 1,
                    Some(JobState::Collecting { .. }) => summary.collecting += 1,
                    Some(JobState::Canceling { .. }) => summary.canceling += 1,
                    Some(JobState::Queued { .. } | JobState::Ended(_)) | None => {}
                }
            }
        }
        summary.drain = self.market.drain_time(&self.fleet);
        summary.classes = self.class_summaries();
        summary.instances = self.fleet.joined().map(|instance| self.summary_of(instance)).collect();
        summary
    }

    /// Grades of one class taken together, by class.
    fn class_summaries(&self) -> Vec<ClassSummary> {
        let mut classes: BTreeMap<DeviceClassId, ClassSummary> = BTreeMap::new();
        for grade in self.fleet.grades().iter().filter(|grade| !grade.by_free.is_empty()) {
            let Some(class) = self.costs.runs.class_id(grade.class) else { continue };
            let worth_milli = u32::try_from(grade.price * 1000 / market::ONE).unwrap_or(u32::MAX);
            let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
            let fresh = ClassSummary { class, usable: 0, open: 0, worth_milli };
            let found = classes.entry(class).or_insert(fresh);
            found.usable += count(grade.by_free.len());
            found.open += count(grade.open.len());
            found.worth_milli = found.worth_milli.max(worth_milli);
        }
        classes.into_values().collect()
    }

    fn summary_of(&self, instance: &Instance) -> InstanceSummary {
        InstanceSummary {
            instance: instance.id,
            up: instance.up,
            cordoned: instance.cordoned,
            faulty: instance.is_faulty(),
            holds: u32::try_from(instance.held.len()).unwrap_or(u32::MAX),
            free_at: (!instance.held.is_empty()).then(|| self.free_at(instance)),
            warm: instance.resident.by_use(),
        }
    }
}
