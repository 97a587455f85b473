//! Where: late binding of the backlog to seats (DESIGN §6).
//!
//! One pass takes the best heads of the backlog in the order of their scores and gives each the instance with the least
//! cost: waiting, loading and running, with the seconds of the device at their price. A busy instance takes part: a job
//! whose best is busy reserves its time there for the rest of the pass and waits, so the next one sees it later free.
//! That keeps work with its models and work on the devices that are best at it, and batches form by themselves.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::core::Scheduler;
use crate::decision::{Decisions, Effect, Record};
use crate::fleet::{Grade, GradeSet, InstanceIx};
use crate::ids::{AttemptNo, ModelId};
use crate::job::{Phase, Placement, Step};
use crate::jobs::{Active, Slot};
use crate::kinds::Kind;
use crate::market;
use crate::offers::Offer;
use crate::pools::{Pool, PoolIx, Seat};
use crate::pressure::{Climate, Pressure};
use crate::rank::Judge;
use crate::spec::{Loading, ModelUse};
use crate::time::{Millis, Timestamp};

/// Never think again about the same wait more often than this.
const RECONSIDER: Millis = Millis::from_secs(1);
/// Heads of one pool that take part in a pass.
const HEADS_EACH: usize = 4;
/// For so many looks of the look-ahead one pool takes part: the first of them usually has what a seat needs.
const POOLS_PART: usize = 2;
/// So many devices halve the looks for each seat, twice as many leave a third …
const LARGE_FLEET: u32 = 256;
/// Jobs looked at in one pass, however many seats are open.
const MOST_LOOKS: u32 = 64;
/// A device is not left idle for a better job elsewhere when the backlog takes this many times longer to drain than
/// the job loses by taking it.
const IDLE_WORTH: i64 = 12;
/// Pools that take part because their checkpoint lies on an open instance: such instances that are asked.
const WARM_ASKED: usize = 16;
/// How fast a checkpoint comes in where it is fetched on purpose: a good host, before any device is chosen.
const SETUP_RATES: Loading = Loading { disk_mib_s: 800, pcie_mib_s: 4_000, host_cache_mib: 0 };

/// What a pass has planned for an instance beyond what runs there.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Planned {
    pass: u64,
    pub(crate) free_at: Timestamp,
    pub(crate) checkpoint: Option<ModelId>,
    taken: u32,
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
pub(crate) struct Pass {
    /// What a second of waiting costs, thousandths.
    pub(crate) wait_milli: i64,
    usable: GradeSet,
    pub(crate) largest_mib: u32,
    number: u64,
    /// What a second on a device of each grade costs, thousandths.
    pub(crate) second_milli: Vec<i64>,
    /// Jobs that wait for a busy instance, and what they would lose on an open one.
    regrets: Vec<(i64, Slot, Offer)>,
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
        let drain = self.market.drain_time(&self.fleet);
        self.climate = Climate {
            pressure: Pressure::new(drain, self.config.ageing),
            mean_usage: self.tenants.mean_usage(),
        };
        let mut pass = self.begin_pass();
        let mut placed = false;
        let mut looks = self.look_ahead().saturating_mul(self.fleet.open_seats()).min(MOST_LOOKS);
        let mut candidates = self.candidates();
        while looks > 0
            && self.fleet.is_any_open()
            && let Some(candidate) = candidates.pop()
        {
            looks -= 1;
            // What stands behind it in its lane is looked at in its turn.
            let next = self.pools.next_in_lane(candidate.pool, candidate.seat);
            let choice = self.consider(&mut pass, candidate.seat.slot, out);
            placed |= choice == Choice::Placed;
            if choice != Choice::Nowhere {
                candidates.extend(next.map(|seat| self.candidate(candidate.pool, seat)));
            }
        }
        self.fill_idle(pass, drain, out) || placed
    }

    /// Looks for each open seat: in a large fleet the next seat opens so soon that whoever was passed by is not late.
    fn look_ahead(&self) -> u32 {
        let devices = u32::try_from(self.fleet.usable()).unwrap_or(u32::MAX);
        (self.config.look_ahead / (1 + devices / LARGE_FLEET)).max(1)
    }

    pub(crate) fn begin_pass(&mut self) -> Pass {
        self.passes += 1;
        self.plan.resize(self.fleet.places(), Planned::default());
        self.bound.clear();
        let pressure = self.climate.pressure;
        let second = |grade: &Grade| {
            let price = i64::try_from(grade.price * 1000 / market::ONE).unwrap_or(i64::MAX);
            1000 + pressure.thrift_milli.saturating_mul(price) / 1000
        };
        Pass {
            wait_milli: pressure.wait_milli,
            usable: self.fleet.usable_grades(),
            largest_mib: self.fleet.largest_mib(),
            number: self.passes,
            second_milli: self.fleet.grades().iter().map(second).collect(),
            regrets: Vec::new(),
        }
    }

    /// Seats that are still open take the jobs that lose least by it, while much else waits.
    fn fill_idle(&mut self, mut pass: Pass, drain: Millis, out: &mut Decisions) -> bool {
        let mut placed = false;
        let mut regrets = std::mem::take(&mut pass.regrets);
        regrets.sort_by_key(|(regret, slot, _)| (*regret, *slot));
        for (regret, slot, offer) in regrets {
            if regret.saturating_mul(IDLE_WORTH) > drain.0 {
                break;
            }
            if self.planned(&pass, offer.ix).taken == 0 && self.is_its_turn(&pass, slot) {
                self.take(&pass, slot, offer, out);
                placed = true;
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
        let most = (self.look_ahead() as usize / POOLS_PART).max(1);
        pools.extend(self.pools.best(most, |demand| self.market.grades(demand).meets(open)));
        pools.sort_unstable();
        pools.dedup();
        pools
    }

    /// Brings the order of a pool's heads up to date, if it is not believed any more.
    pub(crate) fn freshen(&mut self, ix: PoolIx) {
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
    fn consider(&mut self, pass: &mut Pass, slot: Slot, out: &mut Decisions) -> Choice {
        if !self.is_its_turn(pass, slot) {
            return Choice::Nowhere;
        }
        let (Some(best), open) = self.best_offers(pass, slot) else { return Choice::Nowhere };
        let is_too_far = best.starts_at.since(self.now) > self.config.affinity_delay;
        match open {
            _ if best.is_open => {
                self.take(pass, slot, best, out);
                Choice::Placed
            }
            Some(open) if is_too_far && !open.is_avoided => {
                self.take(pass, slot, open, out);
                Choice::Placed
            }
            open => {
                self.reserve(pass, slot, best);
                pass.regrets.extend(open.map(|open| (open.cost - best.cost, slot, open)));
                Choice::Waits
            }
        }
    }

    /// Whether nothing but the devices decides when it starts.
    pub(crate) fn is_its_turn(&self, pass: &Pass, slot: Slot) -> bool {
        let Some(job) = self.jobs.get(slot) else { return false };
        let Some(kind) = self.kinds.get(job.kind) else { return false };
        let is_poisonous = kind.suspects > 0 && kind.in_flight > 0;
        let is_at_bound = self.tenants.get(job.tenant).is_some_and(|tenant| tenant.is_at_bound());
        let held = || self.orders.holds(job.tenant, job.class, job.order, &self.market, pass.usable);
        !is_poisonous && !is_at_bound && !held()
    }

    /// A busy instance is planned to run it next.
    fn reserve(&mut self, pass: &Pass, slot: Slot, offer: Offer) {
        self.plan_on(pass, slot, &offer, 0);
        let again = offer.starts_at.max(self.now).plus(RECONSIDER);
        self.reconsider_at = Some(self.reconsider_at.map_or(again, |at| at.min(again)));
    }

    fn take(&mut self, pass: &Pass, slot: Slot, offer: Offer, out: &mut Decisions) {
        self.plan_on(pass, slot, &offer, 1);
        self.put(slot, offer, out);
    }

    pub(crate) fn plan_on(&mut self, pass: &Pass, slot: Slot, offer: &Offer, taken: u32) {
        let kind = self.jobs.get(slot).and_then(|job| self.kinds.get(job.kind));
        let planned = Planned {
            pass: pass.number,
            free_at: offer.ends_at(),
            checkpoint: kind.and_then(Kind::checkpoint),
            taken: self.planned(pass, offer.ix).taken + taken,
        };
        self.plan[offer.ix.0 as usize] = planned;
        self.bound.extend(planned.checkpoint.map(|model| (model, offer.ix)));
    }

    /// Instances that are planned to run this checkpoint.
    pub(crate) fn planned_with(&self, checkpoint: ModelId) -> impl Iterator<Item = InstanceIx> {
        self.bound.iter().filter(move |(model, _)| *model == checkpoint).map(|(_, ix)| *ix)
    }

    pub(crate) fn planned(&self, pass: &Pass, ix: InstanceIx) -> Planned {
        let planned = self.plan.get(ix.0 as usize).copied().unwrap_or_default();
        if planned.pass == pass.number { planned } else { Planned::default() }
    }

    /// Binds a job to a seat: the next attempt begins.
    fn put(&mut self, slot: Slot, offer: Offer, out: &mut Decisions) {
        let (now, instance) = (self.now, offer.id);
        let Some(job) = self.jobs.get(slot) else { return };
        let graph = job.graph;
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
                exact: !offer.predicted.is_repeat,
                adopted: false,
            },
        );
        if !offer.predicted.is_repeat {
            self.bring_in(instance, kind, offer.need_mib);
        }
        self.fleet.note_graph(offer.ix, graph);
        self.fleet.note_taken(offer.ix, 1 + self.config.prefetch as usize);
        out.records.push(Record::Placed { job: id, attempt, instance, at: now });
        out.effects.push(Effect::Dispatch { job: id, attempt, instance });
        out.effects.push(Effect::Announce { job: id, phase: Phase::Dispatching });
    }
}
