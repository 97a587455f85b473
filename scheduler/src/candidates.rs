//! Whose turn may have come: the heads of the pools that matter to the seats that are open.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::core::Scheduler;
use crate::fleet::GradeSet;
use crate::ids::ModelId;
use crate::pools::{Pool, PoolIx, Seat};
use crate::spec::{Loading, ModelUse};

/// Pools beside the nearest that are asked when seats stay open.
const MOST_POOLS: usize = 64;
/// For so many looks of the look-ahead one pool takes part: the first of them usually has what a seat needs.
const POOLS_PART: usize = 2;
/// Heads of one pool that take part in a pass, and the fewest in a large fleet.
const HEADS_EACH: u32 = 4;
const FEWEST_HEADS: u32 = 3;
/// Pools that take part because their checkpoint lies on an open instance: such instances that are asked.
const WARM_ASKED: usize = 16;
/// How fast a checkpoint comes in where it is fetched on purpose: a good host, before any device is chosen.
const SETUP_RATES: Loading = Loading { disk_mib_s: 800, pcie_mib_s: 4_000, host_cache_mib: 0 };

/// A waiting job whose turn may have come; the largest is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Candidate {
    score: u64,
    pub(crate) seat: Seat,
    pub(crate) pool: PoolIx,
    /// Its checkpoint lies on an instance with an open seat.
    pub(crate) is_warm: bool,
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

/// A pool that takes part in a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Asked {
    pool: PoolIx,
    is_warm: bool,
}

impl Scheduler {
    /// The best heads of these pools, best first.
    pub(crate) fn candidates(&mut self, pools: &[Asked]) -> BinaryHeap<Candidate> {
        let heads_each = self.thinned(HEADS_EACH).max(FEWEST_HEADS) as usize;
        let mut found: Vec<Candidate> = Vec::with_capacity(pools.len() * heads_each);
        for asked in pools {
            self.freshen(asked.pool);
            let Some(pool) = self.pools.get(asked.pool) else { continue };
            let (judge, setup_ms) = (self.judge(), pool.setup_ms());
            let heads = pool.heads().take(heads_each).map(|head| Candidate {
                score: judge.score(head.seat.slot, setup_ms),
                seat: head.seat,
                pool: asked.pool,
                is_warm: asked.is_warm,
            });
            found.extend(heads.filter(|candidate| candidate.score > 0));
        }
        found.into()
    }

    /// The one that stands behind a candidate in its lane.
    pub(crate) fn behind(&self, first: &Candidate) -> Option<Candidate> {
        let seat = self.pools.next_in_lane(first.pool, first.seat)?;
        let setup_ms = self.pools.get(first.pool).map_or(0, Pool::setup_ms);
        Some(Candidate { score: self.judge().score(seat.slot, setup_ms), seat, ..*first })
    }

    /// Pools whose checkpoint lies on an open instance, and the best few of all.
    pub(crate) fn nearest_pools(&self) -> Vec<Asked> {
        let mut asked = 0;
        let mut pools = Vec::new();
        for grade in self.fleet.grades() {
            for ix in grade.open.iter().take(WARM_ASKED - asked) {
                asked += 1;
                let models = self.fleet.at(*ix).into_iter().flat_map(|instance| instance.resident.models());
                let warm = models.flat_map(|model| self.pools.of_checkpoint(model));
                pools.extend(warm.map(|pool| Asked { pool, is_warm: true }));
            }
        }
        let most = (self.look_ahead() as usize / POOLS_PART).max(1);
        pools.extend(self.best_pools(most));
        // Of two alike the one that is warm comes first, and stays.
        pools.sort_unstable_by_key(|asked| (asked.pool, !asked.is_warm));
        pools.dedup_by_key(|asked| asked.pool);
        pools
    }

    /// More pools, the best of those that were not asked.
    pub(crate) fn other_pools(&self, known: &[Asked]) -> Vec<Asked> {
        let is_known = |asked: &Asked| known.binary_search_by_key(&asked.pool, |known| known.pool).is_ok();
        self.best_pools(MOST_POOLS).filter(|asked| !is_known(asked)).collect()
    }

    fn best_pools(&self, most: usize) -> impl Iterator<Item = Asked> {
        let mut open = GradeSet::default();
        let grades = self.fleet.grades().iter().enumerate();
        grades.filter(|(_, grade)| !grade.open.is_empty()).for_each(|(index, _)| open.insert(index));
        let best = self.pools.best(most, |demand| self.market.grades(demand).meets(open));
        best.into_iter().map(|pool| Asked { pool, is_warm: false })
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
        if self.fleet.is_held(model) {
            return 0;
        }
        u64::from(self.costs.loads.setup_ms(ModelUse::checkpoint(model), SETUP_RATES))
    }
}
