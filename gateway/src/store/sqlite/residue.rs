//! Bytes that have to be removed from the stores. Their rows outlive a crash between a commit and the removal.

use rusqlite::{Connection, params};
use uuid::Uuid;

use super::error::StoreFault;
use crate::delivery::Place;
use crate::store::{Left, Residue, Result, StoreError, StoredObject};

/// An upload ticket lives for an hour: only then an attempt of an ended job can store nothing more.
const ATTEMPT_AFTER_MS: i64 = 65 * 60 * 1000;
/// How long it takes until bytes that were to be removed come again.
const AGAIN_AFTER_MS: i64 = 10 * 60 * 1000;

/// Whatever those attempts of a job stored that did not win has to go. Only once the job has ended: until then the set
/// of any of them may still be the one that counts.
pub(super) fn of_attempts(connection: &Connection, job: i64, winner: Option<u32>, now: i64) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO residue (job, attempt, due_at)
             SELECT j.id, a.number, ?3 FROM attempts a JOIN jobs j ON j.seq = a.job
             WHERE a.job = ?1 AND a.number IS NOT ?2",
        )
        .and_then(|mut insert| insert.execute(params![job, winner, now.saturating_add(ATTEMPT_AFTER_MS)]))
        .or_fault()?;
    Ok(())
}

/// An object that has no row any more has to go.
pub(super) fn of_object(connection: &Connection, object: &StoredObject, now: i64) -> Result<()> {
    connection
        .prepare_cached("INSERT INTO residue (sink, object_key, due_at) VALUES (?1, ?2, ?3)")
        .and_then(|mut insert| insert.execute(params![object.place.column(), object.key, now]))
        .or_fault()?;
    Ok(())
}

/// What may be removed now.
pub(super) fn due(connection: &Connection, now: i64, limit: u32) -> Result<Vec<Residue>> {
    let mut statement = connection
        .prepare_cached(
            "UPDATE residue SET due_at = ?1 WHERE seq IN
                (SELECT seq FROM residue WHERE due_at <= ?2 ORDER BY due_at LIMIT ?3)
             RETURNING seq, sink, object_key, job, attempt",
        )
        .or_fault()?;
    let mut rows = statement.query(params![now.saturating_add(AGAIN_AFTER_MS), now, limit]).or_fault()?;
    let mut due = Vec::new();
    while let Some(row) = rows.next().or_fault()? {
        let sink: Option<String> = row.get(1).or_fault()?;
        let key: Option<String> = row.get(2).or_fault()?;
        let job: Option<[u8; 16]> = row.get(3).or_fault()?;
        let attempt: Option<u32> = row.get(4).or_fault()?;
        let what = match (key, job, attempt) {
            (Some(key), None, None) => {
                Left::Object(StoredObject { place: Place::from_column(sink.as_deref()), key })
            }
            (None, Some(job), Some(number)) => Left::Attempt { job: Uuid::from_bytes(job), number },
            _ => return Err(StoreError::Damaged("residue that is neither an object nor an attempt".into())),
        };
        due.push(Residue { id: row.get(0).or_fault()?, what });
    }
    Ok(due)
}

/// These are gone.
pub(super) fn cleared(connection: &Connection, residue: &[i64]) -> Result<()> {
    let mut delete = connection.prepare_cached("DELETE FROM residue WHERE seq = ?1").or_fault()?;
    for id in residue {
        delete.execute([id]).or_fault()?;
    }
    Ok(())
}
