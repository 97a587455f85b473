//! What the scheduler decided about jobs, written down. Each record that touches a job counts its revision up.

use rusqlite::{Connection, OptionalExtension, params};
use scheduler::{AttemptEnd, Learned, Outcome, Requirement, Shape};
use uuid::Uuid;

use super::error::StoreFault;
use super::events::{self, TOUCHED, Touched};
use super::writer::Writer;
use super::{blobs, codec, native, outputs, residue, usage};
use crate::store::{EventKind, JobError, JobRecord, NewOutput, Result, StoreError, StoredState, Used};

/// Writes one record.
///
/// # Errors
/// [`StoreError::Damaged`] when the job is not open: then store and scheduler disagree, and the turn must not be kept.
pub(super) fn write(writer: &mut Writer, record: JobRecord) -> Result<()> {
    match record {
        JobRecord::Refused { job } => refused(writer, job),
        JobRecord::Placed { job, attempt, instance, prompt, at } => {
            writer.note_time(at);
            placed(writer, job, &Placed { attempt, instance, prompt, at })
        }
        JobRecord::AttemptEnded { job, attempt, end, message, faults, losses, at } => {
            writer.note_time(at);
            let ended = AttemptOver { attempt, end, message, faults, losses, at };
            attempt_ended(writer, job, &ended)
        }
        JobRecord::CancelIntended { job } => change(
            &writer.connection,
            "UPDATE jobs SET revision = revision + 1, cancel_requested = 1,
                state = CASE state WHEN 1 THEN 2 ELSE state END WHERE id = ?1 AND state < 3",
            job,
            &[],
        )
        .map(drop),
        JobRecord::ClassChanged { job, class } => change(
            &writer.connection,
            "UPDATE jobs SET revision = revision + 1, class = ?2 WHERE id = ?1 AND state < 3",
            job,
            &[&codec::class_code(class)],
        )
        .map(drop),
        JobRecord::Respecified { job, requirement, shape } => {
            respecified(&writer.connection, job, &requirement, shape)
        }
        JobRecord::Told { job, record } => native::tell(&writer.connection, job, &record),
        JobRecord::Ended { job, attempt, outcome, error, outputs, used, started_at, at } => {
            writer.note_time(at);
            ended(writer, job, End { attempt, outcome, error, outputs, used, started_at, at })
        }
        JobRecord::Learned(learned) => remember_cost(&writer.connection, learned),
    }
}

struct Placed {
    attempt: u32,
    instance: u32,
    prompt: Uuid,
    at: i64,
}

struct AttemptOver {
    attempt: u32,
    end: AttemptEnd,
    message: Option<String>,
    faults: u32,
    losses: u32,
    at: i64,
}

struct End {
    attempt: Option<u32>,
    outcome: Outcome,
    error: Option<JobError>,
    outputs: Vec<NewOutput>,
    used: Option<Used>,
    started_at: Option<i64>,
    at: i64,
}

/// Takes a job of this very turn out again, with all it claimed.
fn refused(writer: &mut Writer, job: Uuid) -> Result<()> {
    let Some(fresh) = writer.fresh.remove(&job) else {
        return Err(StoreError::Damaged(format!("job {job} was refused after it had been acknowledged")));
    };
    let connection = &writer.connection;
    events::take_back(connection, fresh.event)?;
    if let Some(claim) = fresh.claim {
        connection
            .prepare_cached("DELETE FROM idempotency WHERE claim = ?1")
            .and_then(|mut delete| delete.execute([claim]))
            .or_fault()?;
    }
    release_pins(connection, fresh.seq, writer.now())?;
    forget_labels(connection, fresh.seq)?;
    connection
        .prepare_cached("DELETE FROM jobs WHERE seq = ?1")
        .and_then(|mut delete| delete.execute([fresh.seq]))
        .or_fault()?;
    Ok(())
}

fn placed(writer: &mut Writer, job: Uuid, placed: &Placed) -> Result<()> {
    let connection = &writer.connection;
    let touched = change(
        connection,
        "UPDATE jobs SET revision = revision + 1, state = CASE cancel_requested WHEN 1 THEN 2 ELSE 1 END,
            attempt = ?2, instance = ?3, placed_at = ?4 WHERE id = ?1 AND state < 3",
        job,
        &[&placed.attempt, &placed.instance, &placed.at],
    )?;
    connection
        .prepare_cached(
            "INSERT INTO attempts (job, number, instance, prompt, placed_at)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )
        .and_then(|mut insert| {
            insert.execute(params![
                touched.seq,
                placed.attempt,
                placed.instance,
                placed.prompt.as_bytes(),
                placed.at
            ])
        })
        .or_fault()?;
    events::write(writer, job, &touched, EventKind::Placed, placed.at).map(drop)
}

fn attempt_ended(writer: &mut Writer, job: Uuid, over: &AttemptOver) -> Result<()> {
    let connection = &writer.connection;
    let touched = change(
        connection,
        "UPDATE jobs SET revision = revision + 1, state = 0, faults = ?2, losses = ?3 WHERE id = ?1 AND state < 3",
        job,
        &[&over.faults, &over.losses],
    )?;
    let how = codec::word(over.end)?;
    close_attempt(connection, touched.seq, over.attempt, &how, over.message.as_deref(), over.at)?;
    events::write(writer, job, &touched, EventKind::Requeued, over.at).map(drop)
}

fn close_attempt(
    connection: &Connection,
    job: i64,
    attempt: u32,
    how: &str,
    message: Option<&str>,
    at: i64,
) -> Result<()> {
    connection
        .prepare_cached(
            "UPDATE attempts SET ended_at = ?3, ended_how = ?4, message = ?5
             WHERE job = ?1 AND number = ?2",
        )
        .and_then(|mut update| update.execute(params![job, attempt, at, how, message]))
        .or_fault()?;
    Ok(())
}

fn respecified(connection: &Connection, job: Uuid, requirement: &Requirement, shape: Shape) -> Result<()> {
    change(
        connection,
        "UPDATE jobs SET revision = revision + 1, provisional = 0, parts = ?2, models = ?3, shape = ?4,
            prior_run_ms = ?5, prior_vram_mib = ?6, family = ?7 WHERE id = ?1 AND state < 3",
        job,
        &[
            &codec::parts_bytes(requirement),
            &codec::models_bytes(requirement),
            &shape.id.0.cast_signed(),
            &shape.prior_run_ms,
            &shape.prior_vram_mib,
            &shape.family.0.cast_signed(),
        ],
    )
    .map(drop)
}

/// What is known of a job that ends, beside what every change returns: last attempt, class, user, template.
type EndedRow = (Touched, u32, i64, Option<String>, Option<String>);

fn ended(writer: &mut Writer, job: Uuid, end: End) -> Result<()> {
    let connection = &writer.connection;
    let state = codec::ended_state(end.outcome);
    let error = end.error.as_ref().map(codec::json).transpose()?;
    let row: Option<EndedRow> = connection
        .prepare_cached(
            "UPDATE jobs SET revision = revision + 1, state = ?2, error = ?3, started_at = ?4, ended_at = ?5,
                expires_at = ?5 + retention_ms, device_class = ?6, gpu_ms = ?7, price_micros = ?8
             WHERE id = ?1 AND state < 3
             RETURNING seq, tenant, revision, webhook_events, attempt, class, on_behalf_of, template",
        )
        .or_fault()?
        .query_row(
            params![
                job.as_bytes(),
                codec::state_code(state),
                error,
                end.started_at,
                end.at,
                end.used.as_ref().map(|used| &used.device_class),
                end.used.as_ref().map(|used| codec::length(used.gpu_ms)).transpose()?,
                end.used.as_ref().map(|used| codec::length(used.price_micros)).transpose()?,
            ],
            |row| Ok((Touched::read(row)?, row.get(4)?, row.get(5)?, row.get(6)?, row.get(7)?)),
        )
        .optional()
        .or_fault()?;
    let (touched, last, class, user, template) = row.ok_or_else(|| not_open(job))?;
    let (seq, tenant) = (touched.seq, touched.tenant);
    let counted = usage::Ended {
        tenant,
        class,
        user: user.as_deref(),
        template: template.as_deref(),
        used: end.used.as_ref(),
        outputs: &end.outputs,
        at: end.at,
    };
    usage::count(connection, &counted)?;
    if let Some(attempt) = end.attempt {
        let message = end.error.as_ref().map(|error| error.message.as_str());
        close_attempt(connection, seq, attempt, &codec::word(state)?, message, end.at)?;
    }
    let winner = end.attempt.filter(|_| state == StoredState::Succeeded);
    // nearly always the first attempt wins, and leaves nothing
    if last > u32::from(winner.is_some()) {
        residue::of_attempts(connection, seq, winner, end.at)?;
    }
    outputs::write(connection, seq, tenant, end.outputs)?;
    release_pins(connection, seq, end.at)?;
    events::write(writer, job, &touched, events::kind_of_end(end.outcome), end.at).map(drop)
}

/// Lets go of what the job was to read.
pub(super) fn release_pins(connection: &Connection, job: i64, now: i64) -> Result<()> {
    let blobs: Vec<i64> = connection
        .prepare_cached("DELETE FROM pins WHERE job = ?1 RETURNING blob")
        .and_then(|mut delete| delete.query_map([job], |row| row.get(0))?.collect())
        .or_fault()?;
    blobs.into_iter().try_for_each(|blob| blobs::mark_if_unheld(connection, blob, now))
}

/// Takes the job out of the listing by labels.
pub(super) fn forget_labels(connection: &Connection, job: i64) -> Result<()> {
    let row: (Option<String>, u32, [u8; 16]) = connection
        .prepare_cached("SELECT labels, tenant, id FROM jobs WHERE seq = ?1")
        .and_then(|mut select| select.query_row([job], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))))
        .or_fault()?;
    let (labels, tenant, id) = row;
    for (name, value) in codec::labels(labels.as_deref())? {
        connection
            .prepare_cached(
                "DELETE FROM job_labels WHERE tenant = ?1 AND name = ?2 AND value = ?3 AND job = ?4",
            )
            .and_then(|mut delete| delete.execute(params![tenant, name, value, id]))
            .or_fault()?;
    }
    Ok(())
}

fn remember_cost(connection: &Connection, learned: Learned) -> Result<()> {
    let (kind, subject, class, first, second) = match learned {
        Learned::Run { shape, class, mean_ms, runs } => (0, shape.0, class.0, mean_ms, runs),
        Learned::Load { model, class, mean_ms, loads } => (1, model.0, class.0, mean_ms, loads),
        Learned::Room { shape, above_mib, at_most_mib } => (2, shape.0, 0, above_mib, at_most_mib),
        Learned::Speed { class, family, milli, runs } => (3, family.0, class.0, milli, runs),
    };
    connection
        .prepare_cached(
            "INSERT INTO learned (kind, subject, class, first, second) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (kind, subject, class) DO UPDATE SET first = excluded.first, second = excluded.second",
        )
        .and_then(|mut upsert| {
            upsert.execute(params![kind, subject.cast_signed(), class.cast_signed(), first, second])
        })
        .or_fault()?;
    Ok(())
}

/// Changes an open job; `sql` names it by `?1` and ends with its condition.
fn change(connection: &Connection, sql: &str, job: Uuid, values: &[&dyn rusqlite::ToSql]) -> Result<Touched> {
    let mut statement = connection.prepare_cached(&format!("{sql} {TOUCHED}")).or_fault()?;
    statement.raw_bind_parameter(1, job.as_bytes()).or_fault()?;
    for (index, value) in values.iter().enumerate() {
        statement.raw_bind_parameter(index + 2, value).or_fault()?;
    }
    let mut rows = statement.raw_query();
    let touched = rows.next().or_fault()?.map(Touched::read).transpose().or_fault()?;
    // A statement is over with its last row only.
    while rows.next().or_fault()?.is_some() {}
    touched.ok_or_else(|| not_open(job))
}

fn not_open(job: Uuid) -> StoreError {
    StoreError::Damaged(format!("job {job} is not open"))
}
