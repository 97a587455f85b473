//! What the scheduler decided about jobs, written down. Each record that touches a job counts its revision up.

use rusqlite::{Connection, OptionalExtension, params};
use scheduler::{AttemptEnd, Learned, Outcome, Requirement, Shape};
use uuid::Uuid;

use super::blobs::{self, NewBlob};
use super::error::StoreFault;
use super::writer::Writer;
use super::{codec, naming, usage};
use crate::store::{JobError, JobRecord, NewOutput, Result, StoreError, Used};

/// Writes one record.
///
/// # Errors
/// [`StoreError::Damaged`] when the job is not open: then store and scheduler disagree, and the turn must not be kept.
pub(super) fn write(writer: &mut Writer, record: JobRecord) -> Result<()> {
    match record {
        JobRecord::Refused { job } => refused(writer, job),
        JobRecord::Placed { job, attempt, instance, prompt, at } => {
            writer.note_time(at);
            placed(&writer.connection, job, &Placed { attempt, instance, prompt, at })
        }
        JobRecord::AttemptEnded { job, attempt, end, message, faults, losses, at } => {
            writer.note_time(at);
            let ended = AttemptOver { attempt, end, message, faults, losses, at };
            attempt_ended(&writer.connection, job, &ended)
        }
        JobRecord::CancelIntended { job } => change(
            &writer.connection,
            "UPDATE jobs SET revision = revision + 1, cancel_requested = 1,
                state = CASE state WHEN 1 THEN 2 ELSE state END WHERE id = ?1 AND state < 3",
            job,
            &[],
        ),
        JobRecord::ClassChanged { job, class } => change(
            &writer.connection,
            "UPDATE jobs SET revision = revision + 1, class = ?2 WHERE id = ?1 AND state < 3",
            job,
            &[&codec::class_code(class)],
        ),
        JobRecord::Respecified { job, requirement, shape } => {
            respecified(&writer.connection, job, &requirement, shape)
        }
        JobRecord::Ended { job, attempt, outcome, error, outputs, used, started_at, at } => {
            writer.note_time(at);
            let end = End { attempt, outcome, error, outputs, used, started_at, at };
            ended(&writer.connection, job, end)
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

fn placed(connection: &Connection, job: Uuid, placed: &Placed) -> Result<()> {
    change(
        connection,
        "UPDATE jobs SET revision = revision + 1, state = CASE cancel_requested WHEN 1 THEN 2 ELSE 1 END,
            attempt = ?2, instance = ?3, placed_at = ?4 WHERE id = ?1 AND state < 3",
        job,
        &[&placed.attempt, &placed.instance, &placed.at],
    )?;
    connection
        .prepare_cached(
            "INSERT INTO attempts (job, number, instance, prompt, placed_at)
             VALUES ((SELECT seq FROM jobs WHERE id = ?1), ?2, ?3, ?4, ?5)",
        )
        .and_then(|mut insert| {
            insert.execute(params![
                job.as_bytes(),
                placed.attempt,
                placed.instance,
                placed.prompt.as_bytes(),
                placed.at
            ])
        })
        .or_fault()?;
    Ok(())
}

fn attempt_ended(connection: &Connection, job: Uuid, over: &AttemptOver) -> Result<()> {
    change(
        connection,
        "UPDATE jobs SET revision = revision + 1, state = 0, faults = ?2, losses = ?3 WHERE id = ?1 AND state < 3",
        job,
        &[&over.faults, &over.losses],
    )?;
    close_attempt(connection, job, over.attempt, &codec::word(over.end)?, over.message.as_deref(), over.at)
}

fn close_attempt(
    connection: &Connection,
    job: Uuid,
    attempt: u32,
    how: &str,
    message: Option<&str>,
    at: i64,
) -> Result<()> {
    connection
        .prepare_cached(
            "UPDATE attempts SET ended_at = ?3, ended_how = ?4, message = ?5
             WHERE job = (SELECT seq FROM jobs WHERE id = ?1) AND number = ?2",
        )
        .and_then(|mut update| update.execute(params![job.as_bytes(), attempt, at, how, message]))
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
}

/// What is known of a job that ends: number, tenant, class, user, template.
type EndedRow = (i64, u32, i64, Option<String>, Option<String>);

fn ended(connection: &Connection, job: Uuid, end: End) -> Result<()> {
    let state = codec::ended_state(end.outcome);
    let error = end.error.as_ref().map(codec::json).transpose()?;
    let row = connection
        .prepare_cached(
            "UPDATE jobs SET revision = revision + 1, state = ?2, error = ?3, started_at = ?4, ended_at = ?5,
                expires_at = ?5 + retention_ms, device_class = ?6, gpu_ms = ?7, price_micros = ?8
             WHERE id = ?1 AND state < 3 RETURNING seq, tenant, class, on_behalf_of, template",
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
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)),
        )
        .optional()
        .or_fault()?;
    let row: EndedRow = row.ok_or_else(|| not_open(job))?;
    let (seq, tenant, class, user, template) = row;
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
        close_attempt(connection, job, attempt, &codec::word(state)?, message, end.at)?;
    }
    write_outputs(connection, seq, tenant, end.outputs)?;
    release_pins(connection, seq, end.at)
}

fn write_outputs(connection: &Connection, job: i64, tenant: u32, outputs: Vec<NewOutput>) -> Result<()> {
    let names = naming::own_names(connection, tenant, outputs.iter().map(|output| output.name.as_str()))?;
    for (output, name) in outputs.into_iter().zip(names) {
        let blob = NewBlob {
            id: output.blob,
            tenant,
            hash: &output.hash,
            size_bytes: output.size_bytes,
            object_key: &output.object_key,
        };
        let blob = blobs::write(connection, &blob)?;
        connection
            .prepare_cached(
                "INSERT INTO outputs (id, job, tenant, node_id, kind, name, content_type, blob)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )
            .or_fault()?
            .execute(params![
                output.id.as_bytes(),
                job,
                tenant,
                output.node_id,
                codec::word(output.kind)?,
                name,
                output.content_type,
                blob
            ])
            .or_fault()?;
    }
    Ok(())
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

fn change(connection: &Connection, sql: &str, job: Uuid, values: &[&dyn rusqlite::ToSql]) -> Result<()> {
    let mut statement = connection.prepare_cached(sql).or_fault()?;
    statement.raw_bind_parameter(1, job.as_bytes()).or_fault()?;
    for (index, value) in values.iter().enumerate() {
        statement.raw_bind_parameter(index + 2, value).or_fault()?;
    }
    if statement.raw_execute().or_fault()? == 0 { Err(not_open(job)) } else { Ok(()) }
}

fn not_open(job: Uuid) -> StoreError {
    StoreError::Damaged(format!("job {job} is not open"))
}
