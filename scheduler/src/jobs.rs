//! The open jobs, packed: a million of them wait in memory (DESIGN §12: at most 256 bytes each with all indexes).

use std::collections::BTreeMap;

use crate::costs::Prediction;
use crate::ids::{AttemptNo, GraphId, InstanceId, JobId, TenantId};
use crate::job::{JobState, Placement};
use crate::kinds::KindId;
use crate::repeats::NO_GRAPH;
use crate::spec::{Class, JobSpec};
use crate::time::{Millis, Timestamp};

/// The place of a job in the table; reused once the job has ended, so it never leaves this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot(pub(crate) u32);

/// No instance.
pub(crate) const NOWHERE: InstanceId = InstanceId(u32::MAX);

/// One open job.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) id: JobId,
    pub(crate) order: i64,
    pub(crate) accepted_at: Timestamp,
    pub(crate) start_deadline: Timestamp,
    pub(crate) deadline: Timestamp,
    /// Wanted by then, though it runs later too.
    pub(crate) due_at: Timestamp,
    /// Armed in the timers at this instant; [`Timestamp::NEVER`] when not.
    pub(crate) timer: Timestamp,
    pub(crate) stage: Stage,
    /// The instance of its last loss, avoided by the next attempt where possible; [`NOWHERE`] without one.
    pub(crate) avoid: InstanceId,
    /// [`crate::repeats::NO_GRAPH`] where it is not known.
    pub(crate) graph: GraphId,
    pub(crate) tenant: TenantId,
    pub(crate) kind: KindId,
    /// Order of arrival, for equal instants.
    pub(crate) seq: u32,
    /// Attempts so far; the number of the last one.
    pub(crate) attempts: u32,
    pub(crate) faults: u16,
    pub(crate) losses: u16,
    /// Times it gave its place to more important work, in this life of the process.
    pub(crate) preemptions: u8,
    pub(crate) class: Class,
    /// It stands in a lane of the backlog (and is not held back by a pause).
    pub(crate) in_lane: bool,
    /// It was the running prompt of a death: one of its kind at a time.
    pub(crate) suspect: bool,
}

/// Waiting, or on an instance.
#[derive(Debug, Clone)]
pub(crate) enum Stage {
    Waiting { not_before: Timestamp },
    Active(Box<Active>),
}

/// What only a job with an open attempt has.
#[derive(Debug, Clone)]
pub(crate) struct Active {
    pub(crate) state: JobState,
    /// The placement, also found in `state`; kept flat for the lease.
    pub(crate) instance: InstanceId,
    pub(crate) attempt: AttemptNo,
    /// It was looked up since its last sign.
    pub(crate) asked: bool,
    /// A withdrawal must have been answered by then.
    pub(crate) stop_by: Timestamp,
    /// What was believed when it was placed.
    pub(crate) predicted: Prediction,
    /// Charged to its tenant ahead of the run, at this price.
    pub(crate) charged_ms: u64,
    pub(crate) price: u64,
    /// Its times were observed without a gap, so they may teach.
    pub(crate) exact: bool,
    /// Taken over from an earlier life of the process, whatever the bounds are now.
    pub(crate) adopted: bool,
}

impl Active {
    pub(crate) fn placement(&self) -> Option<&Placement> {
        self.state.placement()
    }

    /// Whether it still holds a seat of its instance.
    pub(crate) fn occupies(&self) -> bool {
        !matches!(self.state, JobState::Collecting { .. })
    }
}

impl Job {
    pub(crate) fn new(id: JobId, spec: &JobSpec, kind: KindId, seq: u32) -> Self {
        Self {
            id,
            order: spec.order.unwrap_or(0),
            accepted_at: spec.accepted_at,
            start_deadline: spec.start_deadline.unwrap_or(Timestamp::NEVER),
            deadline: spec.deadline,
            due_at: spec.due_at.unwrap_or(Timestamp::NEVER),
            timer: Timestamp::NEVER,
            stage: Stage::Waiting { not_before: spec.accepted_at },
            avoid: NOWHERE,
            graph: spec.graph.unwrap_or(NO_GRAPH),
            tenant: spec.tenant,
            kind,
            seq,
            attempts: 0,
            faults: 0,
            losses: 0,
            preemptions: 0,
            class: spec.class,
            in_lane: false,
            suspect: false,
        }
    }

    pub(crate) fn state(&self) -> JobState {
        match &self.stage {
            Stage::Waiting { not_before } => JobState::Queued { not_before: *not_before },
            Stage::Active(active) => active.state,
        }
    }

    pub(crate) fn active(&self) -> Option<&Active> {
        match &self.stage {
            Stage::Active(active) => Some(active),
            Stage::Waiting { .. } => None,
        }
    }

    pub(crate) fn active_mut(&mut self) -> Option<&mut Active> {
        match &mut self.stage {
            Stage::Active(active) => Some(active),
            Stage::Waiting { .. } => None,
        }
    }

    pub(crate) fn last_attempt(&self) -> Option<AttemptNo> {
        (self.attempts > 0).then_some(AttemptNo(self.attempts))
    }

    /// The instant after which it cannot start any more.
    pub(crate) fn start_by(&self) -> Timestamp {
        self.start_deadline.min(self.deadline)
    }

    /// When its caller wants it done, or started where only that is asked.
    pub(crate) fn wanted_by(&self) -> Timestamp {
        self.due_at.min(self.start_by())
    }

    /// What is left before it had to start, were it to run on the reference class; negative when that has passed.
    pub(crate) fn slack(&self, now: Timestamp, reference_ms: u32) -> Millis {
        Millis(self.wanted_by().since(now).0.saturating_sub(i64::from(reference_ms)))
    }
}

/// The table of open jobs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Jobs {
    table: Vec<Option<Job>>,
    vacant: Vec<u32>,
    by_id: BTreeMap<JobId, Slot>,
}

impl Jobs {
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn slot(&self, id: JobId) -> Option<Slot> {
        self.by_id.get(&id).copied()
    }

    /// The job at `slot`; `None` only for a slot whose job has ended.
    pub(crate) fn get(&self, slot: Slot) -> Option<&Job> {
        self.table.get(slot.0 as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut Job> {
        self.table.get_mut(slot.0 as usize)?.as_mut()
    }

    pub(crate) fn insert(&mut self, job: Job) -> Slot {
        let id = job.id;
        let slot = match self.vacant.pop() {
            Some(index) => {
                self.table[index as usize] = Some(job);
                Slot(index)
            }
            None => {
                let index = u32::try_from(self.table.len()).unwrap_or(u32::MAX);
                self.table.push(Some(job));
                Slot(index)
            }
        };
        self.by_id.insert(id, slot);
        slot
    }

    pub(crate) fn remove(&mut self, slot: Slot) -> Option<Job> {
        let job = self.table.get_mut(slot.0 as usize)?.take()?;
        self.vacant.push(slot.0);
        self.by_id.remove(&job.id);
        Some(job)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Slot, &Job)> {
        self.by_id.values().filter_map(|slot| Some((*slot, self.get(*slot)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pools::Seat;

    #[test]
    fn a_queued_job_takes_at_most_256_bytes_with_all_its_indexes() {
        // A B-tree filled in ascending order is little more than half full.
        let in_tree = |bytes: usize| bytes * 11 / 6 + 4;
        let total = size_of::<Option<Job>>()
            + in_tree(size_of::<JobId>() + size_of::<Slot>())
            + in_tree(size_of::<Seat>())
            + in_tree(size_of::<(Timestamp, Slot)>());
        assert!(total <= 256, "{total} bytes");
    }
}
