//! `GET /v1/audit`: who changed what of tenants and keys, newest first.

use axum::extract::Query;
use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::super::error::ApiError;
use super::super::respond::json;
use super::super::state::App;
use super::super::time;
use crate::store::AuditRow;

const LIMIT: std::ops::RangeInclusive<u32> = 1..=1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    limit: Option<u32>,
    before: Option<i64>,
}

#[derive(Serialize)]
struct Line {
    id: i64,
    at: Timestamp,
    by: String,
    action: String,
    subject: String,
    before: Option<Box<RawValue>>,
    after: Option<Box<RawValue>>,
}

#[derive(Serialize)]
struct List {
    entries: Vec<Line>,
    /// For `before` of the next request; `null`: these were the last.
    next_before: Option<i64>,
}

/// `GET /v1/audit?limit=&before=`.
pub(super) async fn list(app: App, Query(which): Query<Which>) -> Result<Response, ApiError> {
    let limit = which.limit.unwrap_or(100);
    if !LIMIT.contains(&limit) {
        return Err(ApiError::invalid("limit must be 1 to 1000"));
    }
    let rows = app.engine.store().audit(which.before, limit).await?;
    let is_full = u32::try_from(rows.len()).is_ok_and(|count| count == limit);
    let next_before = rows.last().filter(|_| is_full).map(|row| row.seq);
    let entries = rows.into_iter().map(line).collect::<Result<_, _>>()?;
    json(StatusCode::OK, &List { entries, next_before })
}

fn line(row: AuditRow) -> Result<Line, ApiError> {
    let raw = |text: Option<String>| {
        text.map(RawValue::from_string).transpose().map_err(|error| ApiError::internal(&error))
    };
    Ok(Line {
        id: row.seq,
        at: time::at(row.at),
        by: row.by,
        action: row.action,
        subject: row.subject,
        before: raw(row.before)?,
        after: raw(row.after)?,
    })
}
