//! What reports said of attempts, until the job ends: the payload of decisions. The scheduler decides by ids alone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use scheduler::{Failure, InstanceId};
use uuid::Uuid;

use super::outputs::{Files, Terms};
use crate::link::message::{Attempt, NodeError, Rejection, Signal};
use crate::store::JobError;

/// Notes on the attempts of open jobs.
#[derive(Default)]
pub(super) struct Notes {
    by_job: HashMap<Uuid, Vec<Note>>,
    /// Why jobs without an attempt cannot run.
    refused: HashMap<Uuid, JobError>,
}

/// Notes on one attempt.
pub(super) struct Note {
    pub(super) number: u32,
    pub(super) instance: InstanceId,
    pub(super) prompt: Uuid,
    pub(super) files: Files,
    error: Option<JobError>,
    message: Option<String>,
    /// What ComfyUI's history said of it.
    pub(super) record: Option<Arc<str>>,
    /// When ComfyUI was done with it, milliseconds since the epoch.
    pub(super) executed_at: Option<i64>,
    /// When its dispatch was handed to its lane; gone once it was answered.
    sent: Option<Instant>,
}

impl Notes {
    /// How long the instance took to answer the dispatch: told once.
    pub(super) fn answered(&mut self, attempt: Attempt) -> Option<Duration> {
        Some(self.get_mut(attempt)?.sent.take()?.elapsed())
    }

    /// The dispatch is on its way.
    pub(super) fn sent(&mut self, attempt: Attempt) {
        if let Some(note) = self.get_mut(attempt) {
            note.sent = Some(Instant::now());
        }
    }

    /// ComfyUI is done with it; the first word counts.
    pub(super) fn executed(&mut self, attempt: Attempt, now: i64) {
        if let Some(note) = self.get_mut(attempt) {
            note.executed_at.get_or_insert(now);
        }
    }

    pub(super) fn open(&mut self, job: Uuid, number: u32, instance: InstanceId, prompt: Uuid) {
        let notes = self.by_job.entry(job).or_default();
        if notes.iter().all(|note| note.number != number) {
            notes.push(Note {
                number,
                instance,
                prompt,
                files: Files::default(),
                error: None,
                message: None,
                record: None,
                executed_at: None,
                sent: None,
            });
        }
    }

    /// Notes why a job that was never placed cannot run.
    pub(super) fn refuse(&mut self, job: Uuid, error: JobError) {
        self.refused.insert(job, error);
    }

    /// Why a job that was never placed cannot run.
    pub(super) fn refusal(&self, job: Uuid) -> Option<&JobError> {
        self.refused.get(&job)
    }

    /// Forgets a job that has ended.
    pub(super) fn close(&mut self, job: Uuid) -> Vec<Note> {
        self.refused.remove(&job);
        self.by_job.remove(&job).unwrap_or_default()
    }

    pub(super) fn get(&self, job: Uuid, number: u32) -> Option<&Note> {
        self.by_job.get(&job)?.iter().find(|note| note.number == number)
    }

    pub(super) fn newest(&self, job: Uuid) -> Option<&Note> {
        self.by_job.get(&job)?.last()
    }

    fn get_mut(&mut self, attempt: Attempt) -> Option<&mut Note> {
        self.by_job.get_mut(&attempt.job)?.iter_mut().find(|note| note.number == attempt.number)
    }

    /// An attempt cannot be sent: the partner key that its job came with was lost with an earlier life.
    pub(super) fn partner_key_lost(&mut self, attempt: Attempt) -> Option<scheduler::Signal> {
        let note = self.get_mut(attempt)?;
        note.error = Some(JobError {
            code: "partner_key_lost".into(),
            message: "the job needs its partner API key, which is kept in memory only and was lost with a restart; \
                      submit it again"
                .into(),
            ..JobError::default()
        });
        Some(scheduler::Signal::InputUnavailable)
    }

    /// Keeps the payload of a signal and returns what the scheduler has to hear; `None`: nothing. `terms` are asked for
    /// when files are listed.
    pub(super) fn take(
        &mut self,
        attempt: Attempt,
        signal: Signal,
        terms: impl FnOnce() -> Terms,
    ) -> Option<scheduler::Signal> {
        use scheduler::Signal as Heard;
        let note = self.get_mut(attempt)?;
        Some(match signal {
            Signal::Accepted => Heard::Accepted,
            Signal::Started => Heard::Started,
            Signal::ContactLost => Heard::ContactLost,
            Signal::Stopped => Heard::Stopped,
            Signal::Executed { files } => {
                note.files.listed(files, terms());
                Heard::Executed
            }
            Signal::Made { files, .. } => {
                if !note.files.made(files) {
                    tracing::error!(job = %attempt.job, "a runner made something of files that it did not list");
                }
                return None;
            }
            Signal::Stored { files } => {
                let count = files.len();
                if !note.files.stored(files) {
                    tracing::error!(job = %attempt.job, listed = note.files.len(), stored = count,
                        "a runner stored another number of files than it listed and made");
                    return None;
                }
                Heard::Published
            }
            Signal::Undeliverable { code, message } => {
                note.error = Some(JobError { code, message, ..JobError::default() });
                Heard::Undeliverable
            }
            Signal::Invalid(rejection) => {
                note.error = Some(rejected(rejection));
                Heard::Invalid
            }
            Signal::NodeFailed(error) => {
                note.error = Some(node_failed(error));
                Heard::NodeFailed
            }
            Signal::OutputTooLarge { message } => {
                note.error =
                    Some(JobError { code: "output_too_large".into(), message, ..JobError::default() });
                Heard::OutputTooLarge
            }
            Signal::InputUnavailable { message } => {
                note.error =
                    Some(JobError { code: "input_unavailable".into(), message, ..JobError::default() });
                Heard::InputUnavailable
            }
            Signal::Lost { end, message } => {
                note.message = Some(message);
                Heard::Lost(end)
            }
            // Not for the scheduler: the board and the lanes take these.
            Signal::Progress(_) => Heard::Progress,
            Signal::Record(record) => {
                note.record = Some(record);
                return None;
            }
            Signal::Preview(_) | Signal::Frames(_) | Signal::NeedTickets => return None,
        })
    }
}

impl Note {
    pub(super) fn message(&self) -> Option<String> {
        self.message.clone()
    }

    /// The error of a failed job, in words a person can act on.
    pub(super) fn error(&self, failure: Failure) -> JobError {
        if let Some(error) = &self.error {
            return error.clone();
        }
        let last = self.message.as_deref().unwrap_or("no particulars were reported");
        let (code, message) = explain(failure, last);
        JobError { code: code.to_owned(), message, ..JobError::default() }
    }
}

/// The error of a job that failed without an attempt.
pub(super) fn error_without_attempt(failure: Failure) -> JobError {
    let (code, message) = explain(failure, "it was never placed");
    JobError { code: code.to_owned(), message, ..JobError::default() }
}

/// The error of a job whose deadline passed; `last` is why its last attempt was lost.
pub(super) fn deadline_error(last: Option<&str>) -> JobError {
    let passed = "a deadline of the job passed before it was done";
    let message = match last {
        Some(last) => format!("{passed}; its last attempt was lost: {last}"),
        None => passed.to_owned(),
    };
    JobError { code: "deadline_exceeded".into(), message, ..JobError::default() }
}

fn explain(failure: Failure, last: &str) -> (&'static str, String) {
    match failure {
        Failure::NodeError => ("node_execution_error", format!("a node raised an error: {last}")),
        Failure::InvalidWorkflow => ("invalid_workflow", format!("ComfyUI refused the workflow: {last}")),
        Failure::PoisonJob => (
            "poison_job",
            format!(
                "it was running each time an instance died, hung or ran out of memory; the last time: {last}"
            ),
        ),
        Failure::OutputTooLarge => ("output_too_large", format!("an output is over its bound: {last}")),
        Failure::Undeliverable => {
            ("undeliverable", format!("its outputs cannot be delivered as it asks: {last}"))
        }
        Failure::OutOfMemory => {
            ("out_of_memory", format!("it needs more memory than any device of the fleet has: {last}"))
        }
        Failure::InputUnavailable => {
            ("input_unavailable", format!("an input cannot be read any more: {last}"))
        }
    }
}

fn rejected(rejection: Rejection) -> JobError {
    JobError {
        code: "invalid_workflow".into(),
        message: rejection.message,
        node_errors: rejection.node_errors,
        ..JobError::default()
    }
}

fn node_failed(error: NodeError) -> JobError {
    let message = match &error.exception_type {
        Some(kind) => format!("{kind}: {}", error.message),
        None => error.message,
    };
    JobError {
        code: "node_execution_error".into(),
        message,
        node_id: error.node_id,
        class_type: error.class_type,
        traceback: error.traceback,
        node_errors: None,
    }
}
