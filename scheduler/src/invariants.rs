//! What must hold between two events, whatever happened: asserted in debug builds, by tests and by the simulation.

use std::collections::BTreeSet;

use crate::core::Scheduler;
use crate::job::JobState;
use crate::jobs::{Job, Slot, Stage};
use crate::time::Timestamp;

/// The first invariant that does not hold, in words; `None` when all do. Reads everything: for tests and assertions.
#[must_use]
pub fn first_broken(scheduler: &Scheduler) -> Option<String> {
    seats(scheduler)
        .or_else(|| attempts(scheduler))
        .or_else(|| lanes(scheduler))
        .or_else(|| counters(scheduler))
        .or_else(|| timers(scheduler))
        .or_else(|| memory(scheduler))
}

fn broken(holds: bool, what: impl FnOnce() -> String) -> Option<String> {
    (!holds).then(what)
}

/// No instance holds more than its seats, adopted attempts aside; what it holds is there and is its own.
fn seats(scheduler: &Scheduler) -> Option<String> {
    let most = 1 + scheduler.config.prefetch as usize;
    scheduler.fleet.iter().find_map(|instance| {
        let actives: Vec<_> =
            instance.held.iter().map(|slot| scheduler.jobs.get(*slot).and_then(Job::active)).collect();
        let placed = actives.iter().flatten().filter(|active| !active.adopted).count();
        broken(placed <= most, || format!("{:?} holds {placed} of {most} seats", instance.id)).or_else(|| {
            let all_its_own = actives.iter().all(|active| {
                active.is_some_and(|active| active.occupies() && active.instance == instance.id)
            });
            broken(all_its_own, || format!("{:?} holds what is not its own", instance.id))
        })
    })
}

/// Every open attempt is on the list of its instance, exactly once.
fn attempts(scheduler: &Scheduler) -> Option<String> {
    scheduler.jobs.iter().find_map(|(slot, job)| {
        let active = job.active()?;
        let Some(instance) = scheduler.fleet.get(active.instance) else {
            return Some(format!("{:?} is on an unknown instance", job.id));
        };
        let count = |list: &[Slot]| list.iter().filter(|held| **held == slot).count();
        let expected = if active.occupies() { (1, 0) } else { (0, 1) };
        let found = (count(&instance.held), count(&instance.collecting));
        let number_fits = active.placement().is_some_and(|on| {
            on.attempt == active.attempt && on.instance == active.instance && on.attempt.0 == job.attempts
        });
        let is_open = !matches!(active.state, JobState::Queued { .. } | JobState::Ended(_));
        broken(found == expected && number_fits && is_open, || {
            format!("{:?} in {:?} is on {found:?} lists", job.id, active.state)
        })
    })
}

/// The lanes hold exactly the jobs that wait without a pause.
fn lanes(scheduler: &Scheduler) -> Option<String> {
    let ready: BTreeSet<Slot> =
        scheduler.jobs.iter().filter(|(_, job)| job.in_lane).map(|(slot, _)| slot).collect();
    let seated: BTreeSet<Slot> = scheduler.pools.seats().map(|(_, seat)| seat.slot).collect();
    let active_in_lane = scheduler.jobs.iter().any(|(_, job)| job.in_lane && job.active().is_some());
    let forgotten = scheduler.jobs.iter().find(|(_, job)| {
        matches!(job.stage, Stage::Waiting { not_before } if !job.in_lane && not_before <= job.timer && job.timer > not_before)
    });
    broken(ready == seated, || "lanes and jobs disagree".to_owned())
        .or_else(|| broken(!active_in_lane, || "a job on an instance stands in a lane".to_owned()))
        .or_else(|| forgotten.map(|(_, job)| format!("{:?} waits outside its lane", job.id)))
        .or_else(|| scheduler.pools.first_crooked())
}

/// The counts of classes, tenants and kinds are those of the jobs.
fn counters(scheduler: &Scheduler) -> Option<String> {
    let mut queued = [0_u64; 3];
    let mut work = 0;
    for (_, job) in scheduler.jobs.iter().filter(|(_, job)| job.active().is_none()) {
        queued[job.class as usize] += 1;
        work += scheduler.kinds.get(job.kind).map_or(0, |kind| u64::from(kind.reference_ms));
    }
    let of_tenants = || {
        scheduler.tenants.iter().find_map(|(id, tenant)| {
            let own = || scheduler.jobs.iter().filter(move |(_, job)| job.tenant == id);
            let waiting = own().filter(|(_, job)| job.active().is_none()).count();
            let occupying =
                own().filter(|(_, job)| job.active().is_some_and(super::jobs::Active::occupies)).count();
            let found = (waiting, occupying, own().count());
            let told = (tenant.queued as usize, tenant.occupied as usize, tenant.open as usize);
            broken(found == told, || format!("{id:?} counts {told:?}, has {found:?}"))
        })
    };
    let of_kinds = || {
        scheduler.kinds.iter().find_map(|(id, kind)| {
            let own = || scheduler.jobs.iter().filter(move |(_, job)| job.kind == id);
            let waiting = own().filter(|(_, job)| job.active().is_none()).count();
            let suspects = own().filter(|(_, job)| job.suspect).count();
            let occupying =
                own().filter(|(_, job)| job.active().is_some_and(super::jobs::Active::occupies)).count();
            let found = (waiting, occupying, suspects, own().count());
            let told =
                (kind.queued as usize, kind.in_flight as usize, kind.suspects as usize, kind.open as usize);
            broken(found == told, || format!("{id:?} counts {told:?}, has {found:?}"))
        })
    };
    broken(queued == scheduler.queued, || format!("{:?} queued, told {:?}", queued, scheduler.queued))
        .or_else(|| broken(work == scheduler.backlog_ms, || "the backlog's work is miscounted".to_owned()))
        .or_else(of_tenants)
        .or_else(of_kinds)
}

/// Each job is armed at most once, and one that nobody speaks of will be woken.
fn timers(scheduler: &Scheduler) -> Option<String> {
    let mut armed = 0;
    for (slot, job) in scheduler.jobs.iter() {
        if job.timer < Timestamp::NEVER {
            armed += 1;
            if !scheduler.timers.contains(job.timer, slot) {
                return Some(format!("{:?} is armed in no timer", job.id));
            }
        }
        let must_end = matches!(
            job.state(),
            JobState::Dispatching { .. }
                | JobState::Running { .. }
                | JobState::InDoubt { .. }
                | JobState::Preempting { .. }
                | JobState::Canceling { .. }
        );
        if must_end && job.timer == Timestamp::NEVER {
            return Some(format!("{:?} would hold its seat for ever", job.id));
        }
    }
    broken(armed == scheduler.timers.len(), || "a timer of no job is armed".to_owned())
}

/// What is remembered of earlier attempts belongs to open jobs.
fn memory(scheduler: &Scheduler) -> Option<String> {
    let orphan = scheduler.superseded.keys().find(|id| scheduler.jobs.slot(**id).is_none());
    orphan.map(|id| format!("attempts of {id:?} outlive it"))
}
