//! Tenants and their keys, as read. Written by the command line too, while a gateway serves.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row};

use super::codec;
use super::error::StoreFault;
use crate::store::{KeyRow, Result, TenantRow};

const TENANT: &str = "SELECT id, name, weight, concurrency, settings, in_file, retired_at FROM tenants";
const KEY: &str =
    "SELECT k.id, k.hash, k.prefix, k.scope, k.networks, k.created_at, k.expires_at, k.revoked_at,
        t.id, t.name, t.weight, t.concurrency, t.settings, t.in_file, t.retired_at
     FROM keys k JOIN tenants t ON t.id = k.tenant";

/// All keys, in the order of their creation.
pub(super) fn keys(connection: &Connection) -> Result<Vec<KeyRow>> {
    select(connection, &format!("{KEY} ORDER BY k.created_at, k.id"), &[], key)
}

/// A key that is not revoked, by its id or its prefix.
pub(super) fn active_key(connection: &Connection, id: &str) -> Result<Option<KeyRow>> {
    let sql = format!("{KEY} WHERE (k.id = ?1 OR k.prefix = ?1) AND k.revoked_at IS NULL");
    Ok(select(connection, &sql, &[&id], key)?.pop())
}

/// A key by its id.
pub(super) fn key_by_id(connection: &Connection, id: &str) -> Result<Option<KeyRow>> {
    Ok(select(connection, &format!("{KEY} WHERE k.id = ?1"), &[&id], key)?.pop())
}

/// All tenants.
pub(super) fn tenants(connection: &Connection) -> Result<Vec<TenantRow>> {
    select(connection, &format!("{TENANT} ORDER BY id"), &[], |row| tenant(row, 0))
}

/// A tenant by its name.
pub(super) fn by_name(connection: &Connection, name: &str) -> Result<Option<TenantRow>> {
    Ok(select(connection, &format!("{TENANT} WHERE name = ?1"), &[&name], |row| tenant(row, 0))?.pop())
}

/// Bytes of all its files.
pub(super) fn held_bytes(connection: &Connection, tenant: u32) -> Result<u64> {
    let held: Option<i64> = connection
        .prepare_cached("SELECT held_bytes FROM tenants WHERE id = ?1")
        .or_fault()?
        .query_row([tenant], |row| row.get(0))
        .optional()
        .or_fault()?;
    Ok(held.map_or(0, |bytes| u64::try_from(bytes).unwrap_or(0)))
}

fn select<T>(
    connection: &Connection,
    sql: &str,
    values: &[&dyn rusqlite::ToSql],
    read: impl Fn(&Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let mut statement = connection.prepare_cached(sql).or_fault()?;
    let mut rows = statement.query(values).or_fault()?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().or_fault()? {
        found.push(read(row)?);
    }
    Ok(found)
}

fn key(row: &Row<'_>) -> Result<KeyRow> {
    let scope: String = row.get(3).or_fault()?;
    let networks: Option<String> = row.get(4).or_fault()?;
    Ok(KeyRow {
        id: row.get(0).or_fault()?,
        hash: row.get(1).or_fault()?,
        prefix: row.get(2).or_fault()?,
        scope: codec::from_word(scope)?,
        networks: networks.as_deref().map_or_else(|| Ok(Vec::new()), codec::from_json)?,
        created_at: row.get(5).or_fault()?,
        expires_at: row.get(6).or_fault()?,
        revoked_at: row.get(7).or_fault()?,
        tenant: tenant(row, 8)?,
    })
}

fn tenant(row: &Row<'_>, at: usize) -> Result<TenantRow> {
    let settings: Option<String> = row.get(at + 4).or_fault()?;
    Ok(TenantRow {
        id: row.get(at).or_fault()?,
        name: row.get(at + 1).or_fault()?,
        weight: row.get(at + 2).or_fault()?,
        concurrency: row.get(at + 3).or_fault()?,
        settings: settings.as_deref().map_or_else(|| Ok(Arc::default()), codec::from_json)?,
        in_file: row.get(at + 5).or_fault()?,
        retired_at: row.get(at + 6).or_fault()?,
    })
}
