//! What instances offer to a job: waiting, loading and running, with the seconds of the device at their price.

use crate::core::Scheduler;
use crate::costs::Prediction;
use crate::device::Instance;
use crate::fleet::InstanceIx;
use crate::ids::InstanceId;
use crate::job::JobState;
use crate::jobs::{Active, Job, Slot};
use crate::kinds::Kind;
use crate::loads::Loads;
use crate::placement::Pass;
use crate::repeats;
use crate::time::{Millis, Timestamp};

/// A running prompt is believed to need at least this long.
const OVERDUE_LEAST: Millis = Millis(100);
/// A withdrawn prompt is believed to be gone within this.
pub(crate) const STOP_TAKES: Millis = Millis(1_000);
/// Open instances of one grade that are compared.
const OPEN_ASKED: usize = 4;
/// Instances that hold a checkpoint and are compared.
pub(crate) const HOLDERS: usize = 4;

/// One instance's offer to a job.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offer {
    pub(crate) ix: InstanceIx,
    pub(crate) id: InstanceId,
    pub(crate) starts_at: Timestamp,
    pub(crate) predicted: Prediction,
    pub(crate) price: u64,
    pub(crate) need_mib: u32,
    pub(crate) is_open: bool,
    /// The instance of its last loss: only when there is no other.
    pub(crate) is_avoided: bool,
    pub(crate) cost: i64,
}

impl Offer {
    fn rank(&self) -> (bool, i64, InstanceId) {
        (self.is_avoided, self.cost, self.id)
    }

    pub(crate) fn ends_at(&self) -> Timestamp {
        self.starts_at.plus(Millis(self.predicted.total_ms()))
    }
}

/// One job's question to the fleet.
struct Asked<'a> {
    pass: &'a Pass,
    job: &'a Job,
    kind: &'a Kind,
    need_mib: u32,
    /// What it takes on the reference class.
    reference_ms: u32,
    best: Option<Offer>,
    best_open: Option<Offer>,
}

impl Asked<'_> {
    /// Whether an offer of at least this cost is not needed any more.
    fn is_beaten(&self, least: i64) -> bool {
        self.best.is_some_and(|best| !best.is_avoided && best.cost < least)
    }

    fn take_in(&mut self, offer: Offer) {
        let is_better = |other: Option<Offer>| other.is_none_or(|other| offer.rank() < other.rank());
        if is_better(self.best) {
            self.best = Some(offer);
        }
        if offer.is_open && is_better(self.best_open) {
            self.best_open = Some(offer);
        }
    }
}

/// A kind's run on a grade.
struct Run {
    grade: usize,
    price: u64,
    bare_ms: u32,
    /// Bringing its checkpoint in takes at least this where it is not.
    load_ms: u32,
    second_milli: i64,
}

impl Scheduler {
    /// The instance with the least cost, and the one with the least cost among those with an open seat.
    pub(crate) fn best_offers(&self, pass: &Pass, slot: Slot) -> (Option<Offer>, Option<Offer>) {
        let Some(mut asked) = self.question(pass, slot) else { return (None, None) };
        let able = self.able_grades(asked.kind);
        let mut runs = Vec::with_capacity(self.fleet.grades().len());
        runs.extend(able.map(|grade| self.run_on(&asked, grade)));
        let of = |run: &Run| &self.fleet.grades()[run.grade];
        for run in &runs {
            self.ask_open(&mut asked, run);
        }
        let (job, kind) = (asked.job, asked.kind);
        let last = self.fleet.last_with(job.graph).filter(|_| job.graph != repeats::NO_GRAPH);
        let holders = kind.checkpoint().into_iter().flat_map(|model| self.fleet.holders::<HOLDERS>(model));
        let planned = kind.checkpoint().into_iter().flat_map(|model| self.planned_with(model));
        for ix in last.into_iter().chain(holders).chain(planned) {
            if let Some(run) = runs.iter().find(|run| self.fleet.grade_of(ix) == Some(run.grade)) {
                self.ask_instance(&mut asked, run, ix);
            }
        }
        for run in &runs {
            for (free_at, ix) in of(run).by_free.iter().take(pass.nearest) {
                // Who holds its checkpoint was asked; those behind it are free later still.
                let takes = i64::from(run.bare_ms) + i64::from(run.load_ms);
                let least = self.cost(pass, run, (*free_at).max(self.now), takes);
                if asked.is_beaten(least) || !self.ask_instance(&mut asked, run, *ix) {
                    break;
                }
            }
        }
        (asked.best, asked.best_open)
    }

    /// The same where the best busy instance is known: it and those with an open seat are asked.
    pub(crate) fn known_offers(
        &self,
        pass: &Pass,
        slot: Slot,
        known: InstanceIx,
    ) -> (Option<Offer>, Option<Offer>) {
        let Some(mut asked) = self.question(pass, slot) else { return (None, None) };
        for grade in self.able_grades(asked.kind) {
            let is_its_own = self.fleet.grade_of(known) == Some(grade);
            if self.fleet.grades()[grade].open.is_empty() && !is_its_own {
                continue;
            }
            let run = self.run_on(&asked, grade);
            self.ask_open(&mut asked, &run);
            if is_its_own {
                self.ask_instance(&mut asked, &run, known);
            }
        }
        (asked.best, asked.best_open)
    }

    fn question<'a>(&'a self, pass: &'a Pass, slot: Slot) -> Option<Asked<'a>> {
        let job = self.jobs.get(slot)?;
        let kind = self.kinds.get(job.kind)?;
        let need_mib = self.costs.need_mib(kind, pass.largest_mib);
        let reference_ms = self.costs.reference_ms(kind);
        Some(Asked { pass, job, kind, need_mib, reference_ms, best: None, best_open: None })
    }

    /// Grades of which some instance could run it.
    fn able_grades<'a>(&'a self, kind: &'a Kind) -> impl Iterator<Item = usize> + 'a {
        let able = self.market.grades(kind.demand);
        let grades = self.fleet.grades().iter().enumerate();
        grades
            .filter(move |(index, grade)| {
                able.has(*index) && !grade.by_free.is_empty() && kind.is_offered_by(grade.catalogue)
            })
            .map(|(index, _)| index)
    }

    fn run_on(&self, asked: &Asked<'_>, grade: usize) -> Run {
        let found = &self.fleet.grades()[grade];
        let checkpoint = asked.kind.needs.checkpoint();
        Run {
            grade,
            price: found.price,
            bare_ms: self.costs.run_ms_of(asked.kind, asked.reference_ms, found.class),
            load_ms: checkpoint.map_or(0, |model| Loads::least_ms(model, found.pcie_mib_s)),
            second_milli: asked.pass.second_milli.get(grade).copied().unwrap_or(1000),
        }
    }

    fn ask_open(&self, asked: &mut Asked<'_>, run: &Run) {
        for ix in self.fleet.grades()[run.grade].open.iter().take(OPEN_ASKED) {
            self.ask_instance(asked, run, *ix);
        }
    }

    /// Hears what an instance offers; false when it could not be the best even with all models in place.
    fn ask_instance(&self, asked: &mut Asked<'_>, run: &Run, ix: InstanceIx) -> bool {
        let Some(instance) = self.fleet.at(ix) else { return true };
        let planned = self.planned(asked.pass, ix);
        let free_at = self.expected_free(instance, ix);
        let starts_at = free_at.max(planned.free_at);
        let is_open = self.fleet.is_open(ix);
        let repeats = self.repeats_on(asked.job, instance);
        let least = self.cost(asked.pass, run, free_at, i64::from(if repeats { 0 } else { run.bare_ms }));
        if !is_open && asked.is_beaten(least) {
            return false;
        }
        if instance.room_mib() < asked.need_mib {
            return true;
        }
        let mut predicted = self.costs.predict(asked.kind, instance, run.bare_ms);
        if planned.checkpoint.is_some() && planned.checkpoint == asked.kind.checkpoint() {
            (predicted.load_ms, predicted.only_cold) = (0, None);
        }
        // What is planned before it takes its place in the node cache.
        if repeats && planned.free_at == Timestamp::default() {
            predicted = repeats::PREDICTION;
        }
        let takes = predicted.total_ms();
        if starts_at.plus(Millis(takes)) > instance.leaves_at {
            return true;
        }
        asked.take_in(Offer {
            ix,
            id: instance.id,
            starts_at,
            predicted,
            price: run.price,
            need_mib: asked.need_mib,
            is_open,
            is_avoided: asked.job.avoid == instance.id,
            cost: self.cost(asked.pass, run, starts_at, takes),
        });
        true
    }

    /// What waiting until then and a device for so long, milliseconds, cost a job.
    fn cost(&self, pass: &Pass, run: &Run, starts_at: Timestamp, takes: i64) -> i64 {
        let waits = starts_at.since(self.now).0.saturating_mul(pass.wait_milli) / 1000;
        waits.saturating_add(takes.saturating_mul(run.second_milli) / 1000)
    }

    /// When an instance is free, never in the past; one that is over its time is believed to need half as long again.
    pub(crate) fn expected_free(&self, instance: &Instance, ix: InstanceIx) -> Timestamp {
        let listed = self.fleet.free_at(ix);
        if instance.held.is_empty() {
            return self.now;
        }
        let over = self.now.since(listed).0.max(0);
        listed.max(self.now.plus(Millis(over / 2).max(OVERDUE_LEAST)))
    }

    /// When the work an instance holds is predicted to be done.
    pub(crate) fn free_at(&self, instance: &Instance) -> Timestamp {
        let active = instance.held.iter().filter_map(|slot| self.jobs.get(*slot)?.active());
        active.enumerate().fold(self.now, |free_at, (position, active)| {
            free_at.plus(self.rest(active, (position == 0).then_some(instance.freed_at)))
        })
    }

    /// What an attempt still needs. `free_since`: it is the first on its instance, which it has had since then.
    pub(crate) fn rest(&self, active: &Active, free_since: Option<Timestamp>) -> Millis {
        let total = active.predicted.total_ms();
        match active.state {
            JobState::Canceling { .. } | JobState::Preempting { .. } => STOP_TAKES,
            JobState::Queued { .. } | JobState::Ended(_) | JobState::Collecting { .. } => Millis(0),
            JobState::Dispatching { on } | JobState::Running { on } | JobState::InDoubt { on, .. } => {
                match on.started_at.or(free_since.map(|since| since.max(on.placed_at))) {
                    Some(begun) => {
                        let rest = total - self.now.since(begun).0;
                        // Over its time: believed to need half as long again as it is over.
                        Millis(rest.max(-rest / 2).max(OVERDUE_LEAST.0))
                    }
                    None => Millis(total),
                }
            }
        }
    }
}
