//! Preemption: running work gives its place to more important work, only when that saves a multiple of what is lost.
//!
//! Work is stopped for an interactive job that stands behind batch work, or for one whose deadline is near. What is
//! saved is the time by which it is done sooner than on its best alternative; what is lost is the work done so far and
//! the loading that comes again. The attempt's job goes back into the backlog as old as it is: no fault, no loss, no
//! pause. The seat is free when the runner says that nothing runs there any more, or after the withdrawal's grace.

use crate::core::Scheduler;
use crate::decision::{Decisions, Effect, Record};
use crate::fleet::InstanceIx;
use crate::job::{AfterLoss, AttemptEnd, JobState, Step};
use crate::jobs::{Active, Job, Slot};
use crate::kinds::Kind;
use crate::offers::{HOLDERS, Offer, STOP_TAKES};
use crate::placement::Pass;
use crate::spec::Class;
use crate::time::{Millis, Timestamp};

/// Pools whose heads may be worth it.
const POOLS_ASKED: usize = 8;
/// Heads of a pool that may be.
const HEADS_EACH: usize = 4;
/// Waiting jobs whose gain is counted in one pass, best first.
const CANDIDATES: usize = 4;
/// A shorter wait is not worth anybody's work.
const LONG_WAIT: Millis = Millis::from_secs(5);
/// A job gives its place up at most this often: it has to end some day.
const MOST_PREEMPTIONS: u8 = 2;
/// What has less than this part of its run before it is nearly done.
const NEARLY_DONE_PART: i64 = 4;
/// Instances of one grade that are compared, the ones that stay busy longest.
const BUSIEST: usize = 4;

/// A place that could be made free.
struct Exchange {
    offer: Offer,
    evicted: Vec<Slot>,
    /// Saved beyond the multiple of what is lost, weighted.
    surplus: i128,
}

impl Scheduler {
    /// Makes places free for the waiting jobs that count most, where it pays.
    pub(crate) fn preempt_for_waiting(&mut self, out: &mut Decisions) {
        if self.config.preemption == 0 || self.pools.is_empty() {
            return;
        }
        self.settle_fleet();
        let pass = self.begin_pass();
        for slot in self.important() {
            let (Some(best), _) = self.best_offers(&pass, slot) else { continue };
            let found = if best.starts_at.since(self.now) < LONG_WAIT || !self.is_its_turn(&pass, slot) {
                None
            } else {
                self.best_exchange(&pass, slot, &best)
            };
            self.plan_on(&pass, slot, found.as_ref().map_or(&best, |exchange| &exchange.offer), 0);
            for evicted in found.into_iter().flat_map(|exchange| exchange.evicted) {
                self.preempt(evicted, out);
            }
        }
    }

    /// The waiting jobs that may have others stopped, the one that counts most first.
    fn important(&mut self) -> Vec<Slot> {
        let mut found = Vec::new();
        for ix in self.pools.best(POOLS_ASKED, |_| true) {
            self.freshen(ix);
            let heads = self.pools.get(ix).into_iter().flat_map(|pool| pool.heads().take(HEADS_EACH));
            found.extend(heads.map(|head| (head.score, head.seat.slot)));
        }
        let judge = self.judge();
        let is_important = |slot: Slot| {
            let is_interactive = self.jobs.get(slot).is_some_and(|job| job.class == Class::Interactive);
            is_interactive || judge.is_urgent(slot)
        };
        found.retain(|(score, slot)| *score > 0 && is_important(*slot));
        found.sort_unstable_by_key(|(score, slot)| (std::cmp::Reverse(*score), *slot));
        found.into_iter().take(CANDIDATES).map(|(_, slot)| slot).collect()
    }

    /// The place whose holders lose least against what the job gains, if any is worth it.
    fn best_exchange(&self, pass: &Pass, slot: Slot, best: &Offer) -> Option<Exchange> {
        let kind = self.jobs.get(slot).and_then(|job| self.kinds.get(job.kind))?;
        let able = self.market.grades(kind.demand);
        let holders = kind.checkpoint().into_iter().flat_map(|model| self.fleet.holders::<HOLDERS>(model));
        let grades = self.fleet.grades().iter().enumerate();
        let busiest = grades
            .filter(|(index, grade)| able.has(*index) && kind.is_offered_by(grade.catalogue))
            .flat_map(|(_, grade)| grade.by_free.iter().rev().take(BUSIEST).map(|(_, ix)| *ix));
        let exchanges = holders.chain(busiest).filter_map(|ix| self.exchange(pass, (slot, kind), best, ix));
        exchanges
            .filter(|exchange| exchange.surplus >= 0)
            .max_by_key(|exchange| (exchange.surplus, std::cmp::Reverse(exchange.offer.id)))
    }

    /// What it would be worth to free one instance.
    fn exchange(
        &self,
        pass: &Pass,
        (slot, kind): (Slot, &Kind),
        best: &Offer,
        ix: InstanceIx,
    ) -> Option<Exchange> {
        let instance = self.fleet.at(ix)?;
        let (grade_ix, grade) =
            self.fleet.grade_of(ix).and_then(|grade| Some((grade, self.fleet.grades().get(grade)?)))?;
        let is_taken = self.planned(pass, ix).free_at > Timestamp::default();
        let able = self.market.grades(kind.demand).has(grade_ix) && kind.is_offered_by(grade.catalogue);
        if !able || is_taken || instance.held.is_empty() || instance.room_mib() < best.need_mib {
            return None;
        }
        let lost = self.lost_by_stopping(slot, &instance.held, instance.freed_at)?;
        let predicted = self.costs.predict(kind, instance, self.costs.run_ms(kind, grade.class));
        let starts_at = self.now.plus(STOP_TAKES);
        let ends_at = starts_at.plus(Millis(predicted.total_ms()));
        if ends_at > instance.leaves_at {
            return None;
        }
        let offer = Offer { ix, id: instance.id, starts_at, predicted, price: grade.price, ..*best };
        let saved = i128::from(best.ends_at().since(ends_at).0.max(0)) * i128::from(pass.wait_milli);
        let lost = i128::from(lost.0 + i64::from(predicted.load_ms)) * self.second_milli(pass, grade_ix);
        let judge = self.judge();
        let weight = |slot: Slot| i128::from(judge.importance(slot)).max(1);
        let heaviest = instance.held.iter().map(|held| weight(*held)).max()?;
        let surplus = saved * weight(slot) / heaviest - lost * i128::from(self.config.preemption);
        Some(Exchange { offer, evicted: instance.held.clone(), surplus })
    }

    fn second_milli(&self, pass: &Pass, grade: usize) -> i128 {
        i128::from(pass.second_milli.get(grade).copied().unwrap_or(1000))
    }

    /// Work done so far and loading that comes again; `None` where one of them must not be stopped for that job.
    fn lost_by_stopping(&self, wanted_by: Slot, held: &[Slot], freed_at: Timestamp) -> Option<Millis> {
        let mut lost = 0_i64;
        for (position, slot) in held.iter().enumerate() {
            let job = self.jobs.get(*slot)?;
            let active = job.active()?;
            let free_since = (position == 0).then_some(freed_at);
            if !self.may_stop(wanted_by, *slot, job, active, free_since) {
                return None;
            }
            let begun = active.placement()?.started_at;
            let done = begun.map_or(0, |at| self.now.since(at).0.max(0));
            let reload = if done > 0 { i64::from(active.predicted.load_ms) } else { 0 };
            lost = lost.saturating_add(done).saturating_add(reload);
        }
        Some(Millis(lost))
    }

    /// Only work that counts less, is not nearly done and was not stopped too often; never a tenant's own equal work.
    fn may_stop(
        &self,
        wanted_by: Slot,
        slot: Slot,
        job: &Job,
        active: &Active,
        free_since: Option<Timestamp>,
    ) -> bool {
        let Some(wanting) = self.jobs.get(wanted_by) else { return false };
        let judge = self.judge();
        let is_running = match active.state {
            JobState::Running { .. } => true,
            JobState::Dispatching { .. } => false,
            _ => return false,
        };
        let is_own_equal = job.tenant == wanting.tenant && job.class == wanting.class;
        let is_below = match (job.class, wanting.class) {
            (Class::Batch, Class::Interactive) => true,
            (theirs, ours) => theirs <= ours && judge.is_urgent(wanted_by) && !judge.is_urgent(slot),
        };
        let nearly_done =
            is_running && self.rest(active, free_since).0 * NEARLY_DONE_PART <= active.predicted.total_ms();
        is_below
            && !is_own_equal
            && !nearly_done
            && !active.adopted
            && job.preemptions < MOST_PREEMPTIONS
            && judge.merit(slot, 0) < judge.merit(wanted_by, 0)
    }

    fn preempt(&mut self, slot: Slot, out: &mut Decisions) {
        self.step(slot, Step::Preempt, out);
        let stop_by = self.now.plus(self.config.withdraw_grace);
        let Some(job) = self.jobs.get_mut(slot) else { return };
        let id = job.id;
        let Some(active) = job.active_mut() else { return };
        active.stop_by = stop_by;
        let (attempt, instance) = (active.attempt, active.instance);
        out.effects.push(Effect::Preempt { job: id, attempt, instance });
        self.rearm(slot);
    }

    /// Nothing of a preempted attempt runs any more, or it does not answer: its job waits again, as old as it is.
    pub(crate) fn give_back(&mut self, slot: Slot, out: &mut Decisions) {
        let now = self.now;
        let Some(job) = self.jobs.get_mut(slot) else { return };
        let Some(attempt) = job.active().map(|active| active.attempt) else { return };
        job.preemptions = job.preemptions.saturating_add(1);
        out.records.push(Record::AttemptEnded {
            job: job.id,
            attempt,
            end: AttemptEnd::Preempted,
            faults: u32::from(job.faults),
            losses: u32::from(job.losses),
        });
        self.step(slot, Step::Over(AfterLoss::Wait(now)), out);
    }
}
