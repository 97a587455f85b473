//! What the web editor keeps for its user.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::error::StoreFault;
use crate::store::{NewUserFile, Result, UserFile, UserFileBytes, UserFileChange};

const FILE: &str = "SELECT path, size_bytes, created_at, modified_at FROM userdata";

fn file(row: &Row<'_>) -> rusqlite::Result<UserFile> {
    Ok(UserFile {
        path: row.get(0)?,
        size_bytes: row.get::<_, i64>(1)?.unsigned_abs(),
        created_at: row.get(2)?,
        modified_at: row.get(3)?,
    })
}

fn find(connection: &Connection, tenant: u32, path: &str) -> Result<Option<UserFile>> {
    connection
        .prepare_cached(&format!("{FILE} WHERE tenant = ?1 AND path = ?2"))
        .and_then(|mut select| select.query_row(params![tenant, path], file).optional())
        .or_fault()
}

/// Files under a folder, by path.
pub(super) fn list(connection: &Connection, tenant: u32, folder: &str, limit: u32) -> Result<Vec<UserFile>> {
    // All that begins with the folder and a slash; `0` comes right after the slash.
    let (from, to) = match folder {
        "" => (String::new(), None),
        folder => (format!("{folder}/"), Some(format!("{folder}0"))),
    };
    connection
        .prepare_cached(&format!(
            "{FILE} WHERE tenant = ?1 AND path >= ?2 AND (?3 IS NULL OR path < ?3) ORDER BY path LIMIT ?4"
        ))
        .and_then(|mut select| select.query_map(params![tenant, from, to, limit], file)?.collect())
        .or_fault()
}

/// A file with its bytes.
pub(super) fn read(connection: &Connection, tenant: u32, path: &str) -> Result<Option<UserFileBytes>> {
    connection
        .prepare_cached(
            "SELECT path, size_bytes, created_at, modified_at, body FROM userdata
             WHERE tenant = ?1 AND path = ?2",
        )
        .and_then(|mut select| {
            let read = |row: &Row<'_>| Ok((file(row)?, row.get(4)?));
            select.query_row(params![tenant, path], read).optional()
        })
        .or_fault()
}

/// Keeps a file.
pub(super) fn put(connection: &Connection, new: &NewUserFile) -> Result<UserFileChange> {
    let there = find(connection, new.tenant, &new.path)?;
    if there.is_some() && !new.overwrite {
        return Ok(UserFileChange::Exists);
    }
    let (files, bytes): (u32, i64) = connection
        .prepare_cached("SELECT count(*), coalesce(sum(size_bytes), 0) FROM userdata WHERE tenant = ?1")
        .and_then(|mut select| select.query_row([new.tenant], |row| Ok((row.get(0)?, row.get(1)?))))
        .or_fault()?;
    let before = there.as_ref().map_or(0, |file| file.size_bytes);
    let size = new.body.len() as u64;
    let bytes_after = bytes.unsigned_abs().saturating_sub(before).saturating_add(size);
    if bytes_after > new.max_bytes || (there.is_none() && files >= new.max_files) {
        return Ok(UserFileChange::Full);
    }
    connection
        .prepare_cached(
            "INSERT INTO userdata (tenant, path, body, size_bytes, created_at, modified_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?5) ON CONFLICT (tenant, path) DO UPDATE SET body = excluded.body,
                size_bytes = excluded.size_bytes, modified_at = excluded.modified_at",
        )
        .and_then(|mut upsert| {
            let size = i64::try_from(size).unwrap_or(i64::MAX);
            upsert.execute(params![new.tenant, new.path, new.body, size, new.now])
        })
        .or_fault()?;
    Ok(find(connection, new.tenant, &new.path)?.map_or(UserFileChange::NotFound, UserFileChange::Done))
}

/// Forgets a file.
pub(super) fn delete(connection: &Connection, tenant: u32, path: &str) -> Result<bool> {
    connection
        .prepare_cached("DELETE FROM userdata WHERE tenant = ?1 AND path = ?2")
        .and_then(|mut delete| delete.execute(params![tenant, path]))
        .or_fault()
        .map(|deleted| deleted > 0)
}

/// Gives a file another path.
pub(super) fn rename(
    connection: &Connection,
    tenant: u32,
    (from, to): (&str, &str),
    overwrite: bool,
) -> Result<UserFileChange> {
    let Some(file) = find(connection, tenant, from)? else { return Ok(UserFileChange::NotFound) };
    if from == to {
        return Ok(UserFileChange::Done(file));
    }
    if find(connection, tenant, to)?.is_some() {
        if !overwrite {
            return Ok(UserFileChange::Exists);
        }
        delete(connection, tenant, to)?;
    }
    connection
        .prepare_cached("UPDATE userdata SET path = ?3 WHERE tenant = ?1 AND path = ?2")
        .and_then(|mut update| update.execute(params![tenant, from, to]))
        .or_fault()?;
    Ok(UserFileChange::Done(UserFile { path: to.to_owned(), ..file }))
}

/// Forgets files of a tenant, at most so many.
pub(super) fn forget(connection: &Connection, tenant: u32, limit: u32) -> Result<u64> {
    connection
        .prepare_cached(
            "DELETE FROM userdata WHERE seq IN (SELECT seq FROM userdata WHERE tenant = ?1 LIMIT ?2)",
        )
        .and_then(|mut delete| delete.execute([tenant, limit]))
        .or_fault()
        .map(|deleted| deleted as u64)
}
