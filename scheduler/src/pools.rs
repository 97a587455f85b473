//! The jobs that wait, where the policy can see them. Work with the same checkpoint for the same grades of devices stands
//! in one pool; in it each tenant's work of one class and size forms a lane, first come first. A decision reads the
//! scores of pools and the heads of a few, never the whole backlog.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};

use crate::ids::{ModelId, TenantId};
use crate::jobs::{Job, Slot};
use crate::kinds::Kind;
use crate::market::DemandIx;
use crate::spec::Class;
use crate::time::{Millis, Timestamp};

/// Heads of lanes that a pool keeps in order; more are looked at when these are used up.
const HEADS: usize = 256;
/// So many jobs of a lane are passed by one by one before the end of the lane is looked up.
const WALK: usize = 16;
/// Ageing over this is how long the order of heads is believed to hold: scores drift by a few percent meanwhile.
const BELIEVED_PART: i64 = 16;

/// A pool's place in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct PoolIx(pub(crate) u32);

/// Jobs between which only age decides: tenant, class, whether they are wanted by some time (the order is by that then,
/// and the ones too late come before the others), and the size as the power of two above it. In one word, since every
/// step of a search compares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Lane(u64);

impl Lane {
    fn new(tenant: TenantId, class: Class, due: bool, size: u8) -> Self {
        Self(u64::from(tenant.0) << 32 | (class as u64) << 16 | u64::from(due) << 8 | u64::from(size))
    }

    fn is_due(self) -> bool {
        self.0 >> 8 & 1 == 1
    }

    fn size(self) -> u8 {
        (self.0 & 0xff) as u8
    }
}

/// A job's seat in its pool: within the lane the caller's order first, then age or the deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seat {
    lane: Lane,
    pub(crate) order: i64,
    since: i64,
    seq: u32,
    pub(crate) slot: Slot,
}

impl Seat {
    pub(crate) fn of(job: &Job, kind: &Kind, slot: Slot) -> Self {
        let size = u8::try_from(u32::BITS - kind.reference_ms.leading_zeros()).unwrap_or(u8::MAX);
        let due = job.wanted_by() < Timestamp::NEVER;
        let since = if due { job.wanted_by().0 } else { job.accepted_at.0 };
        let lane = Lane::new(job.tenant, job.class, due, size);
        Self { lane, order: job.order, since, seq: job.seq, slot }
    }

    fn first_of(lane: Lane) -> Self {
        Self { lane, order: i64::MIN, since: i64::MIN, seq: 0, slot: Slot(0) }
    }

    fn last_of(lane: Lane) -> Self {
        Self { lane, order: i64::MAX, since: i64::MAX, seq: u32::MAX, slot: Slot(u32::MAX) }
    }
}

/// The first job of a lane with its score of a moment ago.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    pub(crate) score: u64,
    pub(crate) seat: Seat,
}

/// Waiting work that is served together.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    pub(crate) checkpoint: Option<ModelId>,
    pub(crate) demand: DemandIx,
    seats: BTreeSet<Seat>,
    /// The best heads, best last: what comes and goes most is moved least.
    heads: Vec<Head>,
    /// `heads` has the head of every lane.
    whole: bool,
    /// From then on the order is not believed any more.
    stale_at: Timestamp,
    /// Kinds that belong here.
    kinds: u32,
    /// Milliseconds of bringing the checkpoint in that each waiting job bears.
    setup_ms: u64,
}

impl Pool {
    /// The best heads, best first.
    pub(crate) fn heads(&self) -> impl Iterator<Item = &Head> {
        self.heads.iter().rev()
    }

    pub(crate) fn setup_ms(&self) -> u64 {
        self.setup_ms
    }

    fn head_of(&self, lane: Lane) -> Option<Seat> {
        self.seats.range(Seat::first_of(lane)..).next().copied().filter(|seat| seat.lane == lane)
    }

    /// The first job of a lane, and where deadlines count the first that can still be met.
    fn heads_of(&self, lane: Lane, now: Timestamp) -> [Option<Seat>; 2] {
        self.head_of(lane).map_or([None, None], |first| self.heads_from(first, now))
    }

    /// The heads of the lane that `first` leads.
    fn heads_from(&self, first: Seat, now: Timestamp) -> [Option<Seat>; 2] {
        let lane = first.lane;
        let least_run = 1_i64 << lane.size() >> 1;
        let latest = now.0.saturating_add(least_run);
        if !lane.is_due() || first.since >= latest {
            return [Some(first), None];
        }
        let timely = Seat { since: latest, seq: 0, slot: Slot(0), ..first };
        let timely = self.seats.range(timely..).next().copied().filter(|seat| seat.lane == lane);
        [Some(first), timely]
    }

    /// Every head of every lane. Most lanes are short: it walks on, and looks a place up only to leave a long one.
    fn each_head(&self, now: Timestamp, mut found: impl FnMut(Seat)) {
        let mut seats = self.seats.range(..);
        let mut next = seats.next();
        while let Some(first) = next.copied() {
            self.heads_from(first, now).into_iter().flatten().for_each(&mut found);
            next = seats.by_ref().take(WALK).find(|seat| seat.lane != first.lane);
            if next.is_none() {
                seats = self.seats.range(Seat::last_of(first.lane)..);
                next = seats.next();
            }
        }
    }

    /// Brings the heads of one lane in line with its seats.
    fn realign(&mut self, lane: Lane, now: Timestamp, score: impl Fn(Slot, u64) -> u64) {
        let current = self.heads_of(lane, now);
        let is_gone = |head: &Head| head.seat.lane == lane && !current.contains(&Some(head.seat));
        while let Some(at) = self.heads.iter().position(is_gone) {
            self.heads.remove(at);
        }
        for seat in current.into_iter().flatten() {
            if self.heads.iter().all(|head| head.seat != seat) {
                self.offer(Head { score: score(seat.slot, self.setup_ms), seat });
            }
        }
    }

    fn offer(&mut self, head: Head) {
        let is_kept = self.heads.len() < HEADS && self.whole
            || self.heads.first().is_some_and(|worst| worst.score < head.score);
        if !is_kept {
            self.whole = false;
            return;
        }
        if self.heads.len() >= HEADS {
            self.heads.remove(0);
            self.whole = false;
        }
        let at = self.heads.partition_point(|other| other.score < head.score);
        self.heads.insert(at, head);
    }

    /// Whether too few heads are left to choose from.
    fn is_run_down(&self) -> bool {
        !self.whole && self.heads.len() <= HEADS / 16
    }
}

/// A pool as a placement scans it.
#[derive(Debug, Clone, Copy, Default)]
struct Top {
    score: u64,
    demand: DemandIx,
}

type Key = (Option<ModelId>, DemandIx);

/// All pools.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pools {
    table: Vec<Option<Pool>>,
    tops: Vec<Top>,
    vacant: Vec<PoolIx>,
    by_key: BTreeMap<Key, PoolIx>,
    waiting: usize,
}

impl Pools {
    /// The pool of one more kind.
    pub(crate) fn join(&mut self, checkpoint: Option<ModelId>, demand: DemandIx) -> PoolIx {
        let ix = match self.by_key.get(&(checkpoint, demand)) {
            Some(ix) => *ix,
            None => self.insert(checkpoint, demand),
        };
        if let Some(pool) = self.get_mut(ix) {
            pool.kinds += 1;
        }
        ix
    }

    fn insert(&mut self, checkpoint: Option<ModelId>, demand: DemandIx) -> PoolIx {
        let pool = Pool {
            checkpoint,
            demand,
            seats: BTreeSet::new(),
            heads: Vec::new(),
            whole: true,
            stale_at: Timestamp::default(),
            kinds: 0,
            setup_ms: 0,
        };
        let ix = self.vacant.pop().unwrap_or_else(|| {
            self.table.push(None);
            self.tops.push(Top::default());
            PoolIx(u32::try_from(self.table.len() - 1).unwrap_or(u32::MAX))
        });
        self.table[ix.0 as usize] = Some(pool);
        self.tops[ix.0 as usize] = Top { score: 0, demand };
        self.by_key.insert((checkpoint, demand), ix);
        ix
    }

    /// A kind does not belong to it any more.
    pub(crate) fn leave(&mut self, ix: PoolIx) {
        let Some(pool) = self.get_mut(ix) else { return };
        pool.kinds = pool.kinds.saturating_sub(1);
        if pool.kinds > 0 || !pool.seats.is_empty() {
            return;
        }
        let key = (pool.checkpoint, pool.demand);
        self.by_key.remove(&key);
        self.table[ix.0 as usize] = None;
        self.tops[ix.0 as usize] = Top::default();
        self.vacant.push(ix);
    }

    pub(crate) fn get(&self, ix: PoolIx) -> Option<&Pool> {
        self.table.get(ix.0 as usize)?.as_ref()
    }

    fn get_mut(&mut self, ix: PoolIx) -> Option<&mut Pool> {
        self.table.get_mut(ix.0 as usize)?.as_mut()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// A job begins to stand in a pool. `score` is asked only when it is a head of its lane.
    pub(crate) fn enter(&mut self, ix: PoolIx, seat: Seat, now: Timestamp, score: impl Fn(Slot, u64) -> u64) {
        let Some(pool) = self.get_mut(ix) else { return };
        pool.seats.insert(seat);
        if pool.heads_of(seat.lane, now).contains(&Some(seat)) {
            pool.realign(seat.lane, now, score);
            self.retop(ix);
        }
        self.waiting += 1;
    }

    /// A job stands there no longer; the next of its lane comes up.
    pub(crate) fn exit(&mut self, ix: PoolIx, seat: Seat, now: Timestamp, score: impl Fn(Slot, u64) -> u64) {
        let Some(pool) = self.get_mut(ix) else { return };
        if !pool.seats.remove(&seat) {
            return;
        }
        // A head that was not kept leaves no gap among those that are.
        if let Some(at) = pool.heads.iter().rposition(|head| head.seat.slot == seat.slot) {
            pool.heads.remove(at);
            match pool.head_of(seat.lane) {
                Some(_) if seat.lane.is_due() => pool.realign(seat.lane, now, score),
                Some(next) => pool.offer(Head { score: score(next.slot, pool.setup_ms), seat: next }),
                None => {}
            }
            if pool.is_run_down() {
                pool.stale_at = Timestamp::default();
            }
            self.retop(ix);
        }
        self.waiting -= 1;
    }

    fn retop(&mut self, ix: PoolIx) {
        let Some(pool) = self.table.get(ix.0 as usize).and_then(Option::as_ref) else { return };
        let best = pool.heads.last().map_or(0, |head| head.score);
        // A pool whose heads are all used up has to be looked at, whatever it is worth.
        let score = if pool.heads.is_empty() && !pool.seats.is_empty() { u64::MAX } else { best };
        self.tops[ix.0 as usize] = Top { score, demand: pool.demand };
    }

    pub(crate) fn is_stale(&self, ix: PoolIx, now: Timestamp) -> bool {
        self.get(ix).is_some_and(|pool| pool.stale_at <= now)
    }

    /// Brings the order of heads up to date. `setup_ms`: what bringing the checkpoint in takes, nothing where it is warm.
    pub(crate) fn refresh(
        &mut self,
        ix: PoolIx,
        now: Timestamp,
        ageing: Millis,
        setup_ms: u64,
        score: impl Fn(Slot, u64) -> u64,
    ) {
        let Some(pool) = self.get_mut(ix) else { return };
        pool.setup_ms = setup_ms / (pool.seats.len() as u64).max(1);
        pool.stale_at = now.plus(Millis((ageing.0 / BELIEVED_PART).max(1)));
        pool.heads.clear();
        pool.whole = true;
        let mut all = Vec::new();
        pool.each_head(now, |seat| all.push(Head { score: score(seat.slot, pool.setup_ms), seat }));
        all.retain(|head| head.score > 0);
        let order = |head: &Head| (std::cmp::Reverse(head.score), head.seat);
        pool.whole = all.len() <= HEADS;
        if !pool.whole {
            all.select_nth_unstable_by_key(HEADS, order);
            all.truncate(HEADS);
        }
        all.sort_unstable_by_key(|head| std::cmp::Reverse(order(head)));
        pool.heads = all;
        let is_idle = pool.heads.is_empty();
        self.retop(ix);
        if is_idle {
            self.tops[ix.0 as usize].score = 0;
        }
    }

    /// The scores of the order of heads are not believed any more: the shares or bounds of tenants have changed.
    pub(crate) fn doubt_all(&mut self) {
        for index in 0..self.table.len() {
            if let Some(pool) = self.table[index].as_mut().filter(|pool| !pool.seats.is_empty()) {
                pool.stale_at = Timestamp::default();
                if pool.heads.is_empty() {
                    self.tops[index].score = u64::MAX;
                }
            }
        }
    }

    /// The best `most` pools among those that `is_wanted`, best first.
    pub(crate) fn best(&self, most: usize, is_wanted: impl Fn(DemandIx) -> bool) -> Vec<PoolIx> {
        let mut best: Vec<(u64, usize)> = Vec::with_capacity(most + 1);
        // Nothing is better than what has no score.
        let mut floor = 0;
        for (index, top) in self.tops.iter().enumerate() {
            if top.score <= floor || !is_wanted(top.demand) {
                continue;
            }
            let at = best.partition_point(|(score, _)| *score >= top.score);
            best.insert(at, (top.score, index));
            if best.len() > most {
                best.pop();
            }
            if best.len() == most {
                floor = best.last().map_or(0, |(score, _)| *score);
            }
        }
        best.into_iter().map(|(_, index)| PoolIx(u32::try_from(index).unwrap_or(u32::MAX))).collect()
    }

    /// The pools of a checkpoint.
    pub(crate) fn of_checkpoint(&self, checkpoint: ModelId) -> impl Iterator<Item = PoolIx> {
        let key = Some(checkpoint);
        self.by_key
            .range((key, DemandIx::default())..)
            .take_while(move |(found, _)| found.0 == key)
            .map(|(_, ix)| *ix)
    }

    /// The seat behind another one in the same lane.
    pub(crate) fn next_in_lane(&self, ix: PoolIx, seat: Seat) -> Option<Seat> {
        let behind = self.get(ix)?.seats.range((Excluded(seat), Unbounded)).next().copied();
        behind.filter(|next| next.lane == seat.lane)
    }

    /// Every seat; for checks and for counting a position on request.
    pub(crate) fn seats(&self) -> impl Iterator<Item = (PoolIx, Seat)> {
        (0..).map(PoolIx).zip(&self.table).flat_map(|(ix, pool)| {
            pool.iter().flat_map(move |pool| pool.seats.iter().map(move |seat| (ix, *seat)))
        })
    }

    /// Slots of a kind that stand in a pool.
    pub(crate) fn slots_of(&self, ix: PoolIx, is_wanted: impl Fn(Slot) -> bool) -> Vec<Slot> {
        let seats = self.get(ix).into_iter().flat_map(|pool| &pool.seats);
        seats.map(|seat| seat.slot).filter(|slot| is_wanted(*slot)).collect()
    }

    /// What is wrong with a pool, if anything is.
    pub(crate) fn first_crooked(&self) -> Option<String> {
        let crooked = |pool: &Pool| {
            let strange = pool.heads.iter().any(|head| !pool.seats.contains(&head.seat));
            let sorted = pool.heads.is_sorted_by_key(|head| head.score);
            strange || !sorted || pool.kinds == 0
        };
        let found = self.table.iter().flatten().find(|pool| crooked(pool));
        found.map(|pool| format!("the pool of {:?} is crooked", pool.checkpoint))
    }
}
