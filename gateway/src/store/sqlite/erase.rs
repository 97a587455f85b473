//! Deleting all that a tenant has, a bounded part a call, so that it can be repeated until nothing is left.
//!
//! Bytes go before the rows that name them: whoever is interrupted in between finds them again.

use rusqlite::{Connection, params};
use uuid::Uuid;

use super::error::StoreFault;
use super::writer::Writer;
use super::{blobs, events, outbox, outputs, records, templates, usage, userdata};
use crate::delivery::Place;
use crate::store::{Erase, Erased, Result, StoredObject};

/// Deletes a part of it.
pub(super) fn erase(writer: &mut Writer, what: &Erase) -> Result<Erased> {
    writer.note_time(what.now);
    let connection = &writer.connection;
    let mut erased = Erased::default();
    for job in jobs(connection, what, "state >= 3")? {
        delete_job(connection, what.tenant, &job, what.now)?;
        erased.jobs += 1;
    }
    if erased.jobs < u64::from(what.limit) {
        erased.open = jobs(connection, what, "state < 3")?.into_iter().map(|job| job.id).collect();
    }
    erased.others = usage::forget_people(connection, what.tenant, what.user.as_deref(), what.limit)?
        + outbox::forget_receivers(connection, what.tenant, what.limit)?;
    if what.user.is_none() {
        erased.assets = delete_assets(connection, what)?;
        erased.others += templates::forget(connection, what.tenant, what.limit)?;
        erased.others += userdata::forget(connection, what.tenant, what.limit)?;
        if erased.jobs == 0 && erased.open.is_empty() {
            forget_names(connection, what.tenant)?;
        }
    }
    Ok(erased)
}

/// A job to be deleted.
struct Doomed {
    seq: i64,
    id: Uuid,
    batch: Option<[u8; 16]>,
}

fn jobs(connection: &Connection, what: &Erase, which: &str) -> Result<Vec<Doomed>> {
    // A tombstone does not tell for whom it was.
    let whose = match what.user {
        Some(_) => "on_behalf_of = ?3 AND tombstone_until IS NULL",
        None => "?3 IS NULL",
    };
    connection
        .prepare_cached(&format!(
            "SELECT seq, id, batch FROM jobs WHERE tenant = ?1 AND {whose} AND +{which} ORDER BY id LIMIT ?2"
        ))
        .and_then(|mut select| {
            select
                .query_map(params![what.tenant, what.limit, what.user], |row| {
                    Ok(Doomed { seq: row.get(0)?, id: Uuid::from_bytes(row.get(1)?), batch: row.get(2)? })
                })?
                .collect()
        })
        .or_fault()
}

/// A job with everything that names it; its body, attempts, pins and webhook go with the row.
fn delete_job(connection: &Connection, tenant: u32, job: &Doomed, now: i64) -> Result<()> {
    outputs::forget_job(connection, job.seq, now)?;
    records::forget_labels(connection, job.seq)?;
    outbox::forget_job(connection, job.id)?;
    events::forget_job(connection, job.id)?;
    connection
        .prepare_cached("DELETE FROM idempotency WHERE job = ?1")
        .and_then(|mut delete| delete.execute([job.id.as_bytes()]))
        .or_fault()?;
    if let Some(batch) = job.batch {
        forget_key_of_batch(connection, tenant, batch)?;
    }
    connection
        .prepare_cached("DELETE FROM jobs WHERE seq = ?1")
        .and_then(|mut delete| delete.execute([job.seq]))
        .or_fault()?;
    Ok(())
}

/// The first answer to a batch tells of all its jobs.
fn forget_key_of_batch(connection: &Connection, tenant: u32, batch: [u8; 16]) -> Result<()> {
    connection
        .prepare_cached(
            "DELETE FROM idempotency WHERE job IN (SELECT id FROM jobs WHERE tenant = ?1 AND batch = ?2)",
        )
        .and_then(|mut delete| delete.execute(params![tenant, batch]))
        .or_fault()?;
    Ok(())
}

fn forget_names(connection: &Connection, tenant: u32) -> Result<()> {
    connection
        .prepare_cached("DELETE FROM name_counters WHERE tenant = ?1")
        .and_then(|mut delete| delete.execute([tenant]))
        .or_fault()?;
    Ok(())
}

/// Uploads that no open job reads.
fn delete_assets(connection: &Connection, what: &Erase) -> Result<u64> {
    let freed: Vec<i64> = connection
        .prepare_cached(
            "DELETE FROM assets WHERE seq IN (SELECT seq FROM assets a WHERE tenant = ?1
                AND NOT EXISTS (SELECT 1 FROM pins p WHERE p.asset = a.id) LIMIT ?2) RETURNING blob",
        )
        .and_then(|mut delete| {
            delete.query_map(params![what.tenant, what.limit], |row| row.get(0))?.collect()
        })
        .or_fault()?;
    let count = freed.len() as u64;
    freed.into_iter().try_for_each(|blob| blobs::mark_if_unheld(connection, blob, what.now))?;
    Ok(count)
}

/// Files that nothing holds, whatever was promised to those who asked for them.
pub(super) fn doomed(connection: &Connection, tenant: u32, limit: u32) -> Result<Vec<(i64, StoredObject)>> {
    connection
        .prepare_cached(
            "SELECT seq, object_key, sink FROM blobs WHERE tenant = ?1 AND unheld_at IS NOT NULL LIMIT ?2",
        )
        .and_then(|mut select| {
            select
                .query_map(params![tenant, limit], |row| {
                    let sink: Option<String> = row.get(2)?;
                    let place = Place::from_column(sink.as_deref());
                    Ok((row.get(0)?, StoredObject { place, key: row.get(1)? }))
                })?
                .collect()
        })
        .or_fault()
}

/// Forgets files whose bytes are gone.
pub(super) fn bury(connection: &Connection, blobs: &[i64]) -> Result<()> {
    for blob in blobs {
        connection
            .prepare_cached("DELETE FROM blobs WHERE seq = ?1 AND unheld_at IS NOT NULL")
            .and_then(|mut delete| delete.execute([blob]))
            .or_fault()?;
    }
    Ok(())
}
