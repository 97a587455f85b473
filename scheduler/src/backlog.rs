//! The jobs that wait, where the policy can see them: one lane per class and tenant, in each lane the kinds of work
//! ordered by their first job. A decision reads the heads of lanes, never the whole backlog.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};

use crate::ids::TenantId;
use crate::jobs::{Job, Slot};
use crate::kinds::KindId;
use crate::spec::Class;

/// A job's seat in its lane: the caller's order first, then urgency, then age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seat {
    pub(crate) order: i64,
    since: i64,
    seq: u32,
    pub(crate) slot: Slot,
}

impl Seat {
    pub(crate) fn of(job: &Job, slot: Slot) -> Self {
        let since = if job.urgent { i64::MIN } else { job.accepted_at.0 };
        Self { order: job.order, since, seq: job.seq, slot }
    }
}

/// The first job of a kind in a lane.
pub(crate) type Head = (Seat, KindId);

/// How far passes that ran out of looks have come in a lane.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bookmark {
    /// The last head that was looked at.
    pub(crate) head: Head,
    /// One of its place in the caller's order waits for its turn.
    pub(crate) holds: bool,
}

#[derive(Debug, Clone, Default)]
struct Lane {
    bookmark: Option<Bookmark>,
    heads: BTreeSet<Head>,
    kinds: BTreeMap<KindId, BTreeSet<Seat>>,
}

impl Lane {
    fn insert(&mut self, kind: KindId, seat: Seat) {
        let seats = self.kinds.entry(kind).or_default();
        let before = seats.first().copied();
        seats.insert(seat);
        self.reseat(kind, before);
    }

    fn remove(&mut self, kind: KindId, seat: Seat) {
        let Some(seats) = self.kinds.get_mut(&kind) else { return };
        let before = seats.first().copied();
        seats.remove(&seat);
        self.reseat(kind, before);
    }

    fn reseat(&mut self, kind: KindId, before: Option<Seat>) {
        let after = self.kinds.get(&kind).and_then(|seats| seats.first().copied());
        if before == after {
            return;
        }
        if let Some(seat) = before {
            self.heads.remove(&(seat, kind));
        }
        match after {
            Some(seat) => {
                self.heads.insert((seat, kind));
            }
            None => {
                self.kinds.remove(&kind);
            }
        }
    }
}

/// All lanes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Backlog {
    lanes: BTreeMap<(Class, TenantId), Lane>,
}

impl Backlog {
    pub(crate) fn insert(&mut self, job: &Job, slot: Slot) {
        self.lanes.entry((job.class, job.tenant)).or_default().insert(job.kind, Seat::of(job, slot));
    }

    pub(crate) fn remove(&mut self, job: &Job, slot: Slot) {
        let key = (job.class, job.tenant);
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        lane.remove(job.kind, Seat::of(job, slot));
        if lane.kinds.is_empty() {
            self.lanes.remove(&key);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    pub(crate) fn lanes(&self) -> impl Iterator<Item = (Class, TenantId)> {
        self.lanes.keys().copied()
    }

    /// The next head of a lane after the given one.
    pub(crate) fn next_head(&self, lane: (Class, TenantId), after: Option<Head>) -> Option<Head> {
        let heads = &self.lanes.get(&lane)?.heads;
        match after {
            None => heads.first().copied(),
            Some(head) => heads.range((Excluded(head), Unbounded)).next().copied(),
        }
    }

    pub(crate) fn bookmark(&self, lane: (Class, TenantId)) -> Option<Bookmark> {
        self.lanes.get(&lane)?.bookmark
    }

    pub(crate) fn set_bookmark(&mut self, lane: (Class, TenantId), bookmark: Option<Bookmark>) {
        if let Some(lane) = self.lanes.get_mut(&lane) {
            lane.bookmark = bookmark;
        }
    }

    /// Every seat, lane by lane; for checks and for counting a position on request.
    pub(crate) fn seats(&self) -> impl Iterator<Item = (Class, TenantId, KindId, Seat)> {
        self.lanes.iter().flat_map(|((class, tenant), lane)| {
            lane.kinds
                .iter()
                .flat_map(move |(kind, seats)| seats.iter().map(move |seat| (*class, *tenant, *kind, *seat)))
        })
    }

    /// A lane whose heads are not the first seats of its kinds, if there is one.
    pub(crate) fn crooked_lane(&self) -> Option<(Class, TenantId)> {
        let is_straight = |lane: &Lane| {
            let firsts: BTreeSet<Head> =
                lane.kinds.iter().filter_map(|(kind, seats)| Some((*seats.first()?, *kind))).collect();
            !lane.kinds.is_empty() && firsts == lane.heads
        };
        self.lanes.iter().find(|(_, lane)| !is_straight(lane)).map(|(key, _)| *key)
    }
}
