//! Housekeeping, one bounded transaction a call.

use rusqlite::{Connection, params};

use super::error::StoreFault;
use super::roles::{self, Role};
use super::writer::Writer;
use super::{blobs, outputs, records, residue};
use crate::delivery::Place;
use crate::store::{Result, StoredObject, Swept};

const HOUR_MS: i64 = 60 * 60 * 1000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// How long bytes stay after the last thing that held them went (DESIGN §4.8).
const UNHELD_FOR_MS: i64 = HOUR_MS;
/// How long a job past its retention answers `expired` (DESIGN §13).
const TOMBSTONE_FOR_MS: i64 = DAY_MS;
/// How long usage is kept.
const USAGE_FOR_MS: i64 = 800 * DAY_MS;
/// How long a catalogue that no instance offers is kept.
const CATALOGUE_FOR_MS: i64 = DAY_MS;

/// Forgets what is past its time, at most `limit` of each kind.
pub(super) fn sweep(writer: &mut Writer, now: i64, limit: u32) -> Result<Swept> {
    writer.note_time(now);
    let connection = &writer.connection;
    let mut swept = Swept::default();
    for job in numbers(
        connection,
        "SELECT seq FROM jobs WHERE state >= 3 AND tombstone_until IS NULL AND expires_at <= ?1
         ORDER BY expires_at LIMIT ?2",
        now,
        limit,
    )? {
        bury(connection, job, now)?;
        swept.jobs += 1;
    }
    swept.jobs += forget_bodies(connection, now, limit)?;
    for role in [Role::Original, Role::Deliverable] {
        swept.jobs += forget_files(connection, role, now, limit)?;
    }
    forget_tombstones(connection, now, limit)?;
    swept.assets = expire_assets(connection, now, limit)?;
    swept.keys = forget_keys(connection, now, limit)?;
    free_blobs(connection, now, limit)?;
    swept.residue = residue::due(connection, now, limit)?;
    forget_catalogues(connection, now, limit)?;
    forget_usage(connection, now, limit)?;
    Ok(swept)
}

/// Bodies of jobs whose tenant keeps them for less time than the records.
fn forget_bodies(connection: &Connection, now: i64, limit: u32) -> Result<u64> {
    let jobs = numbers(
        connection,
        "SELECT seq FROM jobs WHERE state >= 3 AND body_for_ms IS NOT NULL AND tombstone_until IS NULL
            AND ended_at + body_for_ms <= ?1 ORDER BY ended_at + body_for_ms LIMIT ?2",
        now,
        limit,
    )?;
    for job in &jobs {
        for forget in
            ["DELETE FROM job_bodies WHERE job = ?1", "UPDATE jobs SET body_for_ms = NULL WHERE seq = ?1"]
        {
            connection.prepare_cached(forget).and_then(|mut forget| forget.execute([job])).or_fault()?;
        }
    }
    Ok(jobs.len() as u64)
}

/// The same for originals or deliverables.
fn forget_files(connection: &Connection, role: Role, now: i64, limit: u32) -> Result<u64> {
    let jobs = numbers(connection, role.past(), now, limit)?;
    jobs.iter().try_for_each(|job| roles::let_go(connection, *job, role, now))?;
    Ok(jobs.len() as u64)
}

/// Makes a job a tombstone: only its ids and times stay.
fn bury(connection: &Connection, job: i64, now: i64) -> Result<()> {
    outputs::forget_job(connection, job, now)?;
    records::forget_labels(connection, job)?;
    for delete in ["DELETE FROM job_bodies WHERE job = ?1", "DELETE FROM attempts WHERE job = ?1"] {
        connection.prepare_cached(delete).and_then(|mut delete| delete.execute([job])).or_fault()?;
    }
    connection
        .prepare_cached(
            "UPDATE jobs SET revision = revision + 1, state = 6, tombstone_until = ?2, parts = x'', models = x'',
                labels = NULL, error = NULL, delivery = NULL, on_behalf_of = NULL, template = NULL, seeds = NULL
             WHERE seq = ?1",
        )
        .and_then(|mut update| update.execute(params![job, now.saturating_add(TOMBSTONE_FOR_MS)]))
        .or_fault()?;
    Ok(())
}

fn forget_tombstones(connection: &Connection, now: i64, limit: u32) -> Result<()> {
    connection
        .prepare_cached(
            "DELETE FROM jobs WHERE seq IN (SELECT seq FROM jobs WHERE tombstone_until <= ?1 LIMIT ?2)",
        )
        .and_then(|mut delete| delete.execute([now, i64::from(limit)]))
        .or_fault()?;
    Ok(())
}

fn expire_assets(connection: &Connection, now: i64, limit: u32) -> Result<u64> {
    let blobs = numbers(
        connection,
        "DELETE FROM assets WHERE seq IN (SELECT seq FROM assets WHERE expires_at <= ?1 LIMIT ?2) RETURNING blob",
        now,
        limit,
    )?;
    let count = blobs.len() as u64;
    for blob in blobs {
        blobs::mark_if_unheld(connection, blob, now)?;
    }
    Ok(count)
}

fn forget_keys(connection: &Connection, now: i64, limit: u32) -> Result<u64> {
    let forgotten = connection
        .prepare_cached(
            "DELETE FROM idempotency WHERE seq IN
                (SELECT seq FROM idempotency WHERE expires_at <= ?1 LIMIT ?2)",
        )
        .and_then(|mut delete| delete.execute([now, i64::from(limit)]))
        .or_fault()?;
    Ok(forgotten as u64)
}

/// Rows of bytes that nothing holds go; the bytes themselves once that is durable. A caller's bucket is not ours to tidy.
fn free_blobs(connection: &Connection, now: i64, limit: u32) -> Result<()> {
    let freed: Vec<StoredObject> = connection
        .prepare_cached(
            "DELETE FROM blobs WHERE seq IN
                (SELECT seq FROM blobs WHERE unheld_at <= ?1 AND held_until <= ?2 LIMIT ?3)
             RETURNING object_key, sink",
        )
        .and_then(|mut delete| {
            delete
                .query_map([now.saturating_sub(UNHELD_FOR_MS), now, i64::from(limit)], |row| {
                    let sink: Option<String> = row.get(1)?;
                    Ok(StoredObject { key: row.get(0)?, place: Place::from_column(sink.as_deref()) })
                })?
                .collect()
        })
        .or_fault()?;
    freed
        .iter()
        .filter(|object| object.place != Place::Caller)
        .try_for_each(|object| residue::of_object(connection, object, now))
}

fn forget_catalogues(connection: &Connection, now: i64, limit: u32) -> Result<()> {
    connection
        .prepare_cached(
            "DELETE FROM catalogues WHERE hash IN (SELECT hash FROM catalogues c WHERE stored_at <= ?1
                AND NOT EXISTS (SELECT 1 FROM instances i WHERE i.catalogue = c.hash) LIMIT ?2)",
        )
        .and_then(|mut delete| delete.execute([now.saturating_sub(CATALOGUE_FOR_MS), i64::from(limit)]))
        .or_fault()?;
    Ok(())
}

fn forget_usage(connection: &Connection, now: i64, limit: u32) -> Result<()> {
    let before = now.saturating_sub(USAGE_FOR_MS).div_euclid(DAY_MS);
    connection
        .prepare_cached("DELETE FROM usage_people WHERE day < ?1")
        .and_then(|mut delete| delete.execute([before]))
        .or_fault()?;
    connection
        .prepare_cached(
            "DELETE FROM usage WHERE (tenant, day, on_behalf_of, template, class, device_class) IN
                (SELECT tenant, day, on_behalf_of, template, class, device_class FROM usage WHERE day < ?1 LIMIT ?2)",
        )
        .and_then(|mut delete| delete.execute([before, i64::from(limit)]))
        .or_fault()?;
    Ok(())
}

fn numbers(connection: &Connection, sql: &str, now: i64, limit: u32) -> Result<Vec<i64>> {
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.query_map([now, i64::from(limit)], |row| row.get(0))?.collect())
        .or_fault()
}
