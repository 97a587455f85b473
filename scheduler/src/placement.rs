//! Who is next, and where: late binding of the backlog to seats (DESIGN §6).
//!
//! One pass walks the heads of the lanes in the order of [`Turn`] and gives each the instance with the earliest
//! predicted completion. An instance without a seat takes part in the comparison: a job may wait for it when even
//! the last job that waits for the same models would be done there sooner than on an open seat.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::backlog::{Bookmark, Head};
use crate::core::Scheduler;
use crate::costs::Prediction;
use crate::decision::{Decisions, Effect, Record};
use crate::device::Instance;
use crate::ids::{AttemptNo, InstanceId, TenantId};
use crate::job::{JobState, Phase, Placement, Step};
use crate::jobs::{Active, Job, Slot};
use crate::kinds::Kind;
use crate::spec::Class;
use crate::time::{Millis, Timestamp};

/// Never think again about the same wait more often than this.
const RECONSIDER: Millis = Millis::from_secs(1);
/// A pass that ran out of looks is followed by the next one after this.
const RESUME: Millis = Millis(100);
/// A lane may pass by this many candidates while there are looks, however many lanes share them.
const LANE_LOOKS: u32 = 8;
/// Looks that a lane has when there are none left: its first head, and one further on.
const OWN_LOOKS: u32 = 2;
/// A running prompt is believed to need at least this long.
const OVERDUE_LEAST: Millis = Millis(50);
/// A withdrawn prompt is believed to be gone within this.
const STOP_TAKES: Millis = Millis(1_000);
/// A job that waited this many times the ageing takes the first seat it can get.
const PATIENCE: i64 = 3;

/// The rank of a candidate; the smallest is next.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Turn {
    level: Reverse<u8>,
    usage: u128,
    head: Head,
    lane: (Class, TenantId),
}

/// A lane's walk in one pass, at its next candidate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Walk {
    turn: Turn,
    /// Candidates passed by.
    missed: u32,
    /// One of this place in the caller's order waits for its turn: those behind that place stay behind it.
    holds: bool,
}

/// An instance as one pass sees it.
#[derive(Debug, Clone)]
struct View {
    /// Its place in the fleet.
    index: usize,
    id: InstanceId,
    /// Seats left.
    open: u32,
    /// When the work it holds, and the work that has chosen to wait for it, is predicted to be done.
    free_at: Timestamp,
    catalogue: u64,
    room_mib: u32,
}

/// One instance's offer to a job.
#[derive(Debug, Clone, Copy)]
struct Offer {
    /// Its place among the views.
    view: usize,
    id: InstanceId,
    speed_milli: u32,
    starts_at: Timestamp,
    ends_at: Timestamp,
    predicted: Prediction,
}

/// One walk over the heads of the lanes.
struct Pass {
    views: Vec<View>,
    /// Seats left in all.
    open: u32,
    /// Candidates that may still be passed by.
    looks: u32,
    /// Candidates that one lane may pass by.
    lane_looks: u32,
    largest_mib: u32,
    queue: BinaryHeap<Reverse<Walk>>,
}

/// What becomes of a candidate in this pass.
enum Choice {
    Take(Offer),
    /// A busy instance is worth the wait.
    Wait(Offer),
    /// All that could run it are busy, or one of its poison kind runs already.
    Later,
    /// No usable instance can run it now: it does not stand in the way of others.
    Nowhere,
}

impl Scheduler {
    /// Passes until one decides nothing: then deciding again would change nothing either.
    pub(crate) fn place_backlog(&mut self, out: &mut Decisions) {
        while !self.backlog.is_empty() && self.place_once(out) {}
    }

    fn place_once(&mut self, out: &mut Decisions) -> bool {
        let views = self.views();
        let open: u32 = views.iter().map(|view| view.open).sum();
        if open == 0 {
            self.resume_at = None;
            return false;
        }
        let first = |turn| Reverse(Walk { turn, missed: 0, holds: false });
        let queue: BinaryHeap<_> =
            self.backlog.lanes().filter_map(|lane| self.turn(lane, None)).map(first).collect();
        let looks = self.config.look_ahead.saturating_mul(open);
        let lanes = u32::try_from(queue.len()).unwrap_or(u32::MAX).max(1);
        let lane_looks = (looks / lanes).max(LANE_LOOKS.min(looks));
        let mut pass = Pass { views, open, looks, lane_looks, largest_mib: self.fleet.largest_mib(), queue };
        let mut placed = false;
        while pass.open > 0
            && let Some(Reverse(mut walk)) = pass.queue.pop()
        {
            let usage = self.tenants.usage(walk.turn.lane.1);
            if self.is_at_bound(walk.turn.lane.1) {
                continue;
            }
            if usage > walk.turn.usage {
                walk.turn.usage = usage;
                pass.queue.push(Reverse(walk));
                continue;
            }
            placed |= self.consider(&mut pass, walk, out);
        }
        placed
    }

    /// Gives one candidate its seat or passes it by, and brings up the next of its lane.
    fn consider(&mut self, pass: &mut Pass, mut walk: Walk, out: &mut Decisions) -> bool {
        let (seat, _) = walk.turn.head;
        let choice = self.choose(seat.slot, &pass.views, pass.largest_mib);
        let is_placed = matches!(choice, Choice::Take(_));
        walk.holds |= matches!(choice, Choice::Wait(_) | Choice::Later);
        walk.missed += u32::from(!is_placed);
        pass.looks = pass.looks.saturating_sub(u32::from(!is_placed));
        match choice {
            Choice::Take(offer) => {
                self.put(seat.slot, offer, pass.largest_mib, out);
                let view = &mut pass.views[offer.view];
                view.free_at = offer.ends_at;
                view.open -= 1;
                pass.open -= 1;
            }
            Choice::Wait(offer) => {
                let again = offer.starts_at.max(self.now).plus(RECONSIDER);
                self.reconsider_at = Some(self.reconsider_at.map_or(again, |at| at.min(again)));
                pass.views[offer.view].free_at = offer.ends_at;
            }
            Choice::Later | Choice::Nowhere => {}
        }
        self.go_on(pass, walk);
        is_placed
    }

    /// Brings up the next candidate of a lane: half of its looks are for its first heads, half go on where the last
    /// passes stopped, so that what cannot be placed never hides what can.
    fn go_on(&mut self, pass: &mut Pass, mut walk: Walk) {
        let lane = walk.turn.lane;
        let most = if pass.looks == 0 { OWN_LOOKS } else { pass.lane_looks };
        let mut last = walk.turn.head;
        let mut is_owed_a_look = false;
        if walk.missed >= most / 2
            && let Some(mark) = self.backlog.bookmark(lane).filter(|mark| mark.head >= last)
            && (!walk.holds || mark.head.0.order == last.0.order)
        {
            last = mark.head;
            is_owed_a_look = true;
            walk.holds |= mark.holds;
        }
        let next = self.turn(lane, Some(last));
        let next = next.filter(|next| !walk.holds || next.head.0.order == last.0.order);
        let Some(turn) = next else { return self.backlog.set_bookmark(lane, None) };
        if walk.missed >= most && !is_owed_a_look {
            self.backlog.set_bookmark(lane, Some(Bookmark { head: last, holds: walk.holds }));
            self.resume_at = Some(self.now.plus(RESUME));
        } else {
            pass.queue.push(Reverse(Walk { turn, ..walk }));
        }
    }

    fn is_at_bound(&self, tenant: TenantId) -> bool {
        self.tenants.get(tenant).is_some_and(|tenant| tenant.is_at_bound())
    }

    /// The rank of the next head of a lane.
    pub(crate) fn turn(&self, lane: (Class, TenantId), after: Option<Head>) -> Option<Turn> {
        let head = self.backlog.next_head(lane, after)?;
        let job = self.jobs.get(head.0.slot)?;
        Some(self.rank(job, lane, head))
    }

    pub(crate) fn rank(&self, job: &Job, lane: (Class, TenantId), head: Head) -> Turn {
        Turn { level: Reverse(self.level(job)), usage: self.tenants.usage(lane.1), head, lane }
    }

    /// Class, lifted by age and by a deadline without slack; never above interactive, where the shares decide.
    fn level(&self, job: &Job) -> u8 {
        let waited = self.now.since(job.accepted_at).0.max(0);
        let lifts = u8::try_from(waited / self.config.ageing.0.max(1)).unwrap_or(u8::MAX);
        (job.class as u8)
            .saturating_add(lifts)
            .saturating_add(u8::from(job.urgent))
            .min(Class::Interactive as u8)
    }

    /// The usable instances and when each is free.
    fn views(&self) -> Vec<View> {
        let most = 1 + self.config.prefetch;
        let usable = self.fleet.iter().enumerate().filter(|(_, instance)| instance.is_usable());
        usable
            .filter_map(|(index, instance)| {
                let held = u32::try_from(instance.held.len()).unwrap_or(u32::MAX);
                Some(View {
                    index,
                    id: instance.id,
                    open: most.saturating_sub(held),
                    free_at: self.free_at(instance),
                    catalogue: instance.catalogue()?.id,
                    room_mib: instance.room_mib(),
                })
            })
            .collect()
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
                        // Over its time: believed to need as long again as it is over.
                        Millis(rest.max(-rest).max(OVERDUE_LEAST.0))
                    }
                    None => Millis(total),
                }
            }
        }
    }

    fn choose(&self, slot: Slot, views: &[View], largest_mib: u32) -> Choice {
        let Some(job) = self.jobs.get(slot) else { return Choice::Nowhere };
        let Some(kind) = self.kinds.get(job.kind) else { return Choice::Nowhere };
        if kind.suspects > 0 && kind.in_flight > 0 {
            return Choice::Later;
        }
        let need_mib = self.costs.need_mib(kind.shape, largest_mib);
        let offers = self.offers(kind, need_mib, views, job.avoid);
        match (offers.open, offers.full) {
            (None, None) => Choice::Nowhere,
            (None, Some(_)) => Choice::Later,
            (Some(open), None) => Choice::Take(open),
            (Some(open), Some(full)) if self.is_worth_waiting(job, kind, open, full, offers.warm_milli) => {
                Choice::Wait(full)
            }
            (Some(open), Some(_)) => Choice::Take(open),
        }
    }

    /// Whether a job should wait for a busy instance: the last of those that wait for the same models would be done
    /// there before it would be done on the open seat, and the wait is bounded.
    fn is_worth_waiting(&self, job: &Job, kind: &Kind, open: Offer, full: Offer, warm_milli: u64) -> bool {
        let patience = Millis(self.config.ageing.0.saturating_mul(PATIENCE));
        if self.now.since(job.accepted_at) > patience {
            return false;
        }
        let beside = self.kinds.queued_beside(kind).saturating_sub(u64::from(kind.reference_ms));
        let drained = beside.saturating_mul(1000) / warm_milli.max(u64::from(full.speed_milli)).max(1);
        let drained = Millis(i64::try_from(drained).unwrap_or(i64::MAX));
        full.ends_at.plus(drained) < open.ends_at
            && full.starts_at.since(open.starts_at) <= self.config.affinity_delay
    }

    /// The best open seat and the best busy instance; the one of the last loss only if there is no other.
    fn offers(&self, kind: &Kind, need_mib: u32, views: &[View], avoid: Option<InstanceId>) -> Offers {
        let mut found = Offers::default();
        let mut avoided = Offers::default();
        let mut catalogue = None;
        let mut run = None;
        for (index, view) in views.iter().enumerate() {
            let offered = match catalogue {
                Some((id, offered)) if id == view.catalogue => offered,
                _ => catalogue.insert((view.catalogue, kind.is_offered_by(view.catalogue))).1,
            };
            if !offered || view.room_mib < need_mib {
                continue;
            }
            let Some(instance) = self.fleet.at(view.index) else { continue };
            let speed = instance.speed();
            let bare = match run {
                Some((class, milli, ms)) if class == speed.class && milli == speed.milli => ms,
                _ => run.insert((speed.class, speed.milli, self.costs.run_ms(kind.shape, speed))).2,
            };
            let run_ms = instance.slowed(bare);
            let predicted = self.costs.predict(kind, speed, run_ms, |model| instance.is_warm(model));
            let offer = Offer {
                view: index,
                id: view.id,
                speed_milli: speed.milli,
                starts_at: view.free_at,
                ends_at: view.free_at.plus(Millis(predicted.total_ms())),
                predicted,
            };
            let side = if avoid == Some(view.id) { &mut avoided } else { &mut found };
            side.take_in(offer, view.open > 0, kind.checkpoint.is_none_or(|model| instance.is_warm(model)));
        }
        if found.open.is_none() && found.full.is_none() { avoided } else { found }
    }

    /// Binds a job to a seat: the next attempt begins.
    fn put(&mut self, slot: Slot, offer: Offer, largest_mib: u32, out: &mut Decisions) {
        let (now, instance) = (self.now, offer.id);
        let Some(job) = self.jobs.get(slot) else { return };
        let (id, attempt) = (job.id, AttemptNo(job.attempts.saturating_add(1)));
        let Some(kind) = self.kinds.get(job.kind) else { return };
        let (requirement, need_mib) =
            (std::sync::Arc::clone(&kind.requirement), self.costs.need_mib(kind.shape, largest_mib));
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
                charged_ms: total * u64::from(offer.speed_milli) / 1000,
                exact: true,
                adopted: false,
            },
        );
        self.bring_in(instance, &requirement, need_mib);
        out.records.push(Record::Placed { job: id, attempt, instance, at: now });
        out.effects.push(Effect::Dispatch { job: id, attempt, instance });
        out.effects.push(Effect::Announce { job: id, phase: Phase::Dispatching });
    }
}

/// The best offers to one job.
#[derive(Debug, Clone, Copy, Default)]
struct Offers {
    open: Option<Offer>,
    full: Option<Offer>,
    /// Speed of all instances that hold its weights: they serve those who wait for them together.
    warm_milli: u64,
}

impl Offers {
    fn take_in(&mut self, offer: Offer, is_open: bool, is_warm: bool) {
        let best = if is_open { &mut self.open } else { &mut self.full };
        if best.is_none_or(|old| offer.rank() < old.rank()) {
            *best = Some(offer);
        }
        if is_warm {
            self.warm_milli += u64::from(offer.speed_milli);
        }
    }
}

impl Offer {
    /// The earliest end; then the slower device, which costs less; then the id.
    fn rank(self) -> (Timestamp, u32, InstanceId) {
        (self.ends_at, self.speed_milli, self.id)
    }
}
