//! Where: late binding of the backlog to seats (DESIGN §6).
//!
//! One pass takes the best heads of the backlog in the order of their scores and gives each the instance with the least
//! cost: waiting, loading and running, with the seconds of the device at their price. A busy instance takes part: a job
//! whose best is busy reserves its time there for the rest of the pass and waits, so the next one sees it later free.
//! That keeps work with its models and work on the devices that are best at it, and batches form by themselves.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::core::Scheduler;
use crate::costs::Prediction;
use crate::decision::{Decisions, Effect, Record};
use crate::device::Instance;
use crate::fleet::{GradeSet, InstanceIx};
use crate::ids::{AttemptNo, InstanceId, ModelId};
use crate::job::{JobState, Phase, Placement, Step};
use crate::jobs::{Active, Job, Slot};
use crate::kinds::Kind;
use crate::market;
use crate::pools::{Pool, PoolIx, Seat};
use crate::pressure::{Climate, Pressure};
use crate::rank::Judge;
use crate::spec::{Loading, ModelUse};
use crate::time::{Millis, Timestamp};

/// Never think again about the same wait more often than this.
const RECONSIDER: Millis = Millis::from_secs(1);
/// A running prompt is believed to need at least this long.
const OVERDUE_LEAST: Millis = Millis(100);
/// A withdrawn prompt is believed to be gone within this.
const STOP_TAKES: Millis = Millis(1_000);
/// Heads of one pool that take part in a pass.
const HEADS_EACH: usize = 8;
/// Pools that take part because their checkpoint lies on an open instance: such instances that are asked.
const WARM_ASKED: usize = 16;
/// Instances of one grade that are compared: the first to be free differ only in what they hold.
const NEAREST: usize = 8;
/// Instances that hold a checkpoint and are compared.
const HOLDERS: usize = 16;
/// How fast a checkpoint comes in where it is fetched on purpose: a good host, before any device is chosen.
const SETUP_RATES: Loading = Loading { disk_mib_s: 800, pcie_mib_s: 4_000, host_cache_mib: 0 };

/// What a pass has planned for an instance beyond what runs there.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Planned {
    pass: u64,
    free_at: Timestamp,
    checkpoint: Option<ModelId>,
    taken: u32,
}

/// One instance's offer to a job.
#[derive(Debug, Clone, Copy)]
struct Offer {
    ix: InstanceIx,
    id: InstanceId,
    starts_at: Timestamp,
    predicted: Prediction,
    price: u64,
    is_open: bool,
    /// The instance of its last loss: only when there is no other.
    is_avoided: bool,
    cost: i64,
}

impl Offer {
    fn rank(&self) -> (bool, i64, InstanceId) {
        (self.is_avoided, self.cost, self.id)
    }

    fn ends_at(&self) -> Timestamp {
        self.starts_at.plus(Millis(self.predicted.total_ms()))
    }
}

/// A waiting job whose turn may have come; the largest is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Candidate {
    score: u64,
    seat: Seat,
    pool: PoolIx,
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.score, other.seat).cmp(&(other.score, self.seat))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// What becomes of a candidate in a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    /// It has its seat.
    Placed,
    /// A busy instance is worth the wait.
    Waits,
    /// It is not its turn, or no usable instance can run it: others like it fare no better.
    Nowhere,
}

/// What one pass knows.
struct Pass {
    pressure: Pressure,
    usable: GradeSet,
    largest_mib: u32,
    number: u64,
}

impl Scheduler {
    /// Passes until one decides nothing: then deciding again would change nothing either.
    pub(crate) fn place_backlog(&mut self, out: &mut Decisions) {
        self.settle_fleet();
        while !self.pools.is_empty() && self.fleet.is_any_open() && self.place_once(out) {
            self.settle_fleet();
        }
    }

    fn place_once(&mut self, out: &mut Decisions) -> bool {
        self.market.reprice(self.now, &mut self.fleet, &self.costs.runs);
        self.passes += 1;
        self.climate = Climate {
            pressure: Pressure::new(self.market.drain_time(&self.fleet), self.config.ageing),
            mean_usage: self.tenants.mean_usage(),
        };
        let pass = Pass {
            pressure: self.climate.pressure,
            usable: self.fleet.usable_grades(),
            largest_mib: self.fleet.largest_mib(),
            number: self.passes,
        };
        self.plan.resize(self.fleet.places(), Planned::default());
        let mut placed = false;
        let mut looks = self.config.look_ahead.saturating_mul(self.fleet.open_seats());
        let mut candidates = self.candidates();
        while looks > 0
            && self.fleet.is_any_open()
            && let Some(candidate) = candidates.pop()
        {
            looks -= 1;
            // What stands behind it in its lane is looked at in its turn.
            let next = self.pools.next_in_lane(candidate.pool, candidate.seat);
            let choice = self.consider(&pass, candidate.seat.slot, out);
            placed |= choice == Choice::Placed;
            if choice != Choice::Nowhere {
                candidates.extend(next.map(|seat| self.candidate(candidate.pool, seat)));
            }
        }
        placed
    }

    /// Scores as of the last pass: how much waits and who had what change little until the next.
    pub(crate) fn judge(&self) -> Judge<'_> {
        Judge {
            jobs: &self.jobs,
            kinds: &self.kinds,
            tenants: &self.tenants,
            market: &self.market,
            climate: self.climate,
            now: self.now,
        }
    }

    /// The best heads of the backlog for the seats that are open, best first.
    fn candidates(&mut self) -> BinaryHeap<Candidate> {
        let mut found: Vec<Candidate> = Vec::new();
        for ix in self.candidate_pools() {
            self.freshen(ix);
            let Some(pool) = self.pools.get(ix) else { continue };
            let heads = pool.heads().iter().take(HEADS_EACH);
            found.extend(
                heads.map(|head| self.candidate(ix, head.seat)).filter(|candidate| candidate.score > 0),
            );
        }
        found.into()
    }

    fn candidate(&self, pool: PoolIx, seat: Seat) -> Candidate {
        let setup_ms = self.pools.get(pool).map_or(0, Pool::setup_ms);
        Candidate { score: self.judge().score(seat.slot, setup_ms), seat, pool }
    }

    fn candidate_pools(&self) -> Vec<PoolIx> {
        let mut open = GradeSet::default();
        let mut pools = Vec::new();
        let mut asked = 0;
        for (index, grade) in
            self.fleet.grades().iter().enumerate().filter(|(_, grade)| !grade.open.is_empty())
        {
            open.insert(index);
            for ix in grade.open.iter().take(WARM_ASKED - asked) {
                asked += 1;
                let models = self.fleet.at(*ix).into_iter().flat_map(|instance| instance.resident.models());
                pools.extend(models.flat_map(|model| self.pools.of_checkpoint(model)));
            }
        }
        let most = self.config.look_ahead as usize;
        pools.extend(self.pools.best(most, |demand| self.market.grades(demand).meets(open)));
        pools.sort_unstable();
        pools.dedup();
        pools
    }

    /// Brings the order of a pool's heads up to date, if it is not believed any more.
    fn freshen(&mut self, ix: PoolIx) {
        if !self.pools.is_stale(ix, self.now) {
            return;
        }
        let Some(checkpoint) = self.pools.get(ix).map(|pool| pool.checkpoint) else { return };
        let setup_ms = checkpoint.map_or(0, |model| self.setup_ms(model));
        let mut pools = std::mem::take(&mut self.pools);
        let judge = self.judge();
        let ageing = self.climate.pressure.ageing;
        pools.refresh(ix, self.now, ageing, setup_ms, |slot, setup| judge.score(slot, setup));
        self.pools = pools;
    }

    /// What bringing a checkpoint in takes; nothing where it lies somewhere.
    fn setup_ms(&self, model: ModelId) -> u64 {
        if self.fleet.holders(model).next().is_some() {
            return 0;
        }
        u64::from(self.costs.loads.setup_ms(ModelUse::checkpoint(model), SETUP_RATES))
    }

    /// Gives one candidate its seat, reserves one for it, or passes it by.
    fn consider(&mut self, pass: &Pass, slot: Slot, out: &mut Decisions) -> Choice {
        let Some(job) = self.jobs.get(slot) else { return Choice::Nowhere };
        let Some(kind) = self.kinds.get(job.kind) else { return Choice::Nowhere };
        let is_poisonous = kind.suspects > 0 && kind.in_flight > 0;
        let at_bound = self.tenants.get(job.tenant).is_some_and(|tenant| tenant.is_at_bound());
        if is_poisonous
            || at_bound
            || self.orders.holds(job.tenant, job.class, job.order, &self.market, pass.usable)
        {
            return Choice::Nowhere;
        }
        let need_mib = self.costs.need_mib(kind, pass.largest_mib);
        let Some(offer) = self.best_offer(pass, job, kind, need_mib) else { return Choice::Nowhere };
        let planned = Planned {
            pass: pass.number,
            free_at: offer.ends_at(),
            checkpoint: kind.checkpoint(),
            taken: self.planned(pass, offer.ix).taken + u32::from(offer.is_open),
        };
        self.plan[offer.ix.0 as usize] = planned;
        if offer.is_open {
            self.put(slot, offer, need_mib, out);
            Choice::Placed
        } else {
            let again = offer.starts_at.max(self.now).plus(RECONSIDER);
            self.reconsider_at = Some(self.reconsider_at.map_or(again, |at| at.min(again)));
            Choice::Waits
        }
    }

    fn planned(&self, pass: &Pass, ix: InstanceIx) -> Planned {
        let planned = self.plan.get(ix.0 as usize).copied().unwrap_or_default();
        if planned.pass == pass.number { planned } else { Planned::default() }
    }

    /// The instance with the least cost, open or busy; never to be waited for longer than a wait may last.
    fn best_offer(&self, pass: &Pass, job: &Job, kind: &Kind, need_mib: u32) -> Option<Offer> {
        let (mut best, mut best_open): (Option<Offer>, Option<Offer>) = (None, None);
        let mut take_in = |offer: Offer| {
            if best.is_none_or(|other| offer.rank() < other.rank()) {
                best = Some(offer);
            }
            if offer.is_open && best_open.is_none_or(|other| offer.rank() < other.rank()) {
                best_open = Some(offer);
            }
        };
        let grades = self.market.grades(kind.demand);
        let mut runs: Vec<(usize, u32)> = Vec::with_capacity(self.fleet.grades().len());
        for (index, grade) in self.fleet.grades().iter().enumerate() {
            if grade.by_free.is_empty() || !grades.has(index) || !kind.is_offered_by(grade.catalogue) {
                continue;
            }
            let run_ms = self.costs.run_ms(kind, grade.class);
            runs.push((index, run_ms));
            for (_, ix) in grade.by_free.iter().take(NEAREST) {
                if let Some(offer) = self.offer(pass, job, kind, need_mib, *ix, (grade.price, run_ms)) {
                    take_in(offer);
                }
            }
        }
        for ix in kind.checkpoint().into_iter().flat_map(|model| self.fleet.holders(model)).take(HOLDERS) {
            let grade = self.fleet.grade_of(ix);
            let Some((index, run_ms)) = runs.iter().find(|(index, _)| Some(*index) == grade) else {
                continue;
            };
            let price = self.fleet.grades()[*index].price;
            if let Some(offer) = self.offer(pass, job, kind, need_mib, ix, (price, *run_ms)) {
                take_in(offer);
            }
        }
        let is_too_far = |offer: &Offer| offer.starts_at.since(self.now) > self.config.affinity_delay;
        match (best, best_open) {
            (Some(best), Some(open)) if is_too_far(&best) && !open.is_avoided => Some(open),
            (best, _) => best,
        }
    }

    fn offer(
        &self,
        pass: &Pass,
        job: &Job,
        kind: &Kind,
        need_mib: u32,
        ix: InstanceIx,
        (price, bare_run_ms): (u64, u32),
    ) -> Option<Offer> {
        let instance = self.fleet.at(ix).filter(|instance| instance.room_mib() >= need_mib)?;
        let planned = self.planned(pass, ix);
        let starts_at = self.expected_free(instance, ix).max(planned.free_at);
        let mut predicted = self.costs.predict(kind, instance, bare_run_ms);
        if planned.checkpoint.is_some() && planned.checkpoint == kind.checkpoint() {
            (predicted.load_ms, predicted.only_cold) = (0, None);
        }
        let takes = predicted.total_ms();
        if starts_at.plus(Millis(takes)) > instance.leaves_at {
            return None;
        }
        let held = u32::try_from(instance.held.len()).unwrap_or(u32::MAX);
        let seats = 1 + self.config.prefetch;
        let waits = starts_at.since(self.now).0.saturating_mul(pass.pressure.wait_milli) / 1000;
        let thrift = i128::from(pass.pressure.thrift_milli) * i128::from(price) / i128::from(market::ONE);
        let dearer = i128::from(takes) * thrift / 1000;
        Some(Offer {
            ix,
            id: instance.id,
            starts_at,
            predicted,
            price,
            is_open: held < seats,
            is_avoided: job.avoid == instance.id,
            cost: waits.saturating_add(takes).saturating_add(i64::try_from(dearer).unwrap_or(i64::MAX)),
        })
    }

    /// When an instance is free, never in the past; one that is over its time is believed to need half as long again.
    fn expected_free(&self, instance: &Instance, ix: InstanceIx) -> Timestamp {
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
    fn rest(&self, active: &Active, free_since: Option<Timestamp>) -> Millis {
        let total = active.predicted.total_ms();
        match active.state {
            JobState::Canceling { .. } => STOP_TAKES,
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

    /// Binds a job to a seat: the next attempt begins.
    fn put(&mut self, slot: Slot, offer: Offer, need_mib: u32, out: &mut Decisions) {
        let (now, instance) = (self.now, offer.id);
        let Some(job) = self.jobs.get(slot) else { return };
        let (id, kind, attempt) = (job.id, job.kind, AttemptNo(job.attempts.saturating_add(1)));
        let on = Placement {
            attempt,
            instance,
            placed_at: now,
            started_at: None,
            lease_until: now.plus(self.config.lease),
        };
        let Ok(state) = job.state().next(self.moment(), Step::Placed(on)) else { return };
        let total = u64::try_from(offer.predicted.total_ms()).unwrap_or(0);
        self.end_wait(slot);
        self.door.note_departure(now);
        self.seat(
            slot,
            Active {
                state,
                instance,
                attempt,
                asked: false,
                stop_by: Timestamp::NEVER,
                predicted: offer.predicted,
                charged_ms: market::at_price(total, offer.price),
                price: offer.price,
                exact: true,
                adopted: false,
            },
        );
        self.bring_in(instance, kind, need_mib);
        self.fleet.note_taken(offer.ix, 1 + self.config.prefetch as usize);
        out.records.push(Record::Placed { job: id, attempt, instance, at: now });
        out.effects.push(Effect::Dispatch { job: id, attempt, instance });
        out.effects.push(Effect::Announce { job: id, phase: Phase::Dispatching });
    }
}
