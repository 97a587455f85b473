//! Asset records: names a tenant gives to bytes it holds (CONTRACT §5).

use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::blobs::{self, NewBlob};
use super::error::StoreFault;
use super::writer::Writer;
use super::{codec, outputs};
use crate::delivery::Place;
use crate::store::{AssetAnswer, AssetCall, AssetRow, NewAsset, NewRecord, Result, StoreError};

/// Answers one call.
pub(super) fn call(writer: &mut Writer, call: AssetCall) -> Result<AssetAnswer> {
    match call {
        AssetCall::Mint(asset) => {
            writer.note_time(asset.record.created_at);
            mint(&writer.connection, asset)
        }
        AssetCall::FromHash { asset, hash } => {
            writer.note_time(asset.created_at);
            from_hash(&writer.connection, &asset, &hash)
        }
        AssetCall::Delete { tenant, id, now } => {
            writer.note_time(now);
            delete(&writer.connection, tenant, id, now)
        }
    }
}

fn mint(connection: &Connection, asset: NewAsset) -> Result<AssetAnswer> {
    let NewAsset { record, hash, size_bytes, blob, object_key } = asset;
    if let Some(held) = blobs::by_hash(connection, record.tenant, &hash)? {
        let (asset, fresh) = record_on(connection, &record, held, &hash)?;
        return Ok(AssetAnswer::Minted { asset, fresh, keep: false });
    }
    let place = &Place::Own;
    let new =
        NewBlob { id: blob, tenant: record.tenant, hash: &hash, size_bytes, object_key: &object_key, place };
    let seq = blobs::write(connection, &new)?;
    let (asset, fresh) = record_on(connection, &record, seq, &hash)?;
    Ok(AssetAnswer::Minted { asset, fresh, keep: true })
}

fn from_hash(connection: &Connection, record: &NewRecord, hash: &str) -> Result<AssetAnswer> {
    let Some((held, _)) = blobs::mintable(connection, record.tenant, hash, record.created_at)? else {
        return Ok(AssetAnswer::BlobNotFound);
    };
    let (asset, fresh) = record_on(connection, record, held, hash)?;
    Ok(AssetAnswer::Minted { asset, fresh, keep: false })
}

/// The identical record there is, its life extended, or else a new one.
fn record_on(
    connection: &Connection,
    record: &NewRecord,
    blob: i64,
    hash: &str,
) -> Result<(Box<AssetRow>, bool)> {
    let minted: i64 = connection
        .prepare_cached(
            "SELECT coalesce(max(minted), 0) + 1 FROM assets WHERE tenant = ?1 AND file_path = ?2",
        )
        .and_then(|mut select| select.query_row(params![record.tenant, record.file_path], |row| row.get(0)))
        .or_fault()?;
    let identical = extend_identical(connection, record, hash, minted)?;
    let id = match identical {
        Some(id) => id,
        None => {
            write_record(connection, record, blob, minted)?;
            blobs::unmark(connection, blob)?;
            record.id
        }
    };
    let row = read(connection, record.tenant, id)?
        .ok_or_else(|| StoreError::Damaged(format!("asset {id} is not there after its write")))?;
    Ok((Box::new(row), identical.is_none()))
}

fn extend_identical(
    connection: &Connection,
    record: &NewRecord,
    hash: &str,
    minted: i64,
) -> Result<Option<Uuid>> {
    connection
        .prepare_cached(
            "UPDATE assets SET minted = ?6,
                expires_at = CASE WHEN expires_at IS NULL OR ?5 IS NULL THEN NULL ELSE max(expires_at, ?5) END
             WHERE seq = (SELECT a.seq FROM assets a JOIN blobs b ON b.seq = a.blob
                WHERE a.tenant = ?1 AND a.file_path = ?2 AND a.content_type = ?3 AND b.hash = ?4
                    AND (a.expires_at IS NULL OR a.expires_at > ?7)
                ORDER BY a.minted DESC LIMIT 1)
             RETURNING id",
        )
        .or_fault()?
        .query_row(
            params![
                record.tenant,
                record.file_path,
                record.content_type,
                hash,
                record.expires_at,
                minted,
                record.created_at
            ],
            |row| row.get(0).map(Uuid::from_bytes),
        )
        .optional()
        .or_fault()
}

fn write_record(connection: &Connection, record: &NewRecord, blob: i64, minted: i64) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO assets (id, tenant, blob, file_path, content_type, tags, minted, created_at, expires_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )
        .or_fault()?
        .execute(params![
            record.id.as_bytes(),
            record.tenant,
            blob,
            record.file_path,
            record.content_type,
            codec::json(&record.tags)?,
            minted,
            record.created_at,
            record.expires_at
        ])
        .or_fault()?;
    Ok(())
}

fn delete(connection: &Connection, tenant: u32, id: Uuid, now: i64) -> Result<AssetAnswer> {
    let in_table = |sql| {
        connection
            .prepare_cached(sql)
            .and_then(|mut select| select.exists(params![id.as_bytes(), tenant, now]))
            .or_fault()
    };
    let is_record = in_table(
        "SELECT 1 FROM assets WHERE id = ?1 AND tenant = ?2 AND (expires_at IS NULL OR expires_at > ?3)",
    )?;
    if !is_record
        && !in_table("SELECT 1 FROM outputs WHERE id = ?1 AND tenant = ?2 AND gone <> 2 AND ?3 = ?3")?
    {
        return Ok(AssetAnswer::NotFound);
    }
    let is_pinned = connection
        .prepare_cached("SELECT 1 FROM pins WHERE asset = ?1")
        .and_then(|mut select| select.exists([id.as_bytes()]))
        .or_fault()?;
    if is_pinned {
        return Ok(AssetAnswer::InUse);
    }
    if !is_record {
        outputs::forget(connection, id, now)?;
        return Ok(AssetAnswer::Deleted);
    }
    let blob: i64 = connection
        .prepare_cached("DELETE FROM assets WHERE id = ?1 RETURNING blob")
        .and_then(|mut delete| delete.query_row([id.as_bytes()], |row| row.get(0)))
        .or_fault()?;
    blobs::mark_if_unheld(connection, blob, now)?;
    Ok(AssetAnswer::Deleted)
}

const RECORD: &str = "SELECT a.id, a.tenant, b.hash, b.size_bytes, a.content_type, a.file_path, b.object_key,
        a.created_at, a.expires_at, NULL, b.sink
     FROM assets a JOIN blobs b ON b.seq = a.blob WHERE a.id = ?1 AND a.tenant = ?2";
const OUTPUT: &str = "SELECT o.id, o.tenant, b.hash, b.size_bytes, o.content_type, o.name, b.object_key,
        j.ended_at, j.expires_at, j.public_id, b.sink
     FROM outputs o JOIN jobs j ON j.seq = o.job JOIN blobs b ON b.seq = o.blob
     WHERE o.id = ?1 AND o.tenant = ?2 AND o.gone <> 2";
const VARIANT: &str = "SELECT v.id, v.tenant, b.hash, b.size_bytes, v.content_type, v.name, b.object_key,
        j.ended_at, j.expires_at, j.public_id, b.sink
     FROM variants v JOIN outputs o ON o.seq = v.output JOIN jobs j ON j.seq = o.job JOIN blobs b ON b.seq = v.blob
     WHERE v.id = ?1 AND v.tenant = ?2";

/// Uploads of a tenant after a row number, in their order.
pub(super) fn of_tenant(
    connection: &Connection,
    tenant: u32,
    after: i64,
    limit: u32,
) -> Result<Vec<(i64, AssetRow)>> {
    connection
        .prepare_cached(
            "SELECT a.id, a.tenant, b.hash, b.size_bytes, a.content_type, a.file_path, b.object_key, a.created_at,
                a.expires_at, NULL, b.sink, a.seq
             FROM assets a INDEXED BY assets_by_tenant JOIN blobs b ON b.seq = a.blob
             WHERE a.tenant = ?1 AND a.seq > ?2 ORDER BY a.seq LIMIT ?3",
        )
        .and_then(|mut select| {
            select.query_map(params![tenant, after, limit], |row| Ok((row.get(11)?, asset(row)?)))?.collect()
        })
        .or_fault()
}

/// An asset record, an output or a variant of one, past its time or not.
pub(super) fn read(connection: &Connection, tenant: u32, id: Uuid) -> Result<Option<AssetRow>> {
    for sql in [RECORD, OUTPUT, VARIANT] {
        let found = read_from(connection, sql, tenant, id)?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

fn read_from(connection: &Connection, sql: &str, tenant: u32, id: Uuid) -> Result<Option<AssetRow>> {
    connection
        .prepare_cached(sql)
        .or_fault()?
        .query_row(params![id.as_bytes(), tenant], asset)
        .optional()
        .or_fault()
}

fn asset(row: &Row<'_>) -> rusqlite::Result<AssetRow> {
    Ok(AssetRow {
        id: Uuid::from_bytes(row.get(0)?),
        tenant: row.get(1)?,
        hash: row.get(2)?,
        size_bytes: row.get::<_, i64>(3)?.unsigned_abs(),
        content_type: row.get(4)?,
        file_path: row.get(5)?,
        object_key: row.get(6)?,
        created_at: row.get(7)?,
        expires_at: row.get(8)?,
        job: row.get(9)?,
        place: Place::from_column(row.get::<_, Option<String>>(10)?.as_deref()),
    })
}
