//! A batch taken apart: who waits for what, what the scheduler has to hear, what the board will show.

use std::sync::Arc;

use scheduler::Event;
use uuid::Uuid;

use super::batch::Together;
use super::effects::Returned;
use super::handle::Input;
use super::registry::Change;
use super::rejudge::{Bench, Verdict};
use super::turn::{Batch, Glimpse, Submission, Work};
use super::{Engine, names};
use crate::link::message::{Attempt, Command, Report, Signal};
use crate::store::{FleetFact, JobRecord};

impl Engine {
    pub(super) fn sort(&mut self, batch: Batch, now: i64) -> Work {
        let mut work = Work::default();
        for input in batch.inputs {
            self.sort_input(input, &mut work);
        }
        for (host, report) in batch.reports {
            self.sort_report(host, report, now, &mut work);
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
            Input::SubmitAll { jobs, answer } => work.batches.push(Together { jobs, answer }),
            Input::Forecast { spec, answer } => work.forecasts.push((spec, answer)),
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
                work.drain = true;
            }
        }
    }

    fn sort_report(&mut self, host: usize, report: Report, now: i64, work: &mut Work) {
        let change = match report {
            // Introduced when its link was greeted; a repeat changes nothing.
            Report::Hello { .. } => return,
            // Passed on beside the engine, where its link was greeted.
            Report::Forward { .. } => return,
            Report::Attempt { attempt, signal } => return self.sort_signal(attempt, signal, work),
            Report::Stray { instance, attempt, prompt, ended } => {
                return self.judge_stray(&instance, attempt, prompt, ended);
            }
            Report::Catalogue { hash, body } => return self.read_catalogue(hash, body),
            Report::InstanceUp { instance, facts } => self.registry.up(&instance, facts, now),
            Report::InstanceDown { instance, reason } => self.registry.down(&instance, reason),
            Report::InstanceRestarted { instance } => self.registry.restarted(&instance),
            Report::HostLeaving { within_ms } => {
                let at = within_ms.map(|ms| now.saturating_add(i64::try_from(ms).unwrap_or(i64::MAX)));
                Change { events: self.registry.leaving(host, at), ..Change::default() }
            }
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
        if let Some(id) = change.wanted.and_then(|name| self.registry.id(&name)) {
            // In its lane: the engine itself never waits for a runner, who may be waiting for the engine.
            self.ask(id, |instance| Command::SendCatalogue { instance });
        }
        work.catalogues_changed |= !work.keep.is_empty();
    }

    fn sort_signal(&mut self, attempt: Attempt, signal: Signal, work: &mut Work) {
        match &signal {
            Signal::Frames(frames) if self.is_newest(attempt) => {
                self.feeds.frames(attempt.job, frames.clone())
            }
            Signal::Progress(progress) => work.glimpses.push((attempt, Glimpse::Progress(progress.clone()))),
            Signal::Preview(preview) => work.glimpses.push((attempt, Glimpse::Preview(preview.clone()))),
            Signal::NeedTickets => self.grant(attempt),
            Signal::Made { files, work } => self.metrics.pictures_made(files, *work),
            Signal::Undeliverable { code, .. } => self.metrics.undeliverable(code),
            _ => {}
        }
        if matches!(
            signal,
            Signal::Accepted | Signal::Started | Signal::Executed { .. } | Signal::Lost { .. }
        ) && let Some(took) = self.world.notes.answered(attempt)
        {
            self.metrics.dispatched(!matches!(signal, Signal::Lost { .. }), took);
        }
        let made = matches!(signal, Signal::Made { .. });
        let deliveries = &self.hands.deliveries;
        if matches!(signal, Signal::Executed { .. }) {
            self.world.notes.executed(attempt, self.clock.now().0);
        }
        let heard = self.world.notes.take(attempt, signal, || deliveries.terms(attempt.job));
        work.hear(attempt, heard);
        if made {
            self.grant(attempt);
        }
    }

    /// Whether no later attempt of its job is known.
    fn is_newest(&self, attempt: Attempt) -> bool {
        self.world.notes.newest(attempt.job).is_some_and(|note| note.number == attempt.number)
    }

    fn sort_returned(&mut self, returned: Returned, work: &mut Work) {
        match returned {
            Returned::Signal(attempt, signal) => self.sort_signal(attempt, signal, work),
            Returned::PartnerKeyLost(attempt) => {
                let heard = self.world.notes.partner_key_lost(attempt);
                work.hear(attempt, heard);
            }
            Returned::BadCatalogue { hash, problem } => {
                self.reading.remove(&hash);
                tracing::error!(hash, problem, "an instance's object_info cannot be read; it takes no work");
            }
            Returned::Catalogue { catalogue, body } => {
                let hash = catalogue.hash.clone();
                self.reading.remove(&hash);
                work.keep.push(FleetFact::Catalogue { hash, body });
                work.events.extend(self.registry.learn(catalogue));
                work.fleet_changed = true;
                work.catalogues_changed = true;
            }
            Returned::Judged { judged, settled } => {
                self.judging = false;
                for (job, verdict) in judged {
                    self.apply_verdict(job, verdict, settled, work);
                }
            }
        }
    }

    fn apply_verdict(&mut self, job: Uuid, verdict: Verdict, settled: bool, work: &mut Work) {
        let id = names::job_id(job);
        match verdict {
            Verdict::Runs { requirement, shape } => {
                self.world.provisional.remove(&job);
                if self.world.scheduler.state(id).is_some() {
                    work.records.push(JobRecord::Respecified {
                        job,
                        requirement: requirement.clone(),
                        shape,
                    });
                    work.events.push(Event::Respecified { job: id, requirement, shape });
                }
            }
            // Another instance may offer what these lack: its catalogue is about to be read.
            Verdict::Refused(_) if !settled => {}
            Verdict::Refused(error) => {
                self.world.provisional.remove(&job);
                self.world.notes.refuse(job, error);
                work.events.push(Event::Unrunnable { job: id });
            }
            // Its body could not be read: it is tried again.
            Verdict::Unknown => {}
        }
    }

    fn read_catalogue(&mut self, hash: String, body: Arc<str>) {
        if self.registry.catalogue_known(&hash) || !self.reading.insert(hash.clone()) {
            return;
        }
        tokio::spawn(self.hands.clone().read_catalogue(hash, body));
    }

    /// Has the waiting jobs judged when something new is known of what the fleet can run.
    pub(super) fn judge_waiting(&mut self) {
        if self.judging || self.judged_at == self.knowledge || self.world.provisional.is_empty() {
            return;
        }
        let catalogues = self.registry.catalogues();
        if catalogues.is_empty() {
            return;
        }
        self.judged_at = self.knowledge;
        let settled = self.settled;
        self.judging = true;
        let bench = Bench {
            catalogues,
            settled,
            limits: self.settings.workflow.clone(),
            shared_inputs: self.settings.shared_inputs.clone(),
        };
        let waiting = self.world.provisional.iter().copied().collect();
        tokio::spawn(self.hands.clone().judge_waiting(waiting, bench));
    }
}
