//! Usage by day, written in the transaction that ends a job, so that its sums are those of the jobs.

use rusqlite::{Connection, Row, params};

use super::codec;
use super::error::StoreFault;
use crate::link::message::OutputKind;
use crate::store::{NewOutput, Result, UsageKey, UsageQuery, UsageRow, Used};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// People of one tenant that a day counts by name. Those beyond are counted, without a name: growth is bounded.
const MAX_PEOPLE_A_DAY: i64 = 10_000;

/// A job that ended.
pub(super) struct Ended<'a> {
    pub(super) tenant: u32,
    /// As [`codec::class_code`] has it.
    pub(super) class: i64,
    pub(super) user: Option<&'a str>,
    pub(super) template: Option<&'a str>,
    /// `None`: it did not succeed, and costs nothing.
    pub(super) used: Option<&'a Used>,
    pub(super) outputs: &'a [NewOutput],
    pub(super) at: i64,
}

/// Adds numbers to a row of sums.
const ADD: &str =
    "INSERT INTO usage (tenant, day, on_behalf_of, template, class, device_class, jobs, unbilled_jobs,
        images, bytes, gpu_ms, price_micros)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
     ON CONFLICT (tenant, day, on_behalf_of, template, class, device_class) DO UPDATE SET
        jobs = jobs + excluded.jobs, unbilled_jobs = unbilled_jobs + excluded.unbilled_jobs,
        images = images + excluded.images, bytes = bytes + excluded.bytes,
        gpu_ms = gpu_ms + excluded.gpu_ms, price_micros = price_micros + excluded.price_micros";

/// Counts a job that ended.
pub(super) fn count(connection: &Connection, ended: &Ended<'_>) -> Result<()> {
    let day = ended.at.div_euclid(DAY_MS);
    let user = named(connection, ended, day)?;
    let used = ended.used;
    let images = ended.outputs.iter().filter(|output| output.kind == OutputKind::Image).count() as u64;
    let bytes = ended.outputs.iter().map(|output| output.size_bytes).sum();
    connection
        .prepare_cached(ADD)
        .or_fault()?
        .execute(params![
            ended.tenant,
            day,
            user,
            ended.template.unwrap_or_default(),
            ended.class,
            used.map_or("", |used| &used.device_class),
            i64::from(used.is_some()),
            i64::from(used.is_none()),
            codec::length(images)?,
            codec::length(bytes)?,
            codec::length(used.map_or(0, |used| used.gpu_ms))?,
            codec::length(used.map_or(0, |used| used.price_micros))?,
        ])
        .or_fault()?;
    Ok(())
}

/// The name that the job is counted under.
fn named<'a>(connection: &Connection, ended: &Ended<'a>, day: i64) -> Result<&'a str> {
    let Some(user) = ended.user else { return Ok("") };
    let is_known = connection
        .prepare_cached("SELECT 1 FROM usage WHERE tenant = ?1 AND day = ?2 AND on_behalf_of = ?3")
        .and_then(|mut select| select.exists(params![ended.tenant, day, user]))
        .or_fault()?;
    if is_known {
        return Ok(user);
    }
    let has_room = connection
        .prepare_cached(
            "INSERT INTO usage_people (tenant, day, people) VALUES (?1, ?2, 1)
             ON CONFLICT (tenant, day) DO UPDATE SET people = people + 1 WHERE people < ?3",
        )
        .and_then(|mut upsert| upsert.execute(params![ended.tenant, day, MAX_PEOPLE_A_DAY]))
        .or_fault()?;
    Ok(if has_room > 0 { user } else { "" })
}

/// A row of sums, as it lies in the table.
struct Sums {
    day: i64,
    user: String,
    template: String,
    class: i64,
    device_class: String,
    numbers: [i64; 6],
}

/// Takes the names of people off the sums of a tenant: of this one, or of all. At most `limit` rows; how many.
pub(super) fn forget_people(
    connection: &Connection,
    tenant: u32,
    user: Option<&str>,
    limit: u32,
) -> Result<u64> {
    let named = named_sums(connection, tenant, user, limit)?;
    for sums in &named {
        take_off(connection, tenant, sums)?;
    }
    Ok(named.len() as u64)
}

/// Sums with a name, found by hopping from day to day in the index, however many people each day has.
fn named_sums(connection: &Connection, tenant: u32, user: Option<&str>, limit: u32) -> Result<Vec<Sums>> {
    let whose = if user.is_some() { "u.on_behalf_of = ?2" } else { "u.on_behalf_of > '' AND ?2 IS NULL" };
    let sql = format!(
        "WITH RECURSIVE days (day) AS (
            SELECT min(day) FROM usage WHERE tenant = ?1
            UNION ALL
            SELECT (SELECT min(day) FROM usage WHERE tenant = ?1 AND day > days.day) FROM days
            WHERE days.day IS NOT NULL)
         SELECT u.day, u.on_behalf_of, u.template, u.class, u.device_class, u.jobs, u.unbilled_jobs, u.images, u.bytes,
            u.gpu_ms, u.price_micros
         FROM days CROSS JOIN usage u ON u.tenant = ?1 AND u.day = days.day AND {whose} LIMIT ?3"
    );
    connection
        .prepare_cached(&sql)
        .and_then(|mut select| {
            select
                .query_map(params![tenant, user, limit], |row| {
                    Ok(Sums {
                        day: row.get(0)?,
                        user: row.get(1)?,
                        template: row.get(2)?,
                        class: row.get(3)?,
                        device_class: row.get(4)?,
                        numbers: [
                            row.get(5)?,
                            row.get(6)?,
                            row.get(7)?,
                            row.get(8)?,
                            row.get(9)?,
                            row.get(10)?,
                        ],
                    })
                })?
                .collect()
        })
        .or_fault()
}

/// Adds a row of sums to that of nobody.
fn take_off(connection: &Connection, tenant: u32, sums: &Sums) -> Result<()> {
    let Sums { day, user, template, class, device_class, numbers } = sums;
    connection
        .prepare_cached(
            "DELETE FROM usage WHERE tenant = ?1 AND day = ?2 AND on_behalf_of = ?3 AND template = ?4 AND class = ?5
                AND device_class = ?6",
        )
        .and_then(|mut delete| delete.execute(params![tenant, day, user, template, class, device_class]))
        .or_fault()?;
    let [jobs, unbilled, images, bytes, gpu_ms, price] = numbers;
    let row =
        params![tenant, day, "", template, class, device_class, jobs, unbilled, images, bytes, gpu_ms, price];
    connection.prepare_cached(ADD).and_then(|mut add| add.execute(row)).or_fault()?;
    Ok(())
}

/// Usage of a tenant, one row for each key and class of devices.
pub(super) fn read(connection: &Connection, query: &UsageQuery) -> Result<Vec<UsageRow>> {
    let key = match query.by {
        None => "''",
        Some(UsageKey::Day) => "CAST(day AS TEXT)",
        Some(UsageKey::Class) => "CASE class WHEN 0 THEN 'batch' WHEN 1 THEN 'normal' ELSE 'interactive' END",
        Some(UsageKey::User) => "on_behalf_of",
        Some(UsageKey::DeviceClass) => "device_class",
        Some(UsageKey::Template) => "template",
    };
    let within =
        "FROM usage WHERE tenant = ?1 AND day BETWEEN ?2 AND ?3 AND (?6 IS NULL OR on_behalf_of = ?6)";
    let sql = format!(
        "SELECT {key} AS k, device_class, sum(jobs), sum(unbilled_jobs), sum(images), sum(bytes), sum(gpu_ms),
            sum(price_micros)
         {within} AND {key} IN (SELECT DISTINCT {key} AS k {within} AND (?4 IS NULL OR {key} > ?4) ORDER BY k LIMIT ?5)
         GROUP BY k, device_class ORDER BY k, device_class"
    );
    connection
        .prepare_cached(&sql)
        .and_then(|mut select| {
            let values =
                params![query.tenant, query.from_day, query.to_day, query.after, query.limit, query.user];
            select.query_map(values, row)?.collect()
        })
        .or_fault()
}

fn row(row: &Row<'_>) -> rusqlite::Result<UsageRow> {
    let number = |at| row.get::<_, i64>(at).map(i64::unsigned_abs);
    Ok(UsageRow {
        key: row.get(0)?,
        device_class: row.get(1)?,
        jobs: number(2)?,
        unbilled_jobs: number(3)?,
        images: number(4)?,
        bytes: number(5)?,
        gpu_ms: number(6)?,
        price_micros: number(7)?,
    })
}
