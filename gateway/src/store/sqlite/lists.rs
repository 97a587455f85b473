//! Lists of jobs, newest first. Every filter is driven by the index that the fewest jobs are in; what the others leave
//! over is looked at row by row, so many rows and no more.

use rusqlite::{Connection, OptionalExtension, ToSql};
use uuid::Uuid;

use super::codec;
use super::error::StoreFault;
use super::reads::{self, JOB};
use crate::store::{JobRow, ListQuery, Listed, Result, StoredState};

/// Entries of an index that one page looks at, at most.
const LOOKED_AT: i64 = 10_000;

/// A condition with its values.
#[derive(Default)]
struct Filter<'a> {
    sql: String,
    values: Vec<Box<dyn ToSql + 'a>>,
}

impl<'a> Filter<'a> {
    /// Adds a condition; each `?` of it stands for the next of `values`.
    fn and(&mut self, condition: &str, values: impl IntoIterator<Item = Box<dyn ToSql + 'a>>) {
        self.sql += if self.sql.is_empty() { "WHERE " } else { " AND " };
        self.sql += condition;
        self.values.extend(values);
    }

    fn values(&self) -> Vec<&dyn ToSql> {
        self.values.iter().map(|value| &**value).collect()
    }
}

/// A tenant's jobs; tombstones are not listed.
pub(super) fn list(connection: &Connection, query: &ListQuery) -> Result<Listed> {
    // A state drives only where nothing rarer does, and then each state by itself: an index gives one at a time in order.
    if query.states.len() > 1 && !has_rarer_driver(query) {
        let alone = |state: &StoredState| ListQuery { states: vec![*state], ..query.clone() };
        let pages: Result<Vec<_>> =
            query.states.iter().map(|state| one_walk(connection, &alone(state))).collect();
        return Ok(merge(pages?, query.limit));
    }
    one_walk(connection, query)
}

fn has_rarer_driver(query: &ListQuery) -> bool {
    query.batch.is_some() || query.user.is_some() || query.template.is_some() || !query.labels.is_empty()
}

fn one_walk(connection: &Connection, query: &ListQuery) -> Result<Listed> {
    let Filters { driver, rest, .. } = filters(query);
    let from = from(query);
    let mut values = driver.values();
    let mut conditions = driver.sql.clone();
    let mut stop = None;
    if !rest.sql.is_empty() {
        stop = boundary(connection, from, &driver)?;
        conditions += &rest.sql.replacen("WHERE ", " AND ", 1);
        values.extend(rest.values());
    }
    let stop_bytes = stop.unwrap_or(Uuid::nil()).into_bytes();
    if stop.is_some() {
        conditions += " AND jobs.id >= ?";
        values.push(&stop_bytes);
    }
    values.push(&query.limit);
    let sql = format!("{JOB} {from} {conditions} ORDER BY {} DESC LIMIT ?", order(query));
    let rows = reads::jobs(connection, &sql, &values)?;
    let is_full = rows.len() >= query.limit as usize;
    Ok(Listed { rows, more_before: stop.filter(|_| !is_full) })
}

/// The oldest entry that this page looks at, where there are more.
fn boundary(connection: &Connection, from: &str, driver: &Filter<'_>) -> Result<Option<Uuid>> {
    let id = if from.is_empty() { "jobs.id" } else { "job_labels.job" };
    let table = if from.is_empty() { "jobs" } else { "job_labels" };
    let sql =
        format!("SELECT {id} FROM {table} {} ORDER BY {id} DESC LIMIT 1 OFFSET {LOOKED_AT}", driver.sql);
    connection
        .prepare_cached(&sql)
        .or_fault()?
        .query_row(driver.values().as_slice(), |row| row.get(0).map(Uuid::from_bytes))
        .optional()
        .or_fault()
}

/// By a label, its own table drives.
fn from(query: &ListQuery) -> &'static str {
    if is_by_label(query) { "JOIN job_labels ON job_labels.job = jobs.id" } else { "" }
}

fn is_by_label(query: &ListQuery) -> bool {
    query.batch.is_none() && query.user.is_none() && !query.labels.is_empty()
}

fn order(query: &ListQuery) -> &'static str {
    if is_by_label(query) { "job_labels.job" } else { "jobs.id" }
}

/// What the index answers, and what is left to be looked at.
struct Filters<'a> {
    driver: Filter<'a>,
    rest: Filter<'a>,
    /// Something drives already: more conditions are left over.
    is_driven: bool,
}

impl<'a> Filters<'a> {
    fn narrow(&mut self, condition: &str, values: impl IntoIterator<Item = Box<dyn ToSql + 'a>>) {
        if self.is_driven {
            self.rest.and(&format!("+{condition}"), values); // The plus keeps the other indices out of it.
        } else {
            self.is_driven = true;
            self.driver.and(condition, values);
        }
    }
}

fn filters(query: &ListQuery) -> Filters<'_> {
    let is_driven = is_by_label(query);
    let mut filters = Filters { driver: Filter::default(), rest: Filter::default(), is_driven };
    let mut labels = query.labels.iter();
    if is_by_label(query) {
        filters.driver.and("job_labels.tenant = ?", [boxed(query.tenant)]);
        if let Some((name, value)) = labels.next() {
            filters.driver.and("job_labels.name = ? AND job_labels.value = ?", [boxed(name), boxed(value)]);
        }
        filters.rest.and("jobs.tombstone_until IS NULL", []);
    } else {
        filters.driver.and("jobs.tenant = ?", [boxed(query.tenant)]);
        filters.driver.and("jobs.tombstone_until IS NULL", []);
    }
    for (bound, id) in bounds(query) {
        filters.driver.and(&format!("{} {bound} ?", order(query)), [boxed(id.into_bytes())]);
    }
    if let Some(batch) = query.batch {
        filters.narrow("jobs.batch = ?", [boxed(batch.into_bytes())]);
    }
    if let Some(user) = &query.user {
        filters.narrow("jobs.on_behalf_of = ?", [boxed(user)]);
    }
    if let Some(template) = &query.template {
        filters.narrow("jobs.template = ?", [boxed(template)]);
    }
    match query.states.as_slice() {
        [] => {}
        [state] => filters.narrow("jobs.state = ?", [boxed(codec::state_code(*state))]),
        states => {
            let codes: Vec<_> = states.iter().map(|state| codec::state_code(*state).to_string()).collect();
            filters.rest.and(&format!("+jobs.state IN ({})", codes.join(", ")), []);
        }
    }
    if let Some(class) = query.class {
        filters.rest.and("jobs.class = ?", [boxed(codec::class_code(class))]);
    }
    for (name, value) in labels {
        let has = "EXISTS (SELECT 1 FROM job_labels AS l WHERE l.tenant = jobs.tenant AND l.name = ? AND l.value = ?
            AND l.job = jobs.id)";
        filters.rest.and(has, [boxed(name), boxed(value)]);
    }
    filters
}

fn boxed<'a>(value: impl ToSql + 'a) -> Box<dyn ToSql + 'a> {
    Box::new(value)
}

/// The range of ids asked for: an id begins with the millisecond of its acceptance.
fn bounds(query: &ListQuery) -> Vec<(&'static str, Uuid)> {
    let mut bounds = Vec::new();
    if let Some(before) = query.before {
        bounds.push(("<", before));
    }
    if let Some(accepted) = &query.accepted {
        bounds.push((">=", first_of(accepted.start)));
        bounds.push(("<", first_of(accepted.end)));
    }
    bounds
}

/// The lowest id that a job accepted in this millisecond can have.
fn first_of(ms: i64) -> Uuid {
    let ms = u128::try_from(ms).unwrap_or(0).min((1 << 48) - 1);
    Uuid::from_u128(ms << 80)
}

/// One page of several: nothing older than what every one of them has looked at.
fn merge(pages: Vec<Listed>, limit: u32) -> Listed {
    let seen_down_to = pages.iter().filter_map(|page| page.more_before).max();
    let mut rows: Vec<JobRow> = pages.into_iter().flat_map(|page| page.rows).collect();
    rows.retain(|row| seen_down_to.is_none_or(|oldest| row.id >= oldest));
    rows.sort_by_key(|row| std::cmp::Reverse(row.id));
    let is_full = rows.len() >= limit as usize;
    rows.truncate(limit as usize);
    Listed { rows, more_before: seen_down_to.filter(|_| !is_full) }
}
