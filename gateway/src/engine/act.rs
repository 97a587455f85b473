//! What was decided and is durable, carried out: each effect into its lane, each word to those who wait for it.

use std::sync::Arc;

use scheduler::{AttemptNo, Effect, InstanceId, JobId, Phase, Refusal};
use uuid::Uuid;

use super::effects::Target;
use super::handle::SubmitError;
use super::lanes::Lane;
use super::turn::{Glimpse, Waiting};
use super::{Engine, names};
use crate::link::message::{Attempt, Command, InstanceName};

impl Engine {
    pub(super) fn act(&mut self, effect: Effect, waiting: &mut Waiting) {
        match effect {
            Effect::Admitted { job } => {
                if let Some(waiter) = waiting.remove(&names::uuid(job)) {
                    self.metrics.job_accepted(waiter.class);
                    let _ = waiter.answer.map(|answer| answer.send(Ok(())));
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
            Effect::Preempt { job, attempt, instance } => self.preempt(job, attempt, instance),
            Effect::Settle { job, attempt, instance } => {
                let lane = Lane::Job(names::uuid(job));
                self.command(lane, instance, Command::Settle { attempt: names::attempt(job, attempt) });
            }
            Effect::Free { instance } => self.ask(instance, |instance| Command::Free { instance }),
            Effect::Restart { instance } => self.ask(instance, |instance| Command::Restart { instance }),
            Effect::Announce { job, phase } => self.announce(names::uuid(job), phase),
        }
    }

    /// Asks something of an instance itself, in its lane.
    pub(super) fn ask(&self, id: InstanceId, command: impl FnOnce(InstanceName) -> Command) {
        if let Some(name) = self.registry.name(id) {
            self.command(Lane::Instance(id), id, command(name.clone()));
        }
    }

    fn refuse(&mut self, job: Uuid, refusal: Refusal, waiting: &mut Waiting) {
        self.forget(job, None);
        self.metrics.job_refused(refusal.reason);
        if let Some(waiter) = waiting.remove(&job) {
            let _ = waiter.answer.map(|answer| answer.send(Err(SubmitError::Refused(refusal))));
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
        self.world.notes.sent(target.attempt);
        self.lanes.push(Lane::Instance(instance), Box::pin(self.hands.clone().dispatch(target)));
    }

    fn target(&self, job: JobId, attempt: AttemptNo, instance: InstanceId) -> Option<Target> {
        let id = names::uuid(job);
        Some(Target {
            attempt: names::attempt(job, attempt),
            prompt: names::prompt_id(self.cell, id, attempt.0),
            name: self.registry.name(instance)?.clone(),
            link: self.registry.link(instance)?.clone(),
            partner_key: self.partner_keys.get(&id).cloned(),
            expected_ms: self.world.scheduler.expected_ms(job),
        })
    }

    pub(super) fn grant(&self, attempt: Attempt) {
        let Some(note) = self.world.notes.get(attempt.job, attempt.number) else { return };
        let Some(link) = self.registry.link(note.instance).cloned() else { return };
        // After a rebuild the list is not known yet: the runner tells it before it asks. What is to be made of the files
        // is told when it is made.
        let Some(wanted) = note.files.wanted(attempt).filter(|wanted| !wanted.is_empty()) else { return };
        self.lanes.push(Lane::Job(attempt.job), Box::pin(self.hands.clone().grant(attempt, wanted, link)));
    }

    fn withdraw(&self, job: JobId, attempt: AttemptNo, instance: InstanceId) {
        let id = names::uuid(job);
        let Some(name) = self.registry.name(instance).cloned() else { return };
        let prompt = names::prompt_id(self.cell, id, attempt.0);
        let command = Command::Withdraw { attempt: names::attempt(job, attempt), instance: name, prompt };
        self.command(Lane::Instance(instance), instance, command);
        let note = self.world.notes.get(id, attempt.0);
        let objects = note.map(|note| note.files.objects(names::attempt(job, attempt))).unwrap_or_default();
        if !objects.is_empty() {
            self.lanes.push(Lane::Job(id), Box::pin(self.hands.clone().sweep(objects)));
        }
    }

    fn preempt(&self, job: JobId, attempt: AttemptNo, instance: InstanceId) {
        let Some(name) = self.registry.name(instance).cloned() else { return };
        let prompt = names::prompt_id(self.cell, names::uuid(job), attempt.0);
        let command = Command::Preempt { attempt: names::attempt(job, attempt), instance: name, prompt };
        self.command(Lane::Instance(instance), instance, command);
    }

    pub(super) fn command(&self, lane: Lane, instance: InstanceId, command: Command) {
        let Some(link) = self.registry.link(instance).cloned() else { return };
        self.lanes.push(
            lane,
            Box::pin(async move {
                // A runner that is gone holds nothing to be told about.
                let _ = link.send(command).await;
            }),
        );
    }

    /// A prompt with our mark that its runner does not know: adopted if its attempt is open, else withdrawn unless it is
    /// over anyway.
    pub(super) fn judge_stray(&self, instance: &str, attempt: Attempt, prompt: Uuid, ended: bool) {
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
        if ended {
            return;
        }
        tracing::warn!(instance, job = %attempt.job, attempt = attempt.number, "orphaned prompt withdrawn");
        self.metrics.orphan();
        self.command(Lane::Instance(id), id, Command::Withdraw { attempt, instance: name, prompt });
    }

    pub(super) fn show(&self, attempt: Attempt, glimpse: Glimpse) {
        if let Glimpse::Preview(preview) = &glimpse {
            self.feeds.preview(attempt.job, preview);
        }
        self.board.update(attempt.job, false, |live| {
            if live.attempt != attempt.number {
                return;
            }
            match glimpse {
                Glimpse::Progress(progress) => live.progress = Some(progress),
                Glimpse::Preview(preview) => {
                    let count = live.preview.as_ref().map_or(0, |(count, _)| *count);
                    live.preview = Some((count + 1, Arc::new(preview)));
                }
            }
        });
    }

    fn announce(&mut self, job: Uuid, phase: Phase) {
        let now = self.clock.now().0;
        let attempt = self.world.notes.newest(job).map(|note| (note.number, note.instance));
        let name = attempt.and_then(|(_, instance)| self.registry.name(instance).cloned());
        let held = !phase.is_terminal() && phase != Phase::Queued;
        if phase == Phase::Queued {
            self.feeds.waits_again(job);
        }
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

    /// Forgets what was noted beside a job that has ended; sweeps the objects of attempts that did not win.
    pub(super) fn forget(&mut self, job: Uuid, winner: Option<u32>) {
        self.partner_keys.remove(&job);
        self.world.provisional.remove(&job);
        self.hands.bodies.invalidate(&job);
        let lost = self.world.notes.close(job).into_iter().filter(|note| Some(note.number) != winner);
        let objects: Vec<_> =
            lost.flat_map(|note| note.files.objects(Attempt { job, number: note.number })).collect();
        if !objects.is_empty() {
            self.lanes.push(Lane::Job(job), Box::pin(self.hands.clone().sweep(objects)));
        }
        self.hands.deliveries.forget(job);
    }
}
