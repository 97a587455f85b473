//! One turn: what came in, what was decided, made durable, then acted upon (DESIGN §4.3).

use std::collections::HashMap;

use scheduler::{AttemptNo, Decisions, Effect, Event, InstanceId, JobId, Outcome, Phase, Record, Refusal, Timestamp};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::effects::{Returned, Target};
use super::handle::{Input, SubmitError};
use super::lanes::Lane;
use super::registry::Change;
use super::rejudge::Verdict;
use super::world::spec;
use super::{Engine, names, records};
use crate::link::message::{Attempt, Command, Report, Secret, Signal};
use crate::store::{AssetAnswer, AssetCall, FleetFact, Inserted, JobRecord, NewJob, Result, Turn};

/// What came in since the last turn.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) inputs: Vec<Input>,
    pub(super) reports: Vec<(usize, Report)>,
    pub(super) returned: Vec<Returned>,
    pub(super) woke: bool,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.inputs.is_empty() && self.reports.is_empty() && self.returned.is_empty() && !self.woke
    }
}

type Answer<T> = oneshot::Sender<T>;

/// Who waits for the admission of which job.
pub(super) type Waiting = HashMap<Uuid, Answer<std::result::Result<(), SubmitError>>>;

/// What a turn writes beside what the scheduler decided.
#[derive(Default)]
pub(super) struct Facts {
    calls: Vec<(AssetCall, Answer<AssetAnswer>)>,
    keep: Vec<FleetFact>,
    records: Vec<JobRecord>,
}

/// A batch taken apart: who waits for what, and what the scheduler has to hear.
#[derive(Default)]
struct Work {
    submissions: Vec<Submission>,
    calls: Vec<(AssetCall, Answer<AssetAnswer>)>,
    events: Vec<Event>,
    keep: Vec<FleetFact>,
    /// Facts that the scheduler does not decide about.
    records: Vec<JobRecord>,
    /// Answered after the commit.
    done: Vec<Answer<()>>,
    cordoned: Vec<(Answer<bool>, bool)>,
    explain: Vec<(Uuid, Answer<Option<scheduler::Explanation>>)>,
    fleet_changed: bool,
    catalogues_changed: bool,
}

struct Submission {
    job: NewJob,
    partner_key: Option<Secret>,
    answer: Answer<std::result::Result<(), SubmitError>>,
}

impl Engine {
    /// Carries out one turn.
    ///
    /// # Errors
    /// The store failed: nothing of the turn may be acted upon, the world must be read again.
    pub(super) async fn turn(&mut self, batch: Batch) -> Result<()> {
        let now = self.clock.now();
        let woke = batch.woke;
        let mut work = self.sort(batch, now.0).await;
        let mut decisions = Decisions::default();
        let mut waiting = Waiting::new();

        let mut turn = None;
        if !work.submissions.is_empty() {
            let mut begun = self.store.begin().await?;
            self.insert(begun.as_mut(), &mut work, &mut waiting, &mut decisions).await?;
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
        self.settle(turn, facts, decisions, waiting, now).await?;
        for caller in work.done {
            let _ = caller.send(());
        }
        for (caller, known) in work.cordoned {
            let _ = caller.send(known);
        }
        for (job, caller) in work.explain {
            let _ = caller.send(self.world.scheduler.explain(now, names::job_id(job)));
        }
        self.show_fleet(work.fleet_changed, work.catalogues_changed);
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
        let counted = crate::engine::metering::count(&records, now);
        let mut rows = records::durable(records, &mut self.world.notes, self.cell, now);
        rows.extend(facts.records);
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
        for effect in effects {
            self.act(effect, &mut waiting);
        }
        for (job, winner) in ended {
            self.forget(job, winner);
        }
        for (answer, caller) in answers.into_iter().zip(callers) {
            let _ = caller.send(answer);
        }
        Ok(())
    }

    async fn sort(&mut self, batch: Batch, now: i64) -> Work {
        let mut work = Work::default();
        for input in batch.inputs {
            self.sort_input(input, &mut work);
        }
        for (host, report) in batch.reports {
            self.sort_report(host, report, now, &mut work).await;
        }
        for returned in batch.returned {
            self.sort_returned(returned, &mut work);
        }
        work
    }

    fn sort_input(&mut self, input: Input, work: &mut Work) {
        match input {
            Input::Submit { job, partner_key, answer } => {
                work.submissions.push(Submission { job: *job, partner_key, answer });
            }
            Input::Cancel { job, answer } => {
                work.events.push(Event::CancelRequested { job: names::job_id(job) });
                work.done.push(answer);
            }
            Input::ChangeClass { job, class, answer } => {
                work.events.push(Event::ClassChanged { job: names::job_id(job), class });
                work.done.push(answer);
            }
            Input::Assets { call, answer } => work.calls.push((call, answer)),
            Input::Explain { job, answer } => work.explain.push((job, answer)),
            Input::Cordon { instance, on, answer } => {
                let id = self.registry.id(&instance);
                work.events.extend(id.map(|instance| Event::Cordoned { instance, on }));
                work.cordoned.push((answer, id.is_some()));
                work.fleet_changed = true;
            }
            Input::Drain => {
                self.draining = true;
                work.events.push(Event::DrainRequested);
            }
        }
    }

    async fn sort_report(&mut self, host: usize, report: Report, now: i64, work: &mut Work) {
        let change = match report {
            Report::Hello { .. } => {
                if let Some(link) = self.registry.host_link(host) {
                    let _ = link.send(Command::Welcome { cell: self.cell }).await;
                }
                return;
            }
            Report::Attempt { attempt, signal } => return self.sort_signal(attempt, signal, work),
            Report::Stray { instance, attempt, prompt } => return self.judge_stray(&instance, attempt, prompt),
            Report::Catalogue { hash, body } => return self.read_catalogue(hash, body),
            Report::InstanceUp { instance, facts } => self.registry.up(&instance, facts, now),
            Report::InstanceDown { instance, reason } => self.registry.down(&instance, reason),
            Report::Spool { full, bytes } => {
                Change { events: self.registry.spool(host, full, bytes), ..Change::default() }
            }
            Report::Devices(devices) => {
                Change { events: self.registry.sampled(host, devices, now), ..Change::default() }
            }
        };
        work.events.extend(change.events);
        work.keep.extend(change.keep.into_iter().map(FleetFact::Instance));
        work.fleet_changed = true;
        if let Some(instance) = change.wanted {
            let link = self.registry.host_link(host);
            if let Some(link) = link {
                let _ = link.send(Command::SendCatalogue { instance }).await;
            }
        }
        work.catalogues_changed |= !work.keep.is_empty();
    }

    fn sort_signal(&mut self, attempt: Attempt, signal: Signal, work: &mut Work) {
        match &signal {
            Signal::Progress(progress) => {
                self.board.update(attempt.job, false, |live| {
                    if live.attempt == attempt.number {
                        live.progress = Some(progress.clone());
                    }
                });
            }
            Signal::Preview(preview) => {
                let preview = std::sync::Arc::new(preview.clone());
                self.board.update(attempt.job, false, |live| {
                    if live.attempt == attempt.number {
                        let count = live.preview.as_ref().map_or(0, |(count, _)| *count);
                        live.preview = Some((count + 1, preview));
                    }
                });
            }
            Signal::NeedTickets => self.grant(attempt),
            _ => {}
        }
        let heard = self.world.notes.take(attempt, signal);
        work.events.extend(heard.map(|signal| Event::Attempt {
            job: names::job_id(attempt.job),
            attempt: AttemptNo(attempt.number),
            signal,
        }));
    }

    fn sort_returned(&mut self, returned: Returned, work: &mut Work) {
        match returned {
            Returned::Signal(attempt, signal) => self.sort_signal(attempt, signal, work),
            Returned::BadCatalogue { hash, problem } => {
                self.reading.remove(&hash);
                tracing::error!(hash, problem, "an instance's object_info cannot be read; it takes no work");
            }
            Returned::Catalogue { catalogue, body, judged } => {
                for (job, verdict) in judged {
                    self.apply_verdict(job, verdict, work);
                }
                let hash = catalogue.hash.clone();
                if !self.world.provisional.is_empty() && self.registry.catalogues().is_empty() {
                    // Accepted while the catalogue was being read: they are judged before anything is placed by it.
                    self.read_again(hash, body);
                    return;
                }
                self.reading.remove(&hash);
                work.keep.push(FleetFact::Catalogue { hash, body });
                work.events.extend(self.registry.learn(catalogue));
                work.fleet_changed = true;
                work.catalogues_changed = true;
            }
        }
    }

    fn apply_verdict(&mut self, job: Uuid, verdict: Verdict, work: &mut Work) {
        let id = names::job_id(job);
        match verdict {
            Verdict::Runs { requirement, shape } => {
                self.world.provisional.remove(&job);
                if self.world.scheduler.state(id).is_some() {
                    work.records.push(JobRecord::Respecified { job, requirement: requirement.clone(), shape });
                    work.events.push(Event::Respecified { job: id, requirement, shape });
                }
            }
            Verdict::Refused(error) => {
                self.world.provisional.remove(&job);
                self.world.notes.refuse(job, error);
                work.events.push(Event::Unrunnable { job: id });
            }
            Verdict::Unknown => {
                // The instance decides.
                self.world.provisional.remove(&job);
            }
        }
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
            let spec = spec(job.tenant, &job.plan, job.accepted_at);
            if job.references.is_empty() {
                self.hands.bodies.insert(job.id, std::sync::Arc::new(job.body.clone()));
            }
            about.push((job.id, spec, job.plan.provisional, partner_key, answer));
            jobs.push(job);
        }
        let inserted = turn.insert(jobs).await?;
        for ((job, spec, provisional, partner_key, answer), inserted) in about.into_iter().zip(inserted) {
            let refusal = match inserted {
                Inserted::Fresh => {
                    waiting.insert(job, answer);
                    if provisional && self.registry.catalogues().is_empty() {
                        self.world.provisional.insert(job);
                    }
                    self.world.partner_keys.extend(partner_key.map(|key| (job, key)));
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
            let _ = answer.send(Err(refusal));
        }
        Ok(())
    }

    fn act(&mut self, effect: Effect, waiting: &mut Waiting) {
        match effect {
            Effect::Admitted { job } => {
                if let Some(answer) = waiting.remove(&names::uuid(job)) {
                    let _ = answer.send(Ok(()));
                }
            }
            Effect::Refused { job, refusal } => self.refuse(names::uuid(job), refusal, waiting),
            Effect::Dispatch { job, attempt, instance } => self.dispatch(job, attempt, instance),
            Effect::LookUp { job, attempt, instance } => {
                if let Some(target) = self.target(job, attempt, instance) {
                    self.lanes.push(Lane::Instance(instance), Box::pin(self.hands.clone().look_up(target)));
                }
            }
            Effect::Grant { job, attempt } => self.grant(names::attempt(job, attempt)),
            Effect::Withdraw { job, attempt, instance } => self.withdraw(job, attempt, instance),
            Effect::Settle { job, attempt, instance } => {
                let lane = Lane::Job(names::uuid(job));
                self.command(lane, instance, Command::Settle { attempt: names::attempt(job, attempt) });
            }
            Effect::Free { instance } => {
                let name = self.registry.name(instance).cloned();
                if let Some(name) = name {
                    self.command(Lane::Instance(instance), instance, Command::Free { instance: name });
                }
            }
            Effect::Restart { instance } => {
                let name = self.registry.name(instance).cloned();
                if let Some(name) = name {
                    self.command(Lane::Instance(instance), instance, Command::Restart { instance: name });
                }
            }
            Effect::Announce { job, phase } => self.announce(names::uuid(job), phase),
        }
    }

    fn refuse(
        &mut self,
        job: Uuid,
        refusal: Refusal,
        waiting: &mut Waiting,
    ) {
        self.forget(job, None);
        if let Some(answer) = waiting.remove(&job) {
            let _ = answer.send(Err(SubmitError::Refused(refusal)));
        }
    }

    fn dispatch(&mut self, job: JobId, attempt: AttemptNo, instance: InstanceId) {
        let name = self.registry.name(instance).cloned();
        self.board.update(names::uuid(job), true, |live| {
            live.attempt = attempt.0;
            live.instance = name;
            live.started_at = None;
            live.progress = None;
        });
        let Some(target) = self.target(job, attempt, instance) else { return };
        self.lanes.push(Lane::Instance(instance), Box::pin(self.hands.clone().dispatch(target)));
    }

    fn target(&self, job: JobId, attempt: AttemptNo, instance: InstanceId) -> Option<Target> {
        let id = names::uuid(job);
        Some(Target {
            attempt: names::attempt(job, attempt),
            prompt: names::prompt_id(self.cell, id, attempt.0),
            name: self.registry.name(instance)?.clone(),
            link: self.registry.link(instance)?.clone(),
            partner_key: self.world.partner_keys.get(&id).cloned(),
            expected_ms: self.world.scheduler.expected_ms(job),
        })
    }

    fn grant(&self, attempt: Attempt) {
        let Some(note) = self.world.notes.get(attempt.job, attempt.number) else { return };
        let Some(link) = self.registry.link(note.instance).cloned() else { return };
        let keys = note.keys(attempt.job);
        self.lanes.push(Lane::Job(attempt.job), Box::pin(self.hands.clone().grant(attempt, keys, link)));
    }

    fn withdraw(&self, job: JobId, attempt: AttemptNo, instance: InstanceId) {
        let id = names::uuid(job);
        let Some(name) = self.registry.name(instance).cloned() else { return };
        let prompt = names::prompt_id(self.cell, id, attempt.0);
        let command = Command::Withdraw { attempt: names::attempt(job, attempt), instance: name, prompt };
        self.command(Lane::Instance(instance), instance, command);
        let keys = self.world.notes.get(id, attempt.0).map(|note| note.keys(id)).unwrap_or_default();
        if !keys.is_empty() {
            let keys = keys.into_iter().map(|(key, _)| key).collect();
            self.lanes.push(Lane::Job(id), Box::pin(self.hands.clone().sweep(keys)));
        }
    }

    fn command(&self, lane: Lane, instance: InstanceId, command: Command) {
        let Some(link) = self.registry.link(instance).cloned() else { return };
        self.lanes.push(
            lane,
            Box::pin(async move {
                // A runner that is gone holds nothing to be told about.
                let _ = link.send(command).await;
            }),
        );
    }

    /// A prompt with our mark that its runner does not know: adopted if its attempt is open, else withdrawn.
    fn judge_stray(&self, instance: &str, attempt: Attempt, prompt: Uuid) {
        let Some(id) = self.registry.id(instance) else { return };
        let Some(name) = self.registry.name(id).cloned() else { return };
        let open = self
            .world
            .notes
            .get(attempt.job, attempt.number)
            .is_some_and(|note| note.instance == id && note.prompt == prompt);
        if open {
            let job = names::job_id(attempt.job);
            if let Some(target) = self.target(job, AttemptNo(attempt.number), id) {
                self.lanes.push(Lane::Instance(id), Box::pin(self.hands.clone().look_up(target)));
            }
            return;
        }
        tracing::warn!(instance, job = %attempt.job, attempt = attempt.number, "orphaned prompt withdrawn");
        self.metrics.orphan();
        self.command(Lane::Instance(id), id, Command::Withdraw { attempt, instance: name, prompt });
    }

    fn announce(&mut self, job: Uuid, phase: Phase) {
        let now = self.clock.now().0;
        let attempt = self.world.notes.newest(job).map(|note| (note.number, note.instance));
        let name = attempt.and_then(|(_, instance)| self.registry.name(instance).cloned());
        let held = !phase.is_terminal() && phase != Phase::Queued;
        self.board.update(job, held, |live| {
            if let Some((number, _)) = attempt {
                live.attempt = number;
            }
            match phase {
                Phase::Queued => (live.instance, live.started_at, live.progress) = (None, None, None),
                Phase::Running => live.started_at = live.started_at.or(Some(now)),
                _ => live.instance = name,
            }
            live.step(phase);
        });
        if !held {
            self.board.release(job);
        }
    }

    fn read_catalogue(&mut self, hash: String, body: std::sync::Arc<str>) {
        if self.registry.catalogue_known(&hash) || !self.reading.insert(hash.clone()) {
            return;
        }
        self.read_again(hash, body);
    }

    fn read_again(&mut self, hash: String, body: std::sync::Arc<str>) {
        let waiting = if self.registry.catalogues().is_empty() {
            self.world.provisional.iter().copied().collect()
        } else {
            Vec::new()
        };
        let hands = self.hands.clone();
        let limits = self.settings.workflow.clone();
        let shared = self.settings.shared_inputs.clone();
        tokio::spawn(hands.read_catalogue(hash, body, waiting, limits, shared));
    }

    /// Forgets what was noted beside a job that has ended; sweeps the objects of attempts that did not win.
    fn forget(&mut self, job: Uuid, winner: Option<u32>) {
        self.world.partner_keys.remove(&job);
        self.world.provisional.remove(&job);
        self.hands.bodies.invalidate(&job);
        let lost = self.world.notes.close(job).into_iter().filter(|note| Some(note.number) != winner);
        let keys: Vec<_> = lost.flat_map(|note| note.keys(job)).map(|(key, _)| key).collect();
        if !keys.is_empty() {
            self.lanes.push(Lane::Job(job), Box::pin(self.hands.clone().sweep(keys)));
        }
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
