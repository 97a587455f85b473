//! Where: late binding of the backlog to seats (DESIGN §6).
//!
//! One pass takes the best heads of the backlog in the order of their scores and gives each the instance with the least
//! cost: waiting, loading and running, with the seconds of the device at their price. A busy instance takes part: a job
//! whose best is busy reserves its time there for the rest of the pass and waits, so the next one sees it later free.
//! That keeps work with its models and work on the devices that are best at it, and batches form by themselves.

use crate::candidates::{Asked, Candidate};
use crate::core::Scheduler;
use crate::decision::{Decisions, Effect, Record};
use crate::fleet::{Grade, GradeSet, InstanceIx};
use crate::ids::{AttemptNo, ModelId};
use crate::job::{Phase, Placement, Step};
use crate::jobs::{Active, Slot};
use crate::kinds::Kind;
use crate::market;
use crate::offers::Offer;
use crate::pressure::{Climate, Pressure};
use crate::rank::Judge;
use crate::time::{Millis, Timestamp};
use crate::waits::Wait;

/// Never think again about the same wait more often than this.
const RECONSIDER: Millis = Millis::from_secs(1);
/// Instances of one grade that a job asks: the first to be free differ only in what they hold.
const NEAREST: u32 = 4;
/// So many devices halve the looks for each seat and the instances asked, twice as many leave a third …
const LARGE_FLEET: u32 = 160;
/// Jobs looked at for the nearest pools, and for the others, however many seats are open.
const MOST_LOOKS: u32 = 64;
/// Jobs of which was known that they wait, beside those looked at.
const MOST_GLANCES: u32 = 1_024;
/// A device is not left idle for a better job elsewhere when the backlog takes this many times longer to drain than
/// the job loses by taking it.
const IDLE_WORTH: i64 = 12;

/// What a pass has planned for an instance beyond what runs there.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Planned {
    pass: u64,
    pub(crate) free_at: Timestamp,
    pub(crate) checkpoint: Option<ModelId>,
    taken: u32,
}

/// What becomes of a candidate in a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    /// It has its seat.
    Placed,
    /// A busy instance is worth the wait.
    Waits,
    /// The same, as was found a moment ago.
    StillWaits,
    /// It is not its turn.
    Barred,
    /// No usable instance can run it: others like it fare no better.
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
    /// Instances of one grade that a job asks.
    pub(crate) nearest: usize,
    /// How long the backlog takes to drain.
    drain: Millis,
    /// Jobs that wait for a busy instance, and what they would lose on an open one.
    regrets: Vec<(i64, Slot, Offer)>,
}

impl Pass {
    /// Whether so much waits that a job should rather lose this much, ms, than leave a device idle.
    fn fills_idle(&self, regret: i64) -> bool {
        regret.saturating_mul(IDLE_WORTH) <= self.drain.0
    }
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
        pass.drain = drain;
        let looks = self.look_ahead().saturating_mul(self.fleet.open_seats()).min(MOST_LOOKS);
        let nearest = self.nearest_pools();
        let mut placed = self.offer_seats(&mut pass, &nearest, looks, out);
        if self.fleet.is_any_open() {
            // Those that come first would rather wait; a seat must not stay empty because nobody else was asked.
            let others = self.other_pools(&nearest);
            placed |= self.offer_seats(&mut pass, &others, MOST_LOOKS, out);
        }
        placed
    }

    /// Offers the open seats to the heads of some pools, the best first.
    fn offer_seats(&mut self, pass: &mut Pass, pools: &[Asked], mut looks: u32, out: &mut Decisions) -> bool {
        let mut placed = false;
        let mut glances = MOST_GLANCES;
        let mut candidates = self.candidates(pools);
        while looks > 0
            && glances > 0
            && self.fleet.is_any_open()
            && let Some(candidate) = candidates.pop()
        {
            let choice = self.consider(pass, &candidate, out);
            match choice {
                Choice::StillWaits | Choice::Barred => glances -= 1,
                _ => looks -= 1,
            }
            placed |= choice == Choice::Placed;
            if !matches!(choice, Choice::Barred | Choice::Nowhere) && looks > 0 && self.fleet.is_any_open() {
                // What stands behind it in its lane is looked at in its turn.
                candidates.extend(self.behind(&candidate));
            }
        }
        self.fill_idle(pass, out) || placed
    }

    /// Looks for each open seat: in a large fleet the next seat opens so soon that whoever was passed by is not late.
    pub(crate) fn look_ahead(&self) -> u32 {
        self.thinned(self.config.look_ahead)
    }

    /// A number of choices to look at, fewer in a large fleet: there the next one is nearly as good.
    pub(crate) fn thinned(&self, choices: u32) -> u32 {
        let devices = u32::try_from(self.fleet.usable()).unwrap_or(u32::MAX);
        (choices / (1 + devices / LARGE_FLEET)).max(1)
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
            drain: Millis(0),
            nearest: self.thinned(NEAREST) as usize,
            regrets: Vec::new(),
        }
    }

    /// Seats that are still open take the jobs that lose least by it, while much else waits.
    fn fill_idle(&mut self, pass: &mut Pass, out: &mut Decisions) -> bool {
        let mut placed = false;
        let mut regrets = std::mem::take(&mut pass.regrets);
        regrets.sort_by_key(|(regret, slot, _)| (*regret, *slot));
        for (regret, slot, offer) in regrets {
            if !pass.fills_idle(regret) {
                break;
            }
            if self.planned(pass, offer.ix).taken == 0 && self.is_its_turn(pass, slot) {
                self.take(pass, slot, offer, out);
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

    /// Gives one candidate its seat, reserves one for it, or passes it by.
    fn consider(&mut self, pass: &mut Pass, candidate: &Candidate, out: &mut Decisions) -> Choice {
        let slot = candidate.seat.slot;
        if !self.is_its_turn(pass, slot) {
            return Choice::Barred;
        }
        let known = self.known_wait(slot);
        if let Some(wait) = known.filter(|wait| !candidate.is_warm && !pass.fills_idle(wait.regret)) {
            self.wait_on(pass, slot, wait);
            return Choice::StillWaits;
        }
        let offers = match known {
            Some(wait) => self.known_offers(pass, slot, wait.on),
            None => self.best_offers(pass, slot),
        };
        let (Some(best), open) = offers else { return Choice::Nowhere };
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
                let regret = open.map_or(i64::MAX, |open| open.cost - best.cost);
                self.reserve(pass, slot, best, regret, known.map(|wait| wait.until));
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
        let is_at_bound = self.tenants.is_at_bound(job.tenant);
        let held = || self.orders.holds(job.tenant, job.class, job.order, &self.market, pass.usable);
        !is_poisonous && !is_at_bound && !held()
    }

    /// A busy instance is planned to run it next. `until`: how long an earlier finding is still believed.
    fn reserve(&mut self, pass: &Pass, slot: Slot, offer: Offer, regret: i64, until: Option<Timestamp>) {
        self.plan_on(pass, slot, &offer, 0);
        let believed = Millis(i64::try_from(self.fleet.usable()).unwrap_or(i64::MAX));
        let until = until.unwrap_or_else(|| self.now.plus(believed).min(offer.starts_at));
        let takes = Millis(offer.predicted.total_ms());
        self.waits.note(slot, Wait { on: offer.ix, takes, regret, until });
        let again = offer.starts_at.max(self.now).plus(RECONSIDER);
        self.reconsider_at = Some(self.reconsider_at.map_or(again, |at| at.min(again)));
    }

    /// The busy instance that was found to be worth the wait a moment ago, while it can be.
    fn known_wait(&self, slot: Slot) -> Option<Wait> {
        let wait = self.waits.get(slot, self.now)?;
        let is_busy = !self.fleet.is_open(wait.on) && self.fleet.at(wait.on)?.is_usable();
        is_busy.then_some(wait)
    }

    /// Reserves the time of the instance that it was found to wait for again.
    fn wait_on(&mut self, pass: &Pass, slot: Slot, wait: Wait) {
        let Some(instance) = self.fleet.at(wait.on) else { return };
        let planned = self.planned(pass, wait.on);
        let starts_at = self.expected_free(instance, wait.on).max(planned.free_at);
        let checkpoint =
            self.jobs.get(slot).and_then(|job| self.kinds.get(job.kind)).and_then(Kind::checkpoint);
        let free_at = starts_at.plus(wait.takes);
        self.note_plan(wait.on, Planned { pass: pass.number, free_at, checkpoint, taken: planned.taken });
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
        self.note_plan(offer.ix, planned);
    }

    fn note_plan(&mut self, ix: InstanceIx, planned: Planned) {
        self.plan[ix.0 as usize] = planned;
        self.bound.extend(planned.checkpoint.map(|model| (model, ix)));
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
