//! Deleting all that a tenant has, a bounded part a call, so that it can be repeated until nothing is left.
//!
//! Bytes go before the rows that name them: whoever is interrupted in between finds them again.

use rusqlite::{Connection, params};
use uuid::Uuid;

use super::error::StoreFault;
use super::writer::Writer;
use super::{blobs, outputs, records};
use crate::store::{Erase, Erased, Result};

/// Deletes a part of it.
pub(super) fn erase(writer: &mut Writer, what: &Erase) -> Result<Erased> {
    writer.note_time(what.now);
    let connection = &writer.connection;
    let mut erased = Erased::default();
    for (job, id) in jobs(connection, what, "state >= 3")? {
        delete_job(connection, job, id, what.now)?;
        erased.jobs += 1;
    }
    if erased.jobs < u64::from(what.limit) {
        erased.open = jobs(connection, what, "state < 3")?.into_iter().map(|(_, id)| id).collect();
    }
    erased.assets = delete_assets(connection, what)?;
    if erased.jobs == 0 && erased.open.is_empty() {
        connection
            .prepare_cached("DELETE FROM name_counters WHERE tenant = ?1")
            .and_then(|mut delete| delete.execute([what.tenant]))
            .or_fault()?;
    }
    Ok(erased)
}

fn jobs(connection: &Connection, what: &Erase, which: &str) -> Result<Vec<(i64, Uuid)>> {
    connection
        .prepare_cached(&format!(
            "SELECT seq, id FROM jobs WHERE tenant = ?1 AND +{which} ORDER BY id LIMIT ?2"
        ))
        .and_then(|mut select| {
            select
                .query_map(params![what.tenant, what.limit], |row| {
                    Ok((row.get(0)?, Uuid::from_bytes(row.get(1)?)))
                })?
                .collect()
        })
        .or_fault()
}

/// A job with everything that names it; its body, attempts and pins go with the row.
fn delete_job(connection: &Connection, job: i64, id: Uuid, now: i64) -> Result<()> {
    outputs::forget_job(connection, job, now)?;
    records::forget_labels(connection, job)?;
    connection
        .prepare_cached("DELETE FROM idempotency WHERE job = ?1")
        .and_then(|mut delete| delete.execute([id.as_bytes()]))
        .or_fault()?;
    connection
        .prepare_cached("DELETE FROM jobs WHERE seq = ?1")
        .and_then(|mut delete| delete.execute([job]))
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
pub(super) fn doomed(connection: &Connection, tenant: u32, limit: u32) -> Result<Vec<(i64, String)>> {
    connection
        .prepare_cached(
            "SELECT seq, object_key FROM blobs WHERE tenant = ?1 AND unheld_at IS NOT NULL LIMIT ?2",
        )
        .and_then(|mut select| {
            select.query_map(params![tenant, limit], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
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
