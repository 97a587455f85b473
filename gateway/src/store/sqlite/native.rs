//! Queue and history of ComfyUI's own API.

use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};
use uuid::Uuid;

use super::error::StoreFault;
use super::{assets, codec, reads};
use crate::store::{AssetRow, HistoryPage, JobRow, NativeJob, OpenNative, Result, StoreError, StoredState};

/// What is shown in the history: what ran, or should have, and was not taken out.
const SHOWN: &str = "face = 1 AND state >= 3 AND tombstone_until IS NULL
    AND (state <> 5 OR started_at IS NOT NULL)
    AND EXISTS (SELECT 1 FROM job_bodies b WHERE b.job = jobs.seq AND b.hidden = 0)";

/// Every open job.
pub(super) fn open(connection: &Connection) -> Result<Vec<OpenNative>> {
    let mut statement = connection
        .prepare(
            "SELECT j.id, j.tenant, b.native FROM jobs j JOIN job_bodies b ON b.job = j.seq
             WHERE j.face = 1 AND j.state < 3 ORDER BY j.seq",
        )
        .or_fault()?;
    let mut rows = statement.query([]).or_fault()?;
    let mut open = Vec::new();
    while let Some(row) = rows.next().or_fault()? {
        let facts: Option<String> = row.get(2).or_fault()?;
        let Some(facts) = facts.as_deref().map(codec::from_json).transpose()? else { continue };
        let job = Uuid::from_bytes(row.get(0).or_fault()?);
        open.push(OpenNative { job, tenant: row.get(1).or_fault()?, facts });
    }
    Ok(open)
}

/// Open jobs of a tenant.
pub(super) fn queue(connection: &Connection, tenant: u32, limit: u32) -> Result<Vec<NativeJob>> {
    let sql = format!("{} WHERE tenant = ?1 AND face = 1 AND state < 3 ORDER BY seq LIMIT ?2", reads::JOB);
    complete(connection, reads::jobs(connection, &sql, &[&tenant, &limit])?)
}

/// Ended jobs of a tenant, oldest first.
pub(super) fn history(connection: &Connection, tenant: u32, page: HistoryPage) -> Result<Vec<NativeJob>> {
    let order = if page.offset.is_some() { "ended_at, seq" } else { "ended_at DESC, seq DESC" };
    let sql = format!("{} WHERE tenant = ?1 AND {SHOWN} ORDER BY {order} LIMIT ?2 OFFSET ?3", reads::JOB);
    let offset = page.offset.unwrap_or(0);
    let mut rows = reads::jobs(connection, &sql, &[&tenant, &page.limit, &offset])?;
    if page.offset.is_none() {
        rows.reverse();
    }
    complete(connection, rows)
}

/// A job by the caller's own id.
pub(super) fn by_prompt_id(connection: &Connection, tenant: u32, id: &str) -> Result<Option<NativeJob>> {
    let sql = format!(
        "{} WHERE tenant = ?1 AND public_id = ?2 AND face = 1 AND tombstone_until IS NULL
         ORDER BY seq DESC LIMIT 1",
        reads::JOB
    );
    one(connection, &sql, &[&tenant, &id])
}

/// A job by its internal id.
pub(super) fn by_id(connection: &Connection, job: Uuid) -> Result<Option<NativeJob>> {
    one(connection, &format!("{} WHERE id = ?1", reads::JOB), &[job.as_bytes()])
}

fn one(connection: &Connection, sql: &str, values: &[&dyn ToSql]) -> Result<Option<NativeJob>> {
    Ok(complete(connection, reads::jobs(connection, sql, values)?)?.pop())
}

/// The rest of each job; those whose body is forgotten are left out.
fn complete(connection: &Connection, rows: Vec<JobRow>) -> Result<Vec<NativeJob>> {
    let mut jobs = Vec::with_capacity(rows.len());
    for row in rows {
        if let Some(job) = with_body(connection, row)? {
            jobs.push(job);
        }
    }
    Ok(jobs)
}

fn with_body(connection: &Connection, row: JobRow) -> Result<Option<NativeJob>> {
    type Body = (String, Option<String>, Option<String>, Option<String>);
    let body: Option<Body> = connection
        .prepare_cached(
            "SELECT b.workflow, b.extra_pnginfo, b.native, b.record
             FROM jobs j JOIN job_bodies b ON b.job = j.seq WHERE j.id = ?1 AND b.hidden = 0",
        )
        .and_then(|mut select| {
            let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
            select.query_row([row.id.as_bytes()], read).optional()
        })
        .or_fault()?;
    let Some((workflow, extra_pnginfo, facts, record)) = body else { return Ok(None) };
    let Some(facts) = facts.as_deref().map(codec::from_json).transpose()? else { return Ok(None) };
    let outputs = match row.state {
        StoredState::Succeeded => super::outputs::of_job(connection, row.id)?,
        _ => Vec::new(),
    };
    let extra_pnginfo = extra_pnginfo.map(Into::into);
    Ok(Some(NativeJob { row, outputs, workflow: workflow.into(), extra_pnginfo, facts, record }))
}

/// Keeps what ComfyUI's history said of a job that is about to end.
pub(super) fn tell(connection: &Connection, job: Uuid, record: &str) -> Result<()> {
    connection
        .prepare_cached("UPDATE job_bodies SET record = ?2 WHERE job = (SELECT seq FROM jobs WHERE id = ?1)")
        .and_then(|mut update| update.execute(params![job.as_bytes(), record]))
        .or_fault()
        .map(drop)
}

/// Takes ended jobs out of the history.
pub(super) fn hide(connection: &Connection, tenant: u32, ids: Option<&[String]>) -> Result<()> {
    let hide = "UPDATE job_bodies SET hidden = 1 WHERE job IN (SELECT seq FROM jobs
        WHERE tenant = ?1 AND face = 1 AND state >= 3 AND tombstone_until IS NULL";
    let Some(ids) = ids else {
        return connection
            .prepare_cached(&format!("{hide})"))
            .and_then(|mut update| update.execute([tenant]))
            .or_fault()
            .map(drop);
    };
    for id in ids {
        connection
            .prepare_cached(&format!("{hide} AND public_id = ?2)"))
            .and_then(|mut update| update.execute(params![tenant, id]))
            .or_fault()?;
    }
    Ok(())
}

/// A tenant's newest output of this name.
pub(super) fn output(connection: &Connection, tenant: u32, name: &str, now: i64) -> Result<Option<AssetRow>> {
    newest(
        connection,
        "SELECT o.id FROM outputs o JOIN jobs j ON j.seq = o.job
         WHERE o.tenant = ?1 AND o.name = ?2 AND o.gone <> 2 AND j.state = 3 AND j.expires_at > ?3
         ORDER BY o.seq DESC LIMIT 1",
        (tenant, name, now),
    )
}

/// A tenant's newest upload of this name.
pub(super) fn upload(connection: &Connection, tenant: u32, name: &str, now: i64) -> Result<Option<AssetRow>> {
    newest(
        connection,
        "SELECT id FROM assets WHERE tenant = ?1 AND file_path = ?2
            AND (expires_at IS NULL OR expires_at > ?3) ORDER BY minted DESC LIMIT 1",
        (tenant, name, now),
    )
}

fn newest(
    connection: &Connection,
    sql: &str,
    (tenant, name, now): (u32, &str, i64),
) -> Result<Option<AssetRow>> {
    let id: Option<[u8; 16]> = connection
        .prepare_cached(sql)
        .and_then(|mut select| select.query_row(params![tenant, name, now], |row| row.get(0)).optional())
        .or_fault()?;
    match id {
        Some(id) => assets::read(connection, tenant, Uuid::from_bytes(id))?
            .map(Some)
            .ok_or_else(|| StoreError::Damaged("a file is not there although its name is".into())),
        None => Ok(None),
    }
}

/// Names of a tenant's newest uploads.
pub(super) fn upload_names(
    connection: &Connection,
    tenant: u32,
    limit: u32,
    now: i64,
) -> Result<Vec<String>> {
    let mut names: Vec<String> = connection
        .prepare_cached(
            "SELECT file_path FROM assets INDEXED BY assets_by_tenant WHERE tenant = ?1
                AND (expires_at IS NULL OR expires_at > ?3) ORDER BY seq DESC LIMIT ?2",
        )
        .and_then(|mut select| select.query_map(params![tenant, limit, now], |row| row.get(0))?.collect())
        .or_fault()?;
    names.sort_unstable();
    names.dedup();
    Ok(names)
}
