//! All that is thrown away and read again when a commit fails: the scheduler, and what was noted beside it.

use std::collections::HashSet;
use std::sync::Arc;

use scheduler::{Decisions, Event, InstanceId, JobSpec, Past, Scheduler, TenantId, Timestamp};
use uuid::Uuid;

use super::names;
use super::notes::Notes;
use super::rejudge;
use crate::store::{JobPlan, NewJob, OpenJob, Result, Store};

/// The engine's memory of open jobs.
pub(super) struct World {
    pub(super) scheduler: Scheduler,
    pub(super) notes: Notes,
    /// Jobs accepted while no catalogue was known.
    pub(super) provisional: HashSet<Uuid>,
}

impl World {
    /// Reads the open jobs and takes them up again. `fleet` introduces the instances first.
    pub(super) async fn restore(
        store: &dyn Store,
        config: scheduler::Config,
        fleet: Vec<Event>,
        now: Timestamp,
        decisions: &mut Decisions,
    ) -> Result<Self> {
        let cell = store.cell();
        let seed = u64::from_le_bytes(cell.as_bytes()[..8].try_into().unwrap_or_default());
        let mut world = Self {
            scheduler: Scheduler::new(config, seed),
            notes: Notes::default(),
            provisional: HashSet::new(),
        };
        for learned in store.learned().await? {
            world.scheduler.handle(now, Event::Remembered(learned), decisions);
        }
        for event in fleet {
            world.scheduler.handle(now, event, decisions);
        }
        let open = store.open_jobs().await?;
        tracing::info!(jobs = open.len(), "open jobs read");
        for job in open {
            world.take_up(cell, job, now, decisions);
        }
        Ok(world)
    }

    fn take_up(&mut self, cell: Uuid, job: OpenJob, now: Timestamp, decisions: &mut Decisions) {
        if job.plan.provisional {
            self.provisional.insert(job.id);
        }
        if let Some(instance) = job.open_on {
            let prompt = names::prompt_id(cell, job.id, job.attempt);
            self.notes.open(job.id, job.attempt, InstanceId(instance), prompt);
        }
        let past = Past {
            attempt: (job.attempt > 0).then_some(scheduler::AttemptNo(job.attempt)),
            open_on: job.open_on.map(InstanceId),
            placed_at: Timestamp(job.placed_at),
            faults: job.faults,
            losses: job.losses,
            cancel_requested: job.cancel_requested,
        };
        let spec = spec(job.tenant, &job.plan, job.accepted_at);
        let event = Event::Restored { job: names::job_id(job.id), spec, past };
        self.scheduler.handle(now, event, decisions);
    }
}

/// A job on its way in, as the scheduler sees it.
pub(super) fn spec_of(job: &NewJob) -> JobSpec {
    JobSpec { queue: job.queue, ..spec(job.tenant, &job.plan, job.accepted_at) }
}

/// A job as the scheduler sees it.
fn spec(tenant: u32, plan: &JobPlan, accepted_at: i64) -> JobSpec {
    JobSpec {
        tenant: TenantId(tenant),
        weight: plan.weight,
        concurrency: plan.concurrency,
        queue: u32::MAX,
        class: plan.class,
        order: plan.order,
        accepted_at: Timestamp(accepted_at),
        start_deadline: plan.start_deadline.map(Timestamp),
        deadline: Timestamp(plan.deadline),
        due_at: plan.due_at.map(Timestamp),
        requirement: if plan.provisional { rejudge::unjudged() } else { Arc::clone(&plan.requirement) },
        shape: plan.shape,
        graph: plan.graph,
    }
}
