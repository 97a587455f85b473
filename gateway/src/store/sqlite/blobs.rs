//! Bytes and what holds them. Bytes that nothing holds are marked; any use takes the mark off; an hour after it they
//! go (DESIGN §4.8).

use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::codec;
use super::error::StoreFault;
use crate::delivery::Place;
use crate::store::Result;

/// A row of bytes to be made.
pub(super) struct NewBlob<'a> {
    pub(super) id: Uuid,
    pub(super) tenant: u32,
    pub(super) hash: &'a str,
    pub(super) size_bytes: u64,
    pub(super) object_key: &'a str,
    pub(super) place: &'a Place,
}

/// Writes a row and returns its number.
pub(super) fn write(connection: &Connection, blob: &NewBlob<'_>) -> Result<i64> {
    connection
        .prepare_cached(
            "INSERT INTO blobs (id, tenant, hash, size_bytes, object_key, sink) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )
        .or_fault()?
        .execute(params![
            blob.id.as_bytes(),
            blob.tenant,
            blob.hash,
            codec::length(blob.size_bytes)?,
            blob.object_key,
            blob.place.column()
        ])
        .or_fault()?;
    Ok(connection.last_insert_rowid())
}

/// Takes the mark off.
pub(super) fn unmark(connection: &Connection, blob: i64) -> Result<()> {
    connection
        .prepare_cached("UPDATE blobs SET unheld_at = NULL WHERE seq = ?1 AND unheld_at IS NOT NULL")
        .and_then(|mut update| update.execute([blob]))
        .or_fault()?;
    Ok(())
}

/// Marks the bytes unless something holds them still.
pub(super) fn mark_if_unheld(connection: &Connection, blob: i64, now: i64) -> Result<()> {
    connection
        .prepare_cached(
            "UPDATE blobs SET unheld_at = ?2 WHERE seq = ?1 AND unheld_at IS NULL
                AND NOT EXISTS (SELECT 1 FROM assets WHERE blob = ?1)
                AND NOT EXISTS (SELECT 1 FROM outputs WHERE blob = ?1)
                AND NOT EXISTS (SELECT 1 FROM outputs WHERE original = ?1)
                AND NOT EXISTS (SELECT 1 FROM variants WHERE blob = ?1)
                AND NOT EXISTS (SELECT 1 FROM pins WHERE blob = ?1)",
        )
        .and_then(|mut update| update.execute([blob, now]))
        .or_fault()?;
    Ok(())
}

/// Bytes of the tenant with this hash in the gateway's own store, whatever holds them: the oldest row.
pub(super) fn by_hash(connection: &Connection, tenant: u32, hash: &str) -> Result<Option<i64>> {
    connection
        .prepare_cached(
            "SELECT seq FROM blobs WHERE tenant = ?1 AND hash = ?2 AND sink IS NULL ORDER BY seq LIMIT 1",
        )
        .or_fault()?
        .query_row(params![tenant, hash], |row| row.get(0))
        .optional()
        .or_fault()
}

/// Bytes with this hash, in a store of the gateway's, that the tenant may make a record of: held by an unexpired record or by an output of a
/// retained job, or promised to somebody who asked a moment ago. With the time until which they are safe
/// ([`i64::MAX`]: no end known).
pub(super) fn mintable(
    connection: &Connection,
    tenant: u32,
    hash: &str,
    now: i64,
) -> Result<Option<(i64, i64)>> {
    connection
        .prepare_cached(
            "SELECT b.seq, max(b.held_until,
                coalesce((SELECT max(coalesce(a.expires_at, 9223372036854775807)) FROM assets a
                    WHERE a.blob = b.seq), 0),
                coalesce((SELECT max(j.expires_at) FROM outputs o JOIN jobs j ON j.seq = o.job
                    WHERE o.blob = b.seq AND j.tombstone_until IS NULL), 0),
                coalesce((SELECT max(j.expires_at) FROM outputs o JOIN jobs j ON j.seq = o.job
                    WHERE o.original = b.seq AND j.tombstone_until IS NULL), 0)) AS safe_until
             FROM blobs b WHERE b.tenant = ?1 AND b.hash = ?2 AND b.sink IS NOT '' ORDER BY safe_until DESC LIMIT 1",
        )
        .or_fault()?
        .query_row(params![tenant, hash], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
        .or_fault()
        .map(|found: Option<(i64, i64)>| found.filter(|(_, safe_until)| *safe_until > now))
}

/// Promises that the bytes can be made a record of until then.
pub(super) fn promise(connection: &Connection, blob: i64, until: i64) -> Result<()> {
    connection
        .prepare_cached("UPDATE blobs SET held_until = max(held_until, ?2) WHERE seq = ?1")
        .and_then(|mut update| update.execute([blob, until]))
        .or_fault()?;
    Ok(())
}
