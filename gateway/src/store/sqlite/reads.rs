//! Questions about jobs.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};
use scheduler::{FamilyId, Shape, ShapeId};
use uuid::Uuid;

use super::codec::{self, Requirements};
use super::error::StoreFault;
use super::{insert, outputs};
use crate::store::{
    Face, JobBody, JobPlan, JobRow, JobWithOutputs, OpenJob, Replay, Result, StoredState, TemplateUse, Used,
};

/// All that a [`JobRow`] has.
pub(super) const JOB: &str =
    "SELECT id, public_id, jobs.tenant, face, state, revision, class, attempt, instance, faults, losses,
        labels, accepted_at, started_at, ended_at, start_deadline, deadline, expires_at, error, due_at, on_behalf_of,
        template, template_version, seeds, retry_of, batch, device_class, gpu_ms, price_micros FROM jobs";

/// The newest job of that public id; a tombstone among them reads as `expired`.
pub(super) fn job_by_public_id(connection: &Connection, tenant: u32, id: &str) -> Result<Option<JobRow>> {
    let sql = format!("{JOB} WHERE tenant = ?1 AND public_id = ?2 ORDER BY seq DESC LIMIT 1");
    Ok(jobs(connection, &sql, &[&tenant, &id])?.pop())
}

/// A job by its internal id.
pub(super) fn job(connection: &Connection, id: Uuid) -> Result<Option<JobRow>> {
    Ok(jobs(connection, &format!("{JOB} WHERE id = ?1"), &[id.as_bytes()])?.pop())
}

/// A job and, once it has succeeded, its outputs.
pub(super) fn job_with_outputs(connection: &Connection, id: Uuid) -> Result<Option<JobWithOutputs>> {
    let Some(row) = job(connection, id)? else { return Ok(None) };
    let outputs =
        if row.state == StoredState::Succeeded { outputs::of_job(connection, id)? } else { Vec::new() };
    Ok(Some((row, outputs)))
}

/// The newest job of each of these public ids.
pub(super) fn jobs_by_public_ids(
    connection: &Connection,
    tenant: u32,
    ids: &[String],
) -> Result<Vec<JobRow>> {
    let found: Result<Vec<_>> = ids.iter().map(|id| job_by_public_id(connection, tenant, id)).collect();
    Ok(found?.into_iter().flatten().collect())
}

/// The jobs that `sql`, which begins as [`JOB`], finds.
pub(super) fn jobs(connection: &Connection, sql: &str, values: &[&dyn ToSql]) -> Result<Vec<JobRow>> {
    let mut statement = connection.prepare_cached(sql).or_fault()?;
    let mut rows = statement.query(values).or_fault()?;
    let mut jobs = Vec::new();
    while let Some(row) = rows.next().or_fault()? {
        jobs.push(job_row(row)?);
    }
    Ok(jobs)
}

fn job_row(row: &Row<'_>) -> Result<JobRow> {
    let labels: Option<String> = row.get(11).or_fault()?;
    let error: Option<String> = row.get(18).or_fault()?;
    Ok(JobRow {
        id: Uuid::from_bytes(row.get(0).or_fault()?),
        public_id: row.get(1).or_fault()?,
        tenant: row.get(2).or_fault()?,
        face: codec::face(row.get(3).or_fault()?)?,
        state: codec::state(row.get(4).or_fault()?)?,
        revision: row.get::<_, i64>(5).or_fault()?.unsigned_abs(),
        class: codec::class(row.get(6).or_fault()?)?,
        attempt: row.get(7).or_fault()?,
        instance: row.get(8).or_fault()?,
        faults: row.get(9).or_fault()?,
        losses: row.get(10).or_fault()?,
        labels: codec::labels(labels.as_deref())?,
        accepted_at: row.get(12).or_fault()?,
        started_at: row.get(13).or_fault()?,
        ended_at: row.get(14).or_fault()?,
        start_deadline: row.get(15).or_fault()?,
        deadline: row.get(16).or_fault()?,
        expires_at: row.get(17).or_fault()?,
        error: error.as_deref().map(codec::from_json).transpose()?,
        due_at: row.get(19).or_fault()?,
        user: row.get(20).or_fault()?,
        template: template_use(row)?,
        retry_of: row.get(24).or_fault()?,
        batch: row.get::<_, Option<[u8; 16]>>(25).or_fault()?.map(Uuid::from_bytes),
        used: used(row)?,
    })
}

fn used(row: &Row<'_>) -> Result<Option<Used>> {
    let Some(device_class) = row.get(26).or_fault()? else { return Ok(None) };
    let number = |at| row.get::<_, i64>(at).map(i64::unsigned_abs).or_fault();
    Ok(Some(Used { device_class, gpu_ms: number(27)?, price_micros: number(28)? }))
}

fn template_use(row: &Row<'_>) -> Result<Option<TemplateUse>> {
    let (Some(name), Some(version)) = (row.get(21).or_fault()?, row.get(22).or_fault()?) else {
        return Ok(None);
    };
    let seeds: Option<String> = row.get(23).or_fault()?;
    let seeds = seeds.as_deref().map(codec::from_json).transpose()?.unwrap_or_default();
    Ok(Some(TemplateUse { name, version, seeds }))
}

/// All open jobs in the order of acceptance.
pub(super) fn open_jobs(connection: &Connection) -> Result<Vec<OpenJob>> {
    let mut statement = connection
        .prepare(
            "SELECT id, tenant, class, weight, concurrency, sort_order, start_deadline, deadline, provisional, shape,
                prior_run_ms, prior_vram_mib, parts, models, accepted_at, attempt, state, instance, placed_at,
                faults, losses, cancel_requested, family, due_at
             FROM jobs WHERE state < 3 ORDER BY seq",
        )
        .or_fault()?;
    let mut rows = statement.query([]).or_fault()?;
    let mut requirements = Requirements::default();
    let mut jobs = Vec::new();
    while let Some(row) = rows.next().or_fault()? {
        jobs.push(open_job(row, &mut requirements)?);
    }
    Ok(jobs)
}

fn open_job(row: &Row<'_>, requirements: &mut Requirements) -> Result<OpenJob> {
    let blob = |at| row.get_ref(at).or_fault()?.as_blob().map_err(rusqlite::Error::from).or_fault();
    let plan = JobPlan {
        class: codec::class(row.get(2).or_fault()?)?,
        weight: row.get(3).or_fault()?,
        concurrency: row.get(4).or_fault()?,
        order: row.get(5).or_fault()?,
        start_deadline: row.get(6).or_fault()?,
        deadline: row.get(7).or_fault()?,
        due_at: row.get(23).or_fault()?,
        provisional: row.get(8).or_fault()?,
        shape: Shape {
            id: ShapeId(row.get::<_, i64>(9).or_fault()?.cast_unsigned()),
            family: FamilyId(row.get::<_, i64>(22).or_fault()?.cast_unsigned()),
            prior_run_ms: row.get(10).or_fault()?,
            prior_vram_mib: row.get(11).or_fault()?,
        },
        requirement: requirements.read(blob(12)?, blob(13)?)?,
        graph: None,
    };
    let state = codec::state(row.get(16).or_fault()?)?;
    let instance: Option<u32> = row.get(17).or_fault()?;
    Ok(OpenJob {
        id: Uuid::from_bytes(row.get(0).or_fault()?),
        tenant: row.get(1).or_fault()?,
        plan,
        accepted_at: row.get(14).or_fault()?,
        attempt: row.get(15).or_fault()?,
        open_on: instance.filter(|_| matches!(state, StoredState::Placed | StoredState::Canceling)),
        placed_at: row.get(18).or_fault()?,
        faults: row.get(19).or_fault()?,
        losses: row.get(20).or_fault()?,
        cancel_requested: row.get(21).or_fault()?,
    })
}

/// What was submitted, with its references resolved.
pub(super) fn body(connection: &Connection, job: Uuid) -> Result<Option<JobBody>> {
    let mut statement = connection
        .prepare_cached(
            "SELECT b.workflow, b.extra_pnginfo, b.inputs, b.strict, b.needs_partner_key, j.delivery, b.native
             FROM jobs j JOIN job_bodies b ON b.job = j.seq WHERE j.id = ?1",
        )
        .or_fault()?;
    let mut rows = statement.query([job.as_bytes()]).or_fault()?;
    let Some(row) = rows.next().or_fault()? else { return Ok(None) };
    let inputs: Option<String> = row.get(2).or_fault()?;
    let delivery: Option<String> = row.get(5).or_fault()?;
    let native: Option<String> = row.get(6).or_fault()?;
    Ok(Some(JobBody {
        workflow: row.get(0).or_fault()?,
        extra_pnginfo: row.get(1).or_fault()?,
        inputs: inputs.as_deref().map_or_else(|| Ok(Vec::new()), codec::from_json)?,
        strict: row.get(3).or_fault()?,
        needs_partner_key: row.get(4).or_fault()?,
        delivery: delivery.as_deref().map(codec::from_json).transpose()?.map(Arc::new),
        native: native.as_deref().map(codec::from_json).transpose()?.map(Arc::new),
    }))
}

/// What a live key leads to.
pub(super) fn replay(
    connection: &Connection,
    tenant: u32,
    face: Face,
    key: &str,
    now: i64,
) -> Result<Option<Replay>> {
    connection
        .prepare_cached(
            "SELECT job, body_hash, status, response FROM idempotency
             WHERE claim = ?1 AND expires_at > ?2",
        )
        .or_fault()?
        .query_row(params![codec::claim(tenant, face, key), now], |row| {
            Ok(Replay {
                job: Uuid::from_bytes(row.get(0)?),
                body_hash: row.get(1)?,
                response: insert::stored_response(row.get(2)?, row.get(3)?),
            })
        })
        .optional()
        .or_fault()
}

/// The highest time the store was told of.
pub(super) fn latest_time(connection: &Connection) -> Result<i64> {
    connection.query_row("SELECT value FROM meta WHERE name = 'latest_time'", [], |row| row.get(0)).or_fault()
}
