//! `GET /v1/usage`: what a tenant used, by day and by what else it wants to know.

use std::collections::BTreeMap;

use axum::extract::Query;
use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::super::error::{ApiError, ErrorKind};
use super::super::respond::json;
use super::super::state::App;
use super::super::time::at;
use super::jobs::Who;
use crate::store::{UsageKey, UsageQuery, UsageRow};

const DAY_MS: i64 = 24 * 3600 * 1000;

/// Days where the caller does not say, and at most.
const DEFAULT_DAYS: i64 = 30;
const MAX_DAYS: i64 = 400;

/// Groups of one answer, where the caller does not say, and at most.
const DEFAULT_GROUPS: u32 = 100;
const MAX_GROUPS: u32 = 1_000;

/// Which usage is asked for.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Period {
    /// First day of ends, in UTC; 29 days before `to` where it is left out.
    #[param(format = Date)]
    from: Option<String>,
    /// Last day; today where it is left out.
    #[param(format = Date)]
    to: Option<String>,
    /// Left out: the sum alone.
    #[param(inline, value_type = Option<Grouping>)]
    group_by: Option<UsageKey>,
    /// Groups of one answer.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// `next_cursor` of the answer before.
    cursor: Option<String>,
}

/// What usage is grouped by.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case", as = UsageGrouping)]
#[expect(dead_code, reason = "its words are documented; `store::UsageKey` reads them")]
pub(super) enum Grouping {
    Day,
    Class,
    User,
    DeviceClass,
    Template,
}

/// What was used in a period.
#[derive(Serialize, ToSchema)]
struct Usage<'a> {
    #[schema(format = Date)]
    from: String,
    #[schema(format = Date)]
    to: String,
    currency: &'a str,
    total: Sums,
    groups: Vec<Group>,
    next_cursor: Option<String>,
}

/// Sums over jobs.
#[derive(Default, Serialize, ToSchema)]
#[schema(as = UsageSums)]
struct Sums {
    /// Jobs that succeeded.
    jobs: u64,
    /// Jobs that ended otherwise: they cost nothing.
    unbilled_jobs: u64,
    /// Pictures made.
    images: u64,
    /// Bytes of all outputs.
    bytes: u64,
    /// GPU time of jobs that succeeded, by class of device, milliseconds.
    gpu_ms: BTreeMap<String, u64>,
    /// Millionths of the currency.
    price_micros: u64,
}

/// Sums of one group.
#[derive(Serialize, ToSchema)]
#[schema(as = UsageGroup)]
struct Group {
    /// A date, a service level, a user, a class of device, or a template; null: none.
    key: Option<String>,
    #[serde(flatten)]
    sums: Sums,
}

impl Sums {
    fn add(&mut self, row: &UsageRow) {
        self.jobs += row.jobs;
        self.unbilled_jobs += row.unbilled_jobs;
        self.images += row.images;
        self.bytes += row.bytes;
        self.price_micros += row.price_micros;
        if !row.device_class.is_empty() {
            *self.gpu_ms.entry(row.device_class.clone()).or_default() += row.gpu_ms;
        }
    }
}

/// What was used: GPU time by class of device, jobs, pictures, bytes and their price.
///
/// A job counts on the day it ended (UTC). Only the attempt that succeeded is billed. Sums stay when jobs are forgotten.
#[utoipa::path(get, path = "/v1/usage", tag = "usage", params(Period), responses(
    (status = 200, description = "The sums.", body = Usage<'static>)))]
pub(super) async fn usage(app: App, caller: Who, Query(period): Query<Period>) -> Result<Response, ApiError> {
    let to_day = day("to", period.to.as_deref())?.unwrap_or(app.engine.now().div_euclid(DAY_MS));
    let from_day = day("from", period.from.as_deref())?.unwrap_or(to_day + 1 - DEFAULT_DAYS);
    if from_day > to_day || to_day - from_day >= MAX_DAYS {
        return Err(ApiError::invalid(format!("from must not be after to, nor {MAX_DAYS} days before it")));
    }
    let limit = period.limit.unwrap_or(DEFAULT_GROUPS);
    if !(1..=MAX_GROUPS).contains(&limit) {
        return Err(ApiError::invalid(format!("limit must be 1 to {MAX_GROUPS}")));
    }
    let after = period.cursor.as_deref().filter(|cursor| !cursor.is_empty()).map(read_cursor).transpose()?;
    let all = UsageQuery {
        tenant: caller.tenant.id,
        from_day,
        to_day,
        user: None,
        by: None,
        after: None,
        limit: 1,
    };
    let store = app.engine.store();
    let mut total = Sums::default();
    for row in store.usage(all.clone()).await? {
        total.add(&row);
    }
    let rows = match period.group_by {
        None => Vec::new(),
        // One more tells whether there are more.
        by => store.usage(UsageQuery { by, after, limit: limit + 1, ..all }).await?,
    };
    let (groups, next_cursor) = grouped(period.group_by, &rows, limit as usize);
    let (from, to) = (date(from_day), date(to_day));
    let currency = &app.prices.currency;
    json(StatusCode::OK, &Usage { from, to, currency, total, groups, next_cursor })
}

/// Rows come by key.
fn grouped(by: Option<UsageKey>, rows: &[UsageRow], limit: usize) -> (Vec<Group>, Option<String>) {
    let keys: Vec<_> = rows.chunk_by(|one, other| one.key == other.key).collect();
    let is_last = keys.len() <= limit;
    let last = keys.get(limit.saturating_sub(1)).and_then(|rows| rows.first());
    let next_cursor = last.filter(|_| !is_last).map(|row| URL_SAFE_NO_PAD.encode(row.key.as_bytes()));
    let group = |rows: &[UsageRow]| {
        let mut sums = Sums::default();
        rows.iter().for_each(|row| sums.add(row));
        Group { key: rows.first().and_then(|row| shown(by, &row.key)), sums }
    };
    (keys.into_iter().take(limit).map(group).collect(), next_cursor)
}

fn shown(by: Option<UsageKey>, key: &str) -> Option<String> {
    match by {
        Some(UsageKey::Day) => Some(date(key.parse().unwrap_or(0))),
        _ => Some(key.to_owned()).filter(|key| !key.is_empty()),
    }
}

fn read_cursor(text: &str) -> Result<String, ApiError> {
    let key = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    key.ok_or_else(|| ApiError::new(ErrorKind::Invalid, "invalid_cursor", "the cursor is not one of ours"))
}

/// Days since the epoch.
fn day(name: &str, text: Option<&str>) -> Result<Option<i64>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    let date: Option<Date> = text.parse().ok();
    let zoned = date.and_then(|date| date.to_zoned(TimeZone::UTC).ok());
    let zoned =
        zoned.ok_or_else(|| ApiError::invalid(format!("{name} must be a date such as 2026-01-31")))?;
    Ok(Some(zoned.timestamp().as_millisecond().div_euclid(DAY_MS)))
}

fn date(day: i64) -> String {
    at(day.saturating_mul(DAY_MS)).strftime("%Y-%m-%d").to_string()
}
