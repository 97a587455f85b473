//! Templates: versions are written once and never changed, but for being disabled.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::error::StoreFault;
use crate::store::{EVERYBODY, NewTemplate, PutTemplate, Result, TemplateRow, TemplateVersion};

const TEMPLATE: &str =
    "SELECT tenant, name, version, definition, meta, created_at, disabled_at FROM templates";

/// Keeps a new version, unless the newest one is the same.
pub(super) fn put(connection: &Connection, new: &NewTemplate) -> Result<PutTemplate> {
    let newest: Option<(u32, [u8; 32], Option<i64>)> = connection
        .prepare_cached(
            "SELECT version, hash, disabled_at FROM templates WHERE tenant = ?1 AND name = ?2
             ORDER BY version DESC LIMIT 1",
        )
        .or_fault()?
        .query_row(params![new.tenant, new.name], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()
        .or_fault()?;
    let version = match newest {
        Some((version, hash, None)) if hash == new.hash => {
            return Ok(PutTemplate::Kept { version, fresh: false });
        }
        Some((version, ..)) if version >= new.max_versions => return Ok(PutTemplate::TooManyVersions),
        Some((version, ..)) => version + 1,
        None if names(connection, new.tenant)? >= new.max_names => return Ok(PutTemplate::TooManyNames),
        None => 1,
    };
    connection
        .prepare_cached(
            "INSERT INTO templates (tenant, name, version, definition, meta, hash, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )
        .or_fault()?
        .execute(params![new.tenant, new.name, version, new.definition, new.meta, new.hash, new.created_at])
        .or_fault()?;
    Ok(PutTemplate::Kept { version, fresh: true })
}

fn names(connection: &Connection, tenant: u32) -> Result<u32> {
    connection
        .prepare_cached("SELECT count(DISTINCT name) FROM templates WHERE tenant = ?1")
        .and_then(|mut select| select.query_row([tenant], |row| row.get(0)))
        .or_fault()
}

/// One version of a template that the tenant may use: its own before everybody's. Without a version the newest that is
/// enabled.
pub(super) fn get(
    connection: &Connection,
    tenant: u32,
    name: &str,
    version: Option<u32>,
) -> Result<Option<TemplateRow>> {
    for owner in [tenant, EVERYBODY] {
        let found = match version {
            Some(version) => one(connection, owner, name, version)?,
            None => newest(connection, owner, name)?,
        };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

fn one(connection: &Connection, tenant: u32, name: &str, version: u32) -> Result<Option<TemplateRow>> {
    connection
        .prepare_cached(&format!("{TEMPLATE} WHERE tenant = ?1 AND name = ?2 AND version = ?3"))
        .and_then(|mut select| select.query_row(params![tenant, name, version], read).optional())
        .or_fault()
}

fn newest(connection: &Connection, tenant: u32, name: &str) -> Result<Option<TemplateRow>> {
    connection
        .prepare_cached(&format!(
            "{TEMPLATE} WHERE tenant = ?1 AND name = ?2 AND disabled_at IS NULL ORDER BY version DESC LIMIT 1"
        ))
        .and_then(|mut select| select.query_row(params![tenant, name], read).optional())
        .or_fault()
}

/// The newest enabled version of each template that the tenant may use, by name.
pub(super) fn list(
    connection: &Connection,
    tenant: u32,
    after: &str,
    limit: u32,
) -> Result<Vec<TemplateRow>> {
    let names: Vec<String> = connection
        .prepare_cached(
            "SELECT DISTINCT name FROM templates WHERE tenant IN (?1, 0) AND name > ?2 AND disabled_at IS NULL
             ORDER BY name LIMIT ?3",
        )
        .and_then(|mut select| select.query_map(params![tenant, after, limit], |row| row.get(0))?.collect())
        .or_fault()?;
    let rows: Result<Vec<_>> = names.iter().map(|name| get(connection, tenant, name, None)).collect();
    Ok(rows?.into_iter().flatten().collect())
}

/// All versions of one owner's template, newest first.
pub(super) fn versions(connection: &Connection, tenant: u32, name: &str) -> Result<Vec<TemplateVersion>> {
    connection
        .prepare_cached(
            "SELECT version, created_at, disabled_at FROM templates WHERE tenant = ?1 AND name = ?2
             ORDER BY version DESC",
        )
        .and_then(|mut select| {
            let read = |row: &Row<'_>| {
                Ok(TemplateVersion {
                    version: row.get(0)?,
                    created_at: row.get(1)?,
                    disabled_at: row.get(2)?,
                })
            };
            select.query_map(params![tenant, name], read)?.collect()
        })
        .or_fault()
}

/// Disables a version, or enables it again; `false` when there is none.
pub(super) fn set_disabled(
    connection: &Connection,
    tenant: u32,
    name: &str,
    version: u32,
    at: Option<i64>,
) -> Result<bool> {
    let found = connection
        .prepare_cached(
            "UPDATE templates SET disabled_at = ?4 WHERE tenant = ?1 AND name = ?2 AND version = ?3",
        )
        .and_then(|mut update| update.execute(params![tenant, name, version, at]))
        .or_fault()?;
    Ok(found > 0)
}

/// Forgets all versions; `false` when there was none.
pub(super) fn delete(connection: &Connection, tenant: u32, name: &str) -> Result<bool> {
    let found = connection
        .prepare_cached("DELETE FROM templates WHERE tenant = ?1 AND name = ?2")
        .and_then(|mut delete| delete.execute(params![tenant, name]))
        .or_fault()?;
    Ok(found > 0)
}

fn read(row: &Row<'_>) -> rusqlite::Result<TemplateRow> {
    Ok(TemplateRow {
        tenant: row.get(0)?,
        name: row.get(1)?,
        version: row.get(2)?,
        definition: row.get(3)?,
        meta: row.get(4)?,
        created_at: row.get(5)?,
        disabled_at: row.get(6)?,
    })
}

/// Forgets versions of a tenant's templates, whatever their names; how many.
pub(super) fn forget(connection: &Connection, tenant: u32, limit: u32) -> Result<u64> {
    let gone = connection
        .prepare_cached(
            "DELETE FROM templates WHERE seq IN (SELECT seq FROM templates WHERE tenant = ?1 LIMIT ?2)",
        )
        .and_then(|mut delete| delete.execute(params![tenant, limit]))
        .or_fault()?;
    Ok(gone as u64)
}

/// Names of a tenant's own templates after this one.
pub(super) fn names_of(connection: &Connection, tenant: u32, after: &str, limit: u32) -> Result<Vec<String>> {
    connection
        .prepare_cached(
            "SELECT DISTINCT name FROM templates WHERE tenant = ?1 AND name > ?2 ORDER BY name LIMIT ?3",
        )
        .and_then(|mut select| select.query_map(params![tenant, after, limit], |row| row.get(0))?.collect())
        .or_fault()
}
