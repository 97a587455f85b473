//! Tenants and their keys. Written by the command line too, while a gateway serves.

use std::sync::Arc;

use rusqlite::{Connection, Row, params};

use super::codec;
use super::error::StoreFault;
use crate::store::{KeyRow, NewKey, Result, StoreError, TenantRow};

const KEY: &str =
    "SELECT k.id, k.hash, k.prefix, k.scope, k.created_at, k.revoked_at, t.id, t.name, t.weight,
        t.concurrency, t.settings FROM keys k JOIN tenants t ON t.id = k.tenant";

/// Writes a key, and its tenant if there is none of that name. An existing tenant stays as it is.
pub(super) fn put_key(connection: &Connection, key: &NewKey) -> Result<KeyRow> {
    connection
        .execute(
            "INSERT INTO tenants (name, weight, concurrency) VALUES (?1, ?2, ?3) ON CONFLICT (name) DO NOTHING",
            params![key.tenant, key.weight, key.concurrency],
        )
        .or_fault()?;
    connection
        .execute(
            "INSERT INTO keys (id, hash, prefix, tenant, scope, created_at)
             VALUES (?1, ?2, ?3, (SELECT id FROM tenants WHERE name = ?4), ?5, ?6)",
            params![key.id, key.hash, key.prefix, key.tenant, codec::word(key.scope)?, key.created_at],
        )
        .or_fault()?;
    let mut written = select(connection, &format!("{KEY} WHERE k.id = ?1"), &[&key.id])?;
    written.pop().ok_or_else(|| StoreError::Damaged("a key is not there after its write".into()))
}

/// Revokes by id or by prefix; a key revoked before keeps its time.
pub(super) fn revoke_key(connection: &Connection, id: &str, at: i64) -> Result<bool> {
    let found = connection
        .execute(
            "UPDATE keys SET revoked_at = coalesce(revoked_at, ?2) WHERE id = ?1 OR prefix = ?1",
            params![id, at],
        )
        .or_fault()?;
    Ok(found > 0)
}

/// All keys, in the order of their creation.
pub(super) fn keys(connection: &Connection) -> Result<Vec<KeyRow>> {
    select(connection, &format!("{KEY} ORDER BY k.created_at, k.id"), &[])
}

/// All tenants.
pub(super) fn tenants(connection: &Connection) -> Result<Vec<TenantRow>> {
    let mut statement = connection
        .prepare_cached("SELECT id, name, weight, concurrency, settings FROM tenants ORDER BY id")
        .or_fault()?;
    let mut rows = statement.query([]).or_fault()?;
    let mut tenants = Vec::new();
    while let Some(row) = rows.next().or_fault()? {
        tenants.push(tenant(row, 0)?);
    }
    Ok(tenants)
}

fn select(connection: &Connection, sql: &str, values: &[&dyn rusqlite::ToSql]) -> Result<Vec<KeyRow>> {
    let mut statement = connection.prepare_cached(sql).or_fault()?;
    let mut rows = statement.query(values).or_fault()?;
    let mut keys = Vec::new();
    while let Some(row) = rows.next().or_fault()? {
        let scope: String = row.get(3).or_fault()?;
        keys.push(KeyRow {
            id: row.get(0).or_fault()?,
            hash: row.get(1).or_fault()?,
            prefix: row.get(2).or_fault()?,
            tenant: tenant(row, 6)?,
            scope: codec::from_word(scope)?,
            created_at: row.get(4).or_fault()?,
            revoked_at: row.get(5).or_fault()?,
        });
    }
    Ok(keys)
}

fn tenant(row: &Row<'_>, at: usize) -> Result<TenantRow> {
    let settings: Option<String> = row.get(at + 4).or_fault()?;
    Ok(TenantRow {
        id: row.get(at).or_fault()?,
        name: row.get(at + 1).or_fault()?,
        weight: row.get(at + 2).or_fault()?,
        concurrency: row.get(at + 3).or_fault()?,
        settings: settings.as_deref().map_or_else(|| Ok(Arc::default()), codec::from_json)?,
    })
}
