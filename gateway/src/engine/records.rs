//! The scheduler's records, with the payload that reports brought, as the store keeps them.

use scheduler::{InstanceId, Outcome, Record, Timestamp};
use uuid::Uuid;

use super::names;
use super::notes::{self, Notes};
use crate::link::message::Attempt;
use crate::store::{JobError, JobRecord, Used};

/// What a job that succeeded used, given where and how long, milliseconds.
pub(super) type Meter<'a> = &'a dyn Fn(InstanceId, u64) -> Used;

/// Turns what was decided at `now` into rows.
pub(super) fn durable(
    records: Vec<Record>,
    notes: &mut Notes,
    meter: Meter<'_>,
    cell: Uuid,
    now: Timestamp,
) -> Vec<JobRecord> {
    let mut rows = Vec::with_capacity(records.len());
    for record in records {
        rows.extend(told(&record, notes));
        rows.push(one(record, notes, meter, cell, now.0));
    }
    rows
}

/// What ComfyUI's history said of the attempt that ends a job.
fn told(record: &Record, notes: &Notes) -> Option<JobRecord> {
    let Record::Ended { job, attempt, .. } = record else { return None };
    let job = names::uuid(*job);
    let note = attempt.and_then(|attempt| notes.get(job, attempt.0))?;
    Some(JobRecord::Told { job, record: note.record.clone()? })
}

fn one(record: Record, notes: &mut Notes, meter: Meter<'_>, cell: Uuid, now: i64) -> JobRecord {
    match record {
        Record::Refused { job } => JobRecord::Refused { job: names::uuid(job) },
        Record::Placed { job, attempt, instance, at } => {
            let job = names::uuid(job);
            let prompt = names::prompt_id(cell, job, attempt.0);
            notes.open(job, attempt.0, instance, prompt);
            JobRecord::Placed { job, attempt: attempt.0, instance: instance.0, prompt, at: at.0 }
        }
        Record::AttemptEnded { job, attempt, end, faults, losses } => {
            let job = names::uuid(job);
            let message = notes.get(job, attempt.0).and_then(notes::Note::message);
            JobRecord::AttemptEnded { job, attempt: attempt.0, end, message, faults, losses, at: now }
        }
        Record::CancelIntended { job } => JobRecord::CancelIntended { job: names::uuid(job) },
        Record::ClassChanged { job, class } => JobRecord::ClassChanged { job: names::uuid(job), class },
        Record::Ended { job, attempt, started_at, outcome } => {
            let job = names::uuid(job);
            let note = attempt.and_then(|attempt| notes.get(job, attempt.0));
            JobRecord::Ended {
                job,
                attempt: attempt.map(|attempt| attempt.0),
                outcome,
                error: error(outcome, note.or_else(|| notes.newest(job)), notes.refusal(job)),
                outputs: match (outcome, note) {
                    (Outcome::Succeeded, Some(note)) => {
                        note.files.outputs(Attempt { job, number: note.number })
                    }
                    _ => Vec::new(),
                },
                used: match (outcome, note) {
                    (Outcome::Succeeded, Some(note)) => {
                        Some(meter(note.instance, gpu_ms(note, started_at.map(|at| at.0))))
                    }
                    _ => None,
                },
                started_at: started_at.map(|at| at.0),
                at: now,
            }
        }
        Record::Learned(learned) => JobRecord::Learned(learned),
    }
}

/// From its start until it was executed; time that nobody saw begin is not billed.
fn gpu_ms(note: &notes::Note, started_at: Option<i64>) -> u64 {
    let (Some(started_at), Some(executed_at)) = (started_at, note.executed_at) else { return 0 };
    u64::try_from(executed_at.saturating_sub(started_at)).unwrap_or(0)
}

fn error(outcome: Outcome, note: Option<&notes::Note>, refusal: Option<&JobError>) -> Option<JobError> {
    match outcome {
        Outcome::Succeeded | Outcome::Canceled => None,
        Outcome::Expired => Some(notes::deadline_error(note.and_then(notes::Note::message).as_deref())),
        Outcome::Failed(failure) => Some(match (refusal, note) {
            (Some(refusal), _) => refusal.clone(),
            (None, Some(note)) => note.error(failure),
            (None, None) => notes::error_without_attempt(failure),
        }),
    }
}
