//! Deliveries: what receivers do not have yet. Of the events of one job only the first is due; the next becomes due in
//! the transaction that settles it.

use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::error::StoreFault;
use super::events;
use crate::store::{
    DeadLetter, DeadQuery, Delivery, DeliveryOutcome, DueReceiver, Event, EventKinds, OutboxFigures,
    ReceiverLag, Result, Undelivered, Webhook,
};

/// Deliveries that one outcome may give up at once; the rest with the next.
const TOO_OLD_MAX: u32 = 1_000;

/// Notes where the events of a job go.
pub(super) fn subscribe(
    connection: &Connection,
    seq: i64,
    tenant: u32,
    webhook: &Webhook,
    now: i64,
) -> Result<()> {
    let receiver: i64 = connection
        .prepare_cached(
            "INSERT INTO receivers (tenant, url, used_at) VALUES (?1, ?2, ?3)
             ON CONFLICT (tenant, url) DO UPDATE SET used_at = excluded.used_at RETURNING id",
        )
        .and_then(|mut insert| insert.query_row(params![tenant, &*webhook.receiver, now], |row| row.get(0)))
        .or_fault()?;
    connection
        .prepare_cached("INSERT INTO job_webhooks (job, receiver, url) VALUES (?1, ?2, ?3)")
        .and_then(|mut insert| insert.execute(params![seq, receiver, &*webhook.url]))
        .or_fault()?;
    connection
        .prepare_cached("UPDATE jobs SET webhook_events = ?2 WHERE seq = ?1")
        .and_then(|mut update| update.execute(params![seq, webhook.events.bits()]))
        .or_fault()?;
    Ok(())
}

/// Where the events of a job go.
pub(super) fn webhook_of(connection: &Connection, job: Uuid) -> Result<Option<Webhook>> {
    connection
        .prepare_cached(
            "SELECT w.url, r.url, j.webhook_events FROM jobs j JOIN job_webhooks w ON w.job = j.seq
             JOIN receivers r ON r.id = w.receiver WHERE j.id = ?1",
        )
        .or_fault()?
        .query_row([job.as_bytes()], |row| {
            let events = EventKinds::of_bits(row.get(2)?);
            Ok(Webhook { url: row.get(0)?, receiver: row.get(1)?, events })
        })
        .optional()
        .or_fault()
}

/// Writes the delivery of an event of the job at `seq`: due at once, or behind an earlier one.
pub(super) fn write(connection: &Connection, seq: i64, event: &Event) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO deliveries (seq, receiver, url, tenant, job, revision, kind, at, since, tries, next_at)
             SELECT ?1, receiver, url, ?2, ?3, ?4, ?5, ?6, ?6, 0,
                CASE WHEN EXISTS (SELECT 1 FROM deliveries WHERE job = ?3 AND dead_at IS NULL) THEN NULL ELSE ?6 END
             FROM job_webhooks WHERE job = ?7",
        )
        .and_then(|mut insert| {
            insert.execute(params![
                event.cursor,
                event.tenant,
                event.job.as_bytes(),
                event.revision.cast_signed(),
                event.kind as u8,
                event.at,
                seq
            ])
        })
        .or_fault()?;
    Ok(())
}

/// Receivers with something due now or later. Hops from receiver to receiver in the index, however much waits.
pub(super) fn due_receivers(connection: &Connection) -> Result<Vec<DueReceiver>> {
    let mut statement = connection
        .prepare_cached(
            "WITH RECURSIVE waiting (id) AS (
                SELECT min(receiver) FROM deliveries WHERE next_at IS NOT NULL
                UNION ALL
                SELECT (SELECT min(receiver) FROM deliveries WHERE next_at IS NOT NULL AND receiver > waiting.id)
                FROM waiting WHERE waiting.id IS NOT NULL)
             SELECT id, (SELECT tenant FROM receivers r WHERE r.id = waiting.id),
                (SELECT min(next_at) FROM deliveries WHERE next_at IS NOT NULL AND receiver = waiting.id)
             FROM waiting WHERE id IS NOT NULL",
        )
        .or_fault()?;
    let rows = statement.query_map([], |row| {
        let tenant: Option<u32> = row.get(1)?;
        Ok(DueReceiver { receiver: row.get(0)?, tenant: tenant.unwrap_or(0), next_at: row.get(2)? })
    });
    rows.and_then(Iterator::collect).or_fault()
}

/// What is due for a receiver.
pub(super) fn due(connection: &Connection, receiver: i64, now: i64, limit: u32) -> Result<Vec<Delivery>> {
    let mut statement = connection
        .prepare_cached(
            "SELECT d.seq, d.tenant, d.job, d.revision, d.kind, d.at, d.url, t.name, d.since, d.tries
             FROM deliveries d JOIN tenants t ON t.id = d.tenant
             WHERE d.receiver = ?1 AND d.next_at IS NOT NULL AND d.next_at <= ?2 ORDER BY d.next_at LIMIT ?3",
        )
        .or_fault()?;
    let mut rows = statement.query(params![receiver, now, limit]).or_fault()?;
    let mut due = Vec::new();
    while let Some(row) = rows.next().or_fault()? {
        due.push(Delivery {
            event: events::read(row, 0)?,
            url: row.get(6).or_fault()?,
            tenant_name: row.get(7).or_fault()?,
            since: row.get(8).or_fault()?,
            tries: row.get(9).or_fault()?,
        });
    }
    Ok(due)
}

/// Writes one outcome. A delivery that is gone meanwhile is left alone.
pub(super) fn settle(connection: &Connection, outcome: &DeliveryOutcome, now: i64) -> Result<()> {
    match outcome {
        DeliveryOutcome::Delivered { cursor } => {
            let job =
                one_job(connection, "DELETE FROM deliveries WHERE seq = ?1 RETURNING job", params![cursor])?;
            job.map_or(Ok(()), |job| release(connection, job, now))
        }
        DeliveryOutcome::Again { cursor, next_at, reason } => connection
            .prepare_cached(
                "UPDATE deliveries SET tries = tries + 1, next_at = ?2, reason = ?3
                 WHERE seq = ?1 AND dead_at IS NULL",
            )
            .and_then(|mut update| update.execute(params![cursor, next_at, reason]))
            .map(drop)
            .or_fault(),
        DeliveryOutcome::Dead { cursor, reason } => bury(connection, *cursor, reason, 1, now),
        DeliveryOutcome::TooOld { receiver, before, reason } => {
            let old: Vec<i64> = connection
                .prepare_cached(
                    "SELECT seq FROM deliveries WHERE receiver = ?1 AND dead_at IS NULL AND since <= ?2
                     ORDER BY since LIMIT ?3",
                )
                .and_then(|mut select| {
                    select.query_map(params![receiver, before, TOO_OLD_MAX], |row| row.get(0))?.collect()
                })
                .or_fault()?;
            old.into_iter().try_for_each(|cursor| bury(connection, cursor, reason, 0, now))
        }
        DeliveryOutcome::Back { receiver } => connection
            .prepare_cached("UPDATE deliveries SET next_at = ?2 WHERE receiver = ?1 AND next_at > ?2")
            .and_then(|mut update| update.execute(params![receiver, now]))
            .map(drop)
            .or_fault(),
    }
}

fn bury(connection: &Connection, cursor: i64, reason: &str, tries: u32, now: i64) -> Result<()> {
    let job = one_job(
        connection,
        "UPDATE deliveries SET dead_at = ?2, next_at = NULL, reason = ?3, tries = tries + ?4
         WHERE seq = ?1 AND dead_at IS NULL RETURNING job",
        params![cursor, now, reason, tries],
    )?;
    job.map_or(Ok(()), |job| release(connection, job, now))
}

fn one_job(connection: &Connection, sql: &str, values: &[&dyn rusqlite::ToSql]) -> Result<Option<[u8; 16]>> {
    connection
        .prepare_cached(sql)
        .and_then(|mut change| change.query_row(values, |row| row.get(0)).optional())
        .or_fault()
}

/// The next event of a job is due, where none is already.
fn release(connection: &Connection, job: [u8; 16], now: i64) -> Result<()> {
    connection
        .prepare_cached(
            "UPDATE deliveries SET next_at = ?2
             WHERE seq = (SELECT min(seq) FROM deliveries WHERE job = ?1 AND dead_at IS NULL)
                AND NOT EXISTS (SELECT 1 FROM deliveries WHERE job = ?1 AND dead_at IS NULL AND next_at IS NOT NULL)",
        )
        .and_then(|mut update| update.execute(params![job, now]))
        .or_fault()?;
    Ok(())
}

const DEAD: &str = "SELECT d.seq, d.tenant, d.job, d.revision, d.kind, d.at, t.name, r.url, d.tries, d.dead_at, d.reason
     FROM deliveries d JOIN tenants t ON t.id = d.tenant LEFT JOIN receivers r ON r.id = d.receiver
     WHERE d.dead_at IS NOT NULL AND d.seq > ?1 AND (?2 IS NULL OR d.tenant = ?2) AND (?3 IS NULL OR r.url = ?3)";

/// Dead letters, oldest event first.
pub(super) fn dead_letters(connection: &Connection, query: &DeadQuery) -> Result<Vec<DeadLetter>> {
    let mut letters = Vec::new();
    if query.events.is_empty() {
        let sql = format!("{DEAD} ORDER BY d.seq LIMIT ?4");
        read_dead(
            connection,
            &sql,
            params![query.after, query.tenant, query.receiver, query.limit],
            &mut letters,
        )?;
        return Ok(letters);
    }
    let sql = format!("{DEAD} AND d.job = ?4 AND d.revision = ?5");
    for (job, revision) in &query.events {
        let values =
            params![query.after, query.tenant, query.receiver, job.as_bytes(), revision.cast_signed()];
        read_dead(connection, &sql, values, &mut letters)?;
    }
    Ok(letters)
}

fn read_dead(
    connection: &Connection,
    sql: &str,
    values: &[&dyn rusqlite::ToSql],
    letters: &mut Vec<DeadLetter>,
) -> Result<()> {
    let mut statement = connection.prepare_cached(sql).or_fault()?;
    let mut rows = statement.query(values).or_fault()?;
    while let Some(row) = rows.next().or_fault()? {
        letters.push(DeadLetter {
            event: events::read(row, 0)?,
            tenant_name: row.get(6).or_fault()?,
            receiver: row.get::<_, Option<String>>(7).or_fault()?.unwrap_or_default(),
            tries: row.get(8).or_fault()?,
            dead_at: row.get(9).or_fault()?,
            reason: row.get::<_, Option<String>>(10).or_fault()?.unwrap_or_default(),
        });
    }
    Ok(())
}

/// Makes dead letters pending again: due at once, or behind what waits of the same job.
pub(super) fn replay(connection: &Connection, query: &DeadQuery, now: i64) -> Result<(u64, i64)> {
    let letters = dead_letters(connection, query)?;
    let mut last = query.after;
    for letter in &letters {
        last = last.max(letter.event.cursor);
        connection
            .prepare_cached(
                "UPDATE deliveries SET dead_at = NULL, tries = 0, since = ?2, reason = NULL, next_at = NULL
                 WHERE seq = ?1",
            )
            .and_then(|mut update| update.execute(params![letter.event.cursor, now]))
            .or_fault()?;
        release(connection, letter.event.job.into_bytes(), now)?;
    }
    Ok((letters.len() as u64, last))
}

/// How receivers stand.
pub(super) fn lags(connection: &Connection, tenant: Option<u32>, limit: u32) -> Result<Vec<ReceiverLag>> {
    let mut statement = connection
        .prepare_cached(
            "SELECT r.id, t.name, r.url, count(*) FILTER (WHERE d.dead_at IS NULL),
                min(d.at) FILTER (WHERE d.dead_at IS NULL), min(d.next_at), count(d.dead_at),
                (SELECT reason FROM deliveries p WHERE p.receiver = r.id AND p.dead_at IS NULL ORDER BY p.since LIMIT 1)
             FROM receivers r JOIN tenants t ON t.id = r.tenant JOIN deliveries d ON d.receiver = r.id
             WHERE ?1 IS NULL OR r.tenant = ?1 GROUP BY r.id ORDER BY r.id LIMIT ?2",
        )
        .or_fault()?;
    let rows = statement.query_map(params![tenant, limit], |row| {
        Ok(ReceiverLag {
            receiver: row.get(0)?,
            tenant_name: row.get(1)?,
            url: row.get(2)?,
            pending: row.get::<_, i64>(3)?.unsigned_abs(),
            oldest_at: row.get(4)?,
            next_at: row.get(5)?,
            dead: row.get::<_, i64>(6)?.unsigned_abs(),
            reason: row.get(7)?,
        })
    });
    rows.and_then(Iterator::collect).or_fault()
}

/// Figures of all receivers together.
pub(super) fn figures(connection: &Connection) -> Result<OutboxFigures> {
    connection
        .prepare_cached(
            "SELECT count(*) FILTER (WHERE dead_at IS NULL), min(at) FILTER (WHERE dead_at IS NULL), count(dead_at)
             FROM deliveries",
        )
        .and_then(|mut select| {
            select.query_row([], |row| {
                Ok(OutboxFigures {
                    pending: row.get::<_, i64>(0)?.unsigned_abs(),
                    oldest_at: row.get(1)?,
                    dead: row.get::<_, i64>(2)?.unsigned_abs(),
                })
            })
        })
        .or_fault()
}

/// What receivers do not have yet of a job, and what was given up of it.
pub(super) fn undelivered(connection: &Connection, job: Uuid) -> Result<Vec<Undelivered>> {
    let mut undelivered = Vec::new();
    // One half each for the two indices.
    for which in ["dead_at IS NULL", "dead_at IS NOT NULL"] {
        let sql = format!(
            "SELECT d.seq, d.tenant, d.job, d.revision, d.kind, d.at, r.url, d.tries, d.dead_at, d.reason
             FROM deliveries d LEFT JOIN receivers r ON r.id = d.receiver WHERE d.job = ?1 AND d.{which} ORDER BY d.seq"
        );
        let mut statement = connection.prepare_cached(&sql).or_fault()?;
        let mut rows = statement.query([job.as_bytes()]).or_fault()?;
        while let Some(row) = rows.next().or_fault()? {
            undelivered.push(Undelivered {
                event: events::read(row, 0)?,
                receiver: row.get::<_, Option<String>>(6).or_fault()?.unwrap_or_default(),
                tries: row.get(7).or_fault()?,
                dead_at: row.get(8).or_fault()?,
                reason: row.get(9).or_fault()?,
            });
        }
    }
    Ok(undelivered)
}

/// Forgets what was to be delivered of a job.
pub(super) fn forget_job(connection: &Connection, job: Uuid) -> Result<()> {
    for which in ["dead_at IS NULL", "dead_at IS NOT NULL"] {
        connection
            .prepare_cached(&format!("DELETE FROM deliveries WHERE job = ?1 AND {which}"))
            .and_then(|mut delete| delete.execute([job.as_bytes()]))
            .or_fault()?;
    }
    Ok(())
}

/// Forgets receivers of a tenant that nothing leads to any more; how many.
pub(super) fn forget_receivers(connection: &Connection, tenant: u32, limit: u32) -> Result<u64> {
    let gone = connection
        .prepare_cached(
            "DELETE FROM receivers WHERE id IN
                (SELECT id FROM receivers r WHERE tenant = ?1
                    AND NOT EXISTS (SELECT 1 FROM job_webhooks w WHERE w.receiver = r.id)
                    AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.receiver = r.id AND d.dead_at IS NULL)
                    AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.receiver = r.id AND d.dead_at IS NOT NULL)
                 LIMIT ?2)",
        )
        .and_then(|mut delete| delete.execute(params![tenant, limit]))
        .or_fault()?;
    Ok(gone as u64)
}

/// Forgets dead letters given up before `before`, and receivers that nothing leads to any more.
pub(super) fn sweep(connection: &Connection, before: i64, limit: u32) -> Result<()> {
    for delete in [
        "DELETE FROM deliveries WHERE seq IN
            (SELECT seq FROM deliveries WHERE dead_at IS NOT NULL AND dead_at < ?1 LIMIT ?2)",
        "DELETE FROM receivers WHERE id IN
            (SELECT id FROM receivers r WHERE used_at < ?1
                AND NOT EXISTS (SELECT 1 FROM job_webhooks w WHERE w.receiver = r.id)
                AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.receiver = r.id AND d.dead_at IS NULL)
                AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.receiver = r.id AND d.dead_at IS NOT NULL)
             ORDER BY used_at LIMIT ?2)",
    ] {
        connection
            .prepare_cached(delete)
            .and_then(|mut delete| delete.execute(params![before, limit]))
            .or_fault()?;
    }
    Ok(())
}
