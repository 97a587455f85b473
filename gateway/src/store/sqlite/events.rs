//! Events: written with the change they tell of, read as a feed.

use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::error::StoreFault;
use super::writer::Writer;
use super::{codec, outbox};
use crate::store::{Event, EventKind, EventKinds, EventPage, EventQuery, Result, StoreError};

/// Events that one read looks at, those of other tenants included.
const LOOK_MAX: u32 = 4096;

/// A row of `jobs` that was just changed.
pub(super) struct Touched {
    pub(super) seq: i64,
    pub(super) tenant: u32,
    pub(super) revision: u64,
    /// Which events are sent to a receiver.
    pub(super) sent: EventKinds,
}

/// What a change of a job gives back, so that its event costs no look-up.
pub(super) const TOUCHED: &str = "RETURNING seq, tenant, revision, webhook_events";

impl Touched {
    /// Reads the columns of [`TOUCHED`].
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            seq: row.get(0)?,
            tenant: row.get(1)?,
            revision: row.get::<_, i64>(2)?.unsigned_abs(),
            sent: EventKinds::of_bits(row.get(3)?),
        })
    }
}

/// Writes an event of a job that was just changed, and its delivery where one is wanted. Returns its cursor.
pub(super) fn write(
    writer: &mut Writer,
    job: Uuid,
    touched: &Touched,
    kind: EventKind,
    at: i64,
) -> Result<i64> {
    let connection = &writer.connection;
    connection
        .prepare_cached("INSERT INTO events (tenant, job, revision, kind, at) VALUES (?1, ?2, ?3, ?4, ?5)")
        .and_then(|mut insert| {
            insert.execute(params![
                touched.tenant,
                job.as_bytes(),
                touched.revision.cast_signed(),
                kind as u8,
                at
            ])
        })
        .or_fault()?;
    let event = Event {
        cursor: connection.last_insert_rowid(),
        tenant: touched.tenant,
        job,
        revision: touched.revision,
        kind,
        at,
    };
    let is_sent = touched.sent.contains(kind);
    if is_sent {
        outbox::write(connection, touched.seq, &event)?;
    }
    writer.news.note(event.tenant, event.cursor, is_sent);
    Ok(event.cursor)
}

/// Takes back an event of the open turn.
pub(super) fn take_back(connection: &Connection, cursor: i64) -> Result<()> {
    for delete in ["DELETE FROM events WHERE seq = ?1", "DELETE FROM deliveries WHERE seq = ?1"] {
        connection.prepare_cached(delete).and_then(|mut delete| delete.execute([cursor])).or_fault()?;
    }
    Ok(())
}

/// A page of a tenant's events.
pub(super) fn page(connection: &Connection, query: &EventQuery) -> Result<EventPage> {
    let (oldest, newest) = bounds(connection)?;
    // Whoever names no cursor begins with the oldest; before the first event of all there is 0.
    let start = oldest.map_or(newest, |oldest| oldest - 1);
    let after = query.after.unwrap_or(start);
    if after < start || after > newest {
        return Ok(EventPage::Expired { oldest: start });
    }
    let mut statement = connection
        .prepare_cached(
            "SELECT seq, tenant, job, revision, kind, at FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2",
        )
        .or_fault()?;
    let mut rows = statement.query(params![after, LOOK_MAX]).or_fault()?;
    let (mut events, mut next) = (Vec::new(), after);
    while let Some(row) = rows.next().or_fault()? {
        if events.len() >= query.limit as usize {
            break;
        }
        next = row.get(0).or_fault()?;
        if row.get::<_, u32>(1).or_fault()? != query.tenant {
            continue;
        }
        let event = read(row, 0)?;
        if query.kinds.contains(event.kind) {
            events.push(event);
        }
    }
    Ok(EventPage::Events { events, next, at_head: next >= newest })
}

/// An event in six columns from `at` on: seq, tenant, job, revision, kind, at.
pub(super) fn read(row: &Row<'_>, at: usize) -> Result<Event> {
    Ok(Event {
        cursor: row.get(at).or_fault()?,
        tenant: row.get(at + 1).or_fault()?,
        job: Uuid::from_bytes(row.get(at + 2).or_fault()?),
        revision: row.get::<_, i64>(at + 3).or_fault()?.unsigned_abs(),
        kind: kind(row.get(at + 4).or_fault()?)?,
        at: row.get(at + 5).or_fault()?,
    })
}

fn kind(code: i64) -> Result<EventKind> {
    usize::try_from(code)
        .ok()
        .and_then(|code| EventKind::ALL.get(code).copied())
        .ok_or_else(|| StoreError::Damaged(format!("unknown kind of event {code}")))
}

/// The newest cursor.
pub(super) fn newest(connection: &Connection) -> Result<i64> {
    Ok(bounds(connection)?.1)
}

/// The oldest event, if there is any, and the newest cursor.
fn bounds(connection: &Connection) -> Result<(Option<i64>, i64)> {
    let end = |sql| {
        connection
            .prepare_cached(sql)
            .and_then(|mut select| select.query_row([], |row| row.get::<_, i64>(0)).optional())
            .or_fault()
    };
    let oldest = end("SELECT seq FROM events ORDER BY seq LIMIT 1")?;
    let newest = end("SELECT seq FROM events ORDER BY seq DESC LIMIT 1")?;
    Ok((oldest, newest.unwrap_or(0)))
}

/// Forgets events from before `before`; the newest stays, so that no cursor is given twice.
pub(super) fn sweep(connection: &Connection, before: i64, limit: u32) -> Result<u64> {
    let last: Option<i64> = connection
        .prepare_cached(
            "SELECT max(seq) FROM (SELECT seq, at FROM events ORDER BY seq LIMIT ?2)
             WHERE at < ?1 AND seq < (SELECT max(seq) FROM events)",
        )
        .and_then(|mut select| select.query_row([before, i64::from(limit)], |row| row.get(0)))
        .or_fault()?;
    let Some(last) = last else { return Ok(0) };
    let gone = connection
        .prepare_cached("DELETE FROM events WHERE seq <= ?1")
        .and_then(|mut delete| delete.execute([last]))
        .or_fault()?;
    Ok(gone as u64)
}

/// All events of a job, in order.
pub(super) fn of_job(connection: &Connection, job: Uuid) -> Result<Vec<Event>> {
    let mut statement = connection
        .prepare_cached("SELECT seq, tenant, job, revision, kind, at FROM events WHERE job = ?1 ORDER BY seq")
        .or_fault()?;
    let mut rows = statement.query([job.as_bytes()]).or_fault()?;
    let mut events = Vec::new();
    while let Some(row) = rows.next().or_fault()? {
        events.push(read(row, 0)?);
    }
    Ok(events)
}

/// Forgets the events of a job. The newest of all stays as nobody's, so that no cursor is given twice.
pub(super) fn forget_job(connection: &Connection, job: Uuid) -> Result<()> {
    for forget in [
        "DELETE FROM events WHERE job = ?1 AND seq < (SELECT max(seq) FROM events)",
        "UPDATE events SET tenant = 0, job = zeroblob(16) WHERE job = ?1",
    ] {
        connection
            .prepare_cached(forget)
            .and_then(|mut forget| forget.execute([job.as_bytes()]))
            .or_fault()?;
    }
    Ok(())
}

/// The kind that an end of a job has.
pub(super) fn kind_of_end(outcome: scheduler::Outcome) -> EventKind {
    match codec::ended_state(outcome) {
        crate::store::StoredState::Succeeded => EventKind::Succeeded,
        crate::store::StoredState::Canceled => EventKind::Canceled,
        crate::store::StoredState::Expired => EventKind::Expired,
        _ => EventKind::Failed,
    }
}
