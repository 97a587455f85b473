//! Jobs that are submitted together: all of them are accepted, or none. Their rows are inserted first; when one stands
//! in the way, or the door would not let the last of them in, all are taken out again in the same transaction.

use std::sync::Arc;

use scheduler::{Decisions, Event, Refusal, TenantId};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::handle::{SubmitAllError, SubmitError};
use super::turn::{Waiter, Waiting};
use super::world::spec_of;
use super::{Engine, names};
use crate::store::{Inserted, JobRecord, NewJob, Result, Turn};

type Answer = oneshot::Sender<std::result::Result<(), SubmitAllError>>;

/// Jobs of one tenant, and who waits for them.
pub(super) struct Together {
    pub(super) jobs: Vec<NewJob>,
    pub(super) answer: Answer,
}

/// What became of them; told after the commit.
pub(super) struct Placed {
    outcome: std::result::Result<(), SubmitAllError>,
    answer: Answer,
}

impl Placed {
    /// Tells whoever waits.
    pub(super) fn answer(self) {
        let _ = self.answer.send(self.outcome); // They may have left.
    }
}

impl Engine {
    pub(super) async fn insert_all(
        &mut self,
        turn: &mut dyn Turn,
        batch: Together,
        waiting: &mut Waiting,
        decisions: &mut Decisions,
    ) -> Result<Placed> {
        let Together { jobs, answer } = batch;
        let specs: Vec<_> = jobs.iter().map(|job| (job.id, spec_of(job), job.plan.provisional)).collect();
        let bodies: Vec<_> = jobs
            .iter()
            .filter(|job| job.references.is_empty())
            .map(|job| (job.id, Arc::new(job.body.clone())))
            .collect();
        let door = jobs.first().map(|job| (job.tenant, job.queue));
        let inserted = turn.insert(jobs).await?;
        let fresh: Vec<Uuid> = specs
            .iter()
            .zip(&inserted)
            .filter(|(_, inserted)| **inserted == Inserted::Fresh)
            .map(|((id, ..), _)| *id)
            .collect();
        if let Some(error) = obstacle(inserted).or_else(|| self.refusal(door, specs.len())) {
            turn.write(fresh.into_iter().map(|job| JobRecord::Refused { job }).collect()).await?;
            return Ok(Placed { outcome: Err(error), answer });
        }
        for (job, body) in bodies {
            self.hands.bodies.insert(job, body);
        }
        let now = self.clock.now();
        for (job, spec, provisional) in specs {
            waiting.insert(job, Waiter { class: spec.class, answer: None });
            if provisional {
                self.world.provisional.insert(job);
                self.knowledge += 1;
            }
            let event = Event::Submitted { job: names::job_id(job), spec };
            self.world.scheduler.handle(now, event, decisions);
        }
        Ok(Placed { outcome: Ok(()), answer })
    }

    /// The door's refusal of so many jobs at once, of a tenant with a bound of its own.
    fn refusal(&self, door: Option<(u32, u32)>, jobs: usize) -> Option<SubmitAllError> {
        let jobs = u32::try_from(jobs).unwrap_or(u32::MAX);
        let (tenant, queue) = door?;
        let refusal: Refusal = self.world.scheduler.would_refuse(TenantId(tenant), queue, jobs)?;
        self.metrics.job_refused(refusal.reason);
        Some(SubmitError::Refused(refusal).into())
    }
}

/// What stands in the way of all.
fn obstacle(inserted: Vec<Inserted>) -> Option<SubmitAllError> {
    let mut faults = Vec::new();
    for (index, inserted) in inserted.into_iter().enumerate() {
        let fault = match inserted {
            Inserted::Fresh => continue,
            Inserted::DuplicateKey { job, same_body, response } => {
                return Some(SubmitError::DuplicateKey { job, same_body, response }.into());
            }
            Inserted::DuplicateId => SubmitError::DuplicateId,
            Inserted::MissingAssets(missing) => SubmitError::MissingAssets(missing),
        };
        faults.push((index, fault));
    }
    (!faults.is_empty()).then_some(SubmitAllError::Jobs(faults))
}
