//! One turn: what came in, what was decided, made durable, then acted upon (DESIGN §4.3).

use std::collections::HashMap;
use std::sync::Arc;

use scheduler::{Class, Decisions, Effect, Event, Forecast, JobSpec, Outcome, Record, Refusal, Timestamp};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::batch::{Placed, Together};
use super::effects::Returned;
use super::handle::{Input, Readiness, SubmitError};
use super::world::spec_of;
use super::{Engine, metering, names, records};
use crate::link::message::{self, Attempt, Report, Secret};
use crate::store::{AssetAnswer, AssetCall, FleetFact, Inserted, JobRecord, NewJob, Result, Turn, Used};

/// What came in since the last turn.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) inputs: Vec<Input>,
    pub(super) reports: Vec<(usize, Report)>,
    pub(super) returned: Vec<Returned>,
    pub(super) woke: bool,
}

impl Batch {
    pub(super) fn len(&self) -> usize {
        self.inputs.len() + self.reports.len() + self.returned.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.inputs.is_empty() && self.reports.is_empty() && self.returned.is_empty() && !self.woke
    }
}

type Answer<T> = oneshot::Sender<T>;

/// Who waits for the admission of which job.
pub(super) type Waiting = HashMap<Uuid, Waiter>;

/// Somebody who waits for the admission of a job.
pub(super) struct Waiter {
    pub(super) class: Class,
    /// `None`: those who submitted several together are answered once, for all of them.
    pub(super) answer: Option<Answer<std::result::Result<(), SubmitError>>>,
}

/// What a turn writes beside what the scheduler decided.
#[derive(Default)]
pub(super) struct Facts {
    calls: Vec<(AssetCall, Answer<AssetAnswer>)>,
    keep: Vec<FleetFact>,
    records: Vec<JobRecord>,
}

/// A batch taken apart: who waits for what, and what the scheduler has to hear.
#[derive(Default)]
pub(super) struct Work {
    pub(super) submissions: Vec<Submission>,
    pub(super) batches: Vec<Together>,
    pub(super) calls: Vec<(AssetCall, Answer<AssetAnswer>)>,
    pub(super) events: Vec<Event>,
    pub(super) keep: Vec<FleetFact>,
    /// Facts that the scheduler does not decide about.
    pub(super) records: Vec<JobRecord>,
    /// Answered after the commit.
    pub(super) done: Vec<Answer<()>>,
    pub(super) cordoned: Vec<(Answer<bool>, bool)>,
    pub(super) forecasts: Vec<(Box<JobSpec>, Answer<Forecast>)>,
    pub(super) explain: Vec<(Uuid, Answer<Option<scheduler::Explanation>>)>,
    /// For the board, after the transitions of the turn.
    pub(super) glimpses: Vec<(Attempt, Glimpse)>,
    /// Submissions that are no new rows; they may point at rows of this very turn, so they are answered after its end.
    pub(super) declined: Vec<Declined>,
    pub(super) drain: bool,
    pub(super) fleet_changed: bool,
    pub(super) catalogues_changed: bool,
}

impl Work {
    /// Notes what the scheduler has to hear of an attempt.
    pub(super) fn hear(&mut self, attempt: Attempt, signal: Option<scheduler::Signal>) {
        self.events.extend(signal.map(|signal| Event::Attempt {
            job: names::job_id(attempt.job),
            attempt: scheduler::AttemptNo(attempt.number),
            signal,
        }));
    }
}

/// A submission that is no new row, and why.
pub(super) type Declined = (Answer<std::result::Result<(), SubmitError>>, SubmitError);

/// What watchers see of a prompt that runs; never persisted.
pub(super) enum Glimpse {
    Progress(message::Progress),
    Preview(message::Preview),
}

pub(super) struct Submission {
    pub(super) job: NewJob,
    pub(super) partner_key: Option<Secret>,
    pub(super) answer: Answer<std::result::Result<(), SubmitError>>,
}

impl Engine {
    /// Carries out one turn.
    ///
    /// # Errors
    /// The store failed: nothing of the turn may be acted upon, the world must be read again.
    pub(super) async fn turn(&mut self, batch: Batch) -> Result<()> {
        let now = self.clock.now();
        let woke = batch.woke;
        self.metrics.turn_events(batch.len());
        let mut work = self.sort(batch, now.0);
        let mut decisions = Decisions::default();
        let mut waiting = Waiting::new();

        if work.drain {
            self.world.scheduler.handle(now, Event::DrainRequested, &mut decisions);
            self.readiness.send_replace(Readiness::Draining);
        }
        let mut turn = None;
        let mut together = Vec::new();
        if !(work.submissions.is_empty() && work.batches.is_empty()) {
            let mut begun = self.store.begin().await?;
            self.insert(begun.as_mut(), &mut work, &mut waiting, &mut decisions).await?;
            for batch in std::mem::take(&mut work.batches) {
                let placed = self.insert_all(begun.as_mut(), batch, &mut waiting, &mut decisions).await?;
                together.push(placed);
            }
            turn = Some(begun);
        }
        for event in work.events.drain(..) {
            self.world.scheduler.handle(now, event, &mut decisions);
        }
        if woke {
            self.world.scheduler.handle(now, Event::Woke, &mut decisions);
        }
        self.world.scheduler.place(now, &mut decisions);

        let facts = Facts {
            calls: std::mem::take(&mut work.calls),
            keep: std::mem::take(&mut work.keep),
            records: std::mem::take(&mut work.records),
        };
        let refused = refusals(&decisions.effects);
        self.settle(turn, facts, decisions, waiting, now).await?;
        for (caller, why) in work.declined {
            let _ = caller.send(Err(share_refusal(why, &refused)));
        }
        together.into_iter().for_each(Placed::answer);
        for (attempt, glimpse) in work.glimpses {
            self.show(attempt, glimpse);
        }
        for caller in work.done {
            let _ = caller.send(());
        }
        for (caller, known) in work.cordoned {
            let _ = caller.send(known);
        }
        for (spec, caller) in work.forecasts {
            let _ = caller.send(self.world.scheduler.forecast(now, &spec));
        }
        for (job, caller) in work.explain {
            let _ = caller.send(self.world.scheduler.explain(now, names::job_id(job)));
        }
        // Settled, the fleet stays so until something is heard of it; unsettled, time alone may settle it.
        let settled = if self.settled && !work.fleet_changed { true } else { self.registry.is_settled() };
        let catalogues_changed = work.catalogues_changed || settled != self.settled;
        self.settled = settled;
        self.knowledge += u64::from(catalogues_changed);
        self.judge_waiting();
        self.show_fleet(work.fleet_changed, catalogues_changed);
        Ok(())
    }

    /// Makes a turn durable, then acts on it.
    ///
    /// # Errors
    /// The store failed; no effect has run.
    pub(super) async fn settle(
        &mut self,
        mut turn: Option<Box<dyn Turn>>,
        facts: Facts,
        decisions: Decisions,
        mut waiting: Waiting,
        now: Timestamp,
    ) -> Result<()> {
        let Decisions { records, effects } = decisions;
        let ended: Vec<_> = records.iter().filter_map(ended).collect();
        let mut counted = metering::count(&records, now);
        // What is known of a job goes before what was decided about it: its end comes last.
        let mut rows = facts.records;
        let (registry, prices) = (&self.registry, &self.settings.prices);
        let meter = |instance, gpu_ms| {
            let device_class = registry.device_class(instance).unwrap_or("unknown").to_owned();
            Used { price_micros: prices.of(&device_class, gpu_ms), device_class, gpu_ms }
        };
        rows.extend(records::durable(records, &mut self.world.notes, &meter, self.cell, now));
        counted.outputs(&rows);
        let changed: Vec<Uuid> = rows.iter().filter_map(JobRecord::changes).collect();
        let (calls, callers): (Vec<_>, Vec<_>) = facts.calls.into_iter().unzip();
        let mut answers = Vec::new();
        if turn.is_none() && !(rows.is_empty() && calls.is_empty() && facts.keep.is_empty()) {
            turn = Some(self.store.begin().await?);
        }
        if let Some(mut turn) = turn {
            if !calls.is_empty() {
                answers = turn.assets(calls).await?;
            }
            if !facts.keep.is_empty() {
                turn.remember(facts.keep).await?;
            }
            if !rows.is_empty() {
                turn.write(rows).await?;
            }
            let began = std::time::Instant::now();
            turn.commit().await?;
            self.metrics.committed(began.elapsed());
        }

        // Durable. From here on it may be acted upon and told.
        counted.add_to(&self.metrics);
        for job in changed {
            self.board.update(job, false, |live| live.committed += 1);
        }
        for effect in effects {
            self.act(effect, &mut waiting);
        }
        for (job, winner) in ended {
            self.forget(job, winner);
            self.feeds.ended(job);
        }
        for (answer, caller) in answers.into_iter().zip(callers) {
            let _ = caller.send(answer);
        }
        Ok(())
    }

    async fn insert(
        &mut self,
        turn: &mut dyn Turn,
        work: &mut Work,
        waiting: &mut Waiting,
        decisions: &mut Decisions,
    ) -> Result<()> {
        let now = self.clock.now();
        let mut about = Vec::with_capacity(work.submissions.len());
        let mut jobs = Vec::with_capacity(work.submissions.len());
        for Submission { job, partner_key, answer } in work.submissions.drain(..) {
            let spec = spec_of(&job);
            if job.references.is_empty() {
                self.hands.bodies.insert(job.id, Arc::new(job.body.clone()));
            }
            about.push((job.id, spec, job.plan.provisional, partner_key, answer));
            jobs.push(job);
        }
        let inserted = turn.insert(jobs).await?;
        for ((job, spec, provisional, partner_key, answer), inserted) in about.into_iter().zip(inserted) {
            let refusal = match inserted {
                Inserted::Fresh => {
                    waiting.insert(job, Waiter { class: spec.class, answer: Some(answer) });
                    if provisional {
                        self.world.provisional.insert(job);
                        self.knowledge += 1;
                    }
                    self.partner_keys.extend(partner_key.map(|key| (job, key)));
                    self.world.scheduler.handle(
                        now,
                        Event::Submitted { job: names::job_id(job), spec },
                        decisions,
                    );
                    continue;
                }
                Inserted::DuplicateKey { job, same_body, response } => {
                    SubmitError::DuplicateKey { job, same_body, response }
                }
                Inserted::DuplicateId => SubmitError::DuplicateId,
                Inserted::MissingAssets(missing) => SubmitError::MissingAssets(missing),
            };
            self.hands.bodies.invalidate(&job);
            work.declined.push((answer, refusal));
        }
        Ok(())
    }
}

/// The jobs that admission refused in a turn.
fn refusals(effects: &[Effect]) -> HashMap<Uuid, Refusal> {
    let refused = effects.iter().filter_map(|effect| match effect {
        Effect::Refused { job, refusal } => Some((names::uuid(*job), *refusal)),
        _ => None,
    });
    refused.collect()
}

/// A repeat of a key whose first use was refused in the same turn gets the same refusal (DESIGN §4.3).
fn share_refusal(why: SubmitError, refused: &HashMap<Uuid, Refusal>) -> SubmitError {
    match &why {
        SubmitError::DuplicateKey { job, .. } => match refused.get(job) {
            Some(refusal) => SubmitError::Refused(*refusal),
            None => why,
        },
        _ => why,
    }
}

/// A job that ended, and the attempt whose outputs count.
fn ended(record: &Record) -> Option<(Uuid, Option<u32>)> {
    match record {
        Record::Ended { job, attempt, outcome: Outcome::Succeeded, .. } => {
            Some((names::uuid(*job), attempt.map(|attempt| attempt.0)))
        }
        Record::Ended { job, .. } => Some((names::uuid(*job), None)),
        _ => None,
    }
}
