//! `GET /v1/audit`: who changed what of tenants and keys, newest first.

use axum::extract::Query;
use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::super::error::ApiError;
use super::super::respond::json;
use super::super::state::App;
use super::super::time;
use crate::store::AuditRow;

const LIMIT: std::ops::RangeInclusive<u32> = 1..=1_000;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// Entries of the answer, at most; 100 where nothing is said.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// Only entries older than this one: `next_before` of the page before.
    before: Option<i64>,
}

/// One change.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditEntry)]
struct Line {
    id: i64,
    at: Timestamp,
    /// The id of the key that was used, or what else did it.
    by: String,
    /// Such as `key.revoked`.
    action: String,
    /// A tenant's name or a key's id.
    subject: String,
    /// As it was, without secrets.
    #[schema(value_type = Option<Object>)]
    before: Option<Box<RawValue>>,
    /// As it is since, without secrets.
    #[schema(value_type = Option<Object>)]
    after: Option<Box<RawValue>>,
}

/// One page of the log, newest first.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditLog)]
struct List {
    entries: Vec<Line>,
    /// For `before` of the next request; `null`: these were the last.
    next_before: Option<i64>,
}

/// The log of changes to tenants and keys.
#[utoipa::path(get, path = "/v1/audit", tag = "tenants", params(Which), responses(
    (status = 200, description = "One page, newest first.", body = List)))]
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
