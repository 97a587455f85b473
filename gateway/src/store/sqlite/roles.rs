//! Originals and deliverables of an output, which a tenant may keep for different times. A file that is both is kept as
//! long as either, and shown as long as deliverables are.

use rusqlite::{Connection, params};
use uuid::Uuid;

use super::error::StoreFault;
use super::{blobs, outputs};
use crate::store::{OriginalRow, Result};

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// As ComfyUI made it: chaining reads it.
    Original,
    /// What was made of it, variants included: shown to others.
    Deliverable,
}

impl Role {
    /// Jobs whose files of this role are past their time, with two parameters: now, and how many.
    pub(super) fn past(self) -> &'static str {
        match self {
            Self::Original => {
                "SELECT seq FROM jobs WHERE state >= 3 AND originals_for_ms IS NOT NULL AND tombstone_until IS NULL
                    AND ended_at + originals_for_ms <= ?1 ORDER BY ended_at + originals_for_ms LIMIT ?2"
            }
            Self::Deliverable => {
                "SELECT seq FROM jobs WHERE state >= 3 AND deliverables_for_ms IS NOT NULL AND tombstone_until IS NULL
                    AND ended_at + deliverables_for_ms <= ?1 ORDER BY ended_at + deliverables_for_ms LIMIT ?2"
            }
        }
    }

    /// Notes for a job that it is done.
    fn done(self) -> &'static str {
        match self {
            Self::Original => "UPDATE jobs SET originals_for_ms = NULL WHERE seq = ?1",
            Self::Deliverable => "UPDATE jobs SET deliverables_for_ms = NULL WHERE seq = ?1",
        }
    }

    /// In `outputs.gone`.
    fn code(self) -> i64 {
        match self {
            Self::Original => 1,
            Self::Deliverable => 2,
        }
    }
}

/// Originals of a job beside the files that stand for them, and those that are kept for longer.
pub(super) fn originals(connection: &Connection, job: Uuid) -> Result<Vec<OriginalRow>> {
    connection
        .prepare_cached(
            "SELECT o.id, coalesce(o.original_name, o.name), coalesce(o.original_type, o.content_type), b.size_bytes, b.hash,
                b.object_key
             FROM jobs j JOIN outputs o ON o.job = j.seq JOIN blobs b ON b.seq = coalesce(o.original, o.blob)
             WHERE j.id = ?1 AND (o.original IS NOT NULL OR o.gone = 2) ORDER BY o.seq",
        )
        .and_then(|mut select| {
            select
                .query_map([job.as_bytes()], |row| {
                    Ok(OriginalRow {
                        output: Uuid::from_bytes(row.get(0)?),
                        name: row.get(1)?,
                        content_type: row.get(2)?,
                        size_bytes: row.get::<_, i64>(3)?.unsigned_abs(),
                        hash: row.get(4)?,
                        object_key: row.get(5)?,
                    })
                })?
                .collect()
        })
        .or_fault()
}

/// Lets go of the files of a job that have this role and no other.
pub(super) fn let_go(connection: &Connection, job: i64, role: Role, now: i64) -> Result<()> {
    let mut freed = Vec::new();
    if role == Role::Deliverable {
        freed = outputs::forget_variants(connection, job)?;
    }
    freed.extend(forget_without_other(connection, job, role)?);
    freed.extend(match role {
        Role::Original => let_originals_go(connection, job)?,
        Role::Deliverable => let_deliverables_go(connection, job)?,
    });
    connection.prepare_cached(role.done()).and_then(|mut update| update.execute([job])).or_fault()?;
    freed.into_iter().try_for_each(|blob| blobs::mark_if_unheld(connection, blob, now))
}

/// Outputs whose files of the other role went before.
fn forget_without_other(connection: &Connection, job: i64, role: Role) -> Result<Vec<i64>> {
    let pairs: Vec<(i64, Option<i64>)> = connection
        .prepare_cached("DELETE FROM outputs WHERE job = ?1 AND gone NOT IN (0, ?2) RETURNING blob, original")
        .and_then(|mut delete| {
            delete.query_map(params![job, role.code()], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })
        .or_fault()?;
    Ok(pairs.into_iter().flat_map(|(blob, original)| std::iter::once(blob).chain(original)).collect())
}

fn let_originals_go(connection: &Connection, job: i64) -> Result<Vec<i64>> {
    let freed =
        numbers(connection, "SELECT original FROM outputs WHERE job = ?1 AND original IS NOT NULL", job)?;
    execute(connection, "UPDATE outputs SET gone = 1, original = NULL WHERE job = ?1", job)?;
    Ok(freed)
}

fn let_deliverables_go(connection: &Connection, job: i64) -> Result<Vec<i64>> {
    let freed = numbers(connection, "SELECT blob FROM outputs WHERE job = ?1 AND original IS NOT NULL", job)?;
    let hide =
        "UPDATE outputs SET gone = 2, blob = coalesce(original, blob), placeholder = NULL, receipt = NULL,
            variants = 0
        WHERE job = ?1";
    execute(connection, hide, job)?;
    Ok(freed)
}

fn numbers(connection: &Connection, sql: &str, job: i64) -> Result<Vec<i64>> {
    connection
        .prepare_cached(sql)
        .and_then(|mut select| select.query_map([job], |row| row.get(0))?.collect())
        .or_fault()
}

fn execute(connection: &Connection, sql: &str, job: i64) -> Result<()> {
    connection.prepare_cached(sql).and_then(|mut change| change.execute([job])).or_fault()?;
    Ok(())
}
