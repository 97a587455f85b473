//! The audit log: one line a change of tenants or keys, in the transaction of the change.

use rusqlite::{Connection, params};
use serde_json::{Value, json};

use super::error::StoreFault;
use crate::store::{AuditRow, KeyRow, Result, TenantRow};

/// A line to be written.
pub(super) struct Line<'a> {
    pub(super) at: i64,
    pub(super) by: &'a str,
    pub(super) action: &'static str,
    pub(super) subject: &'a str,
    pub(super) before: Option<Value>,
    pub(super) after: Option<Value>,
}

/// Writes a line.
pub(super) fn write(connection: &Connection, line: &Line<'_>) -> Result<()> {
    let text = |value: &Option<Value>| value.as_ref().map(Value::to_string);
    connection
        .prepare_cached(
            "INSERT INTO audit (at, actor, action, subject, before, after) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )
        .and_then(|mut insert| {
            insert.execute(params![
                line.at,
                line.by,
                line.action,
                line.subject,
                text(&line.before),
                text(&line.after)
            ])
        })
        .or_fault()?;
    Ok(())
}

/// The newest lines, or those before one.
pub(super) fn read(connection: &Connection, before: Option<i64>, limit: u32) -> Result<Vec<AuditRow>> {
    connection
        .prepare_cached(
            "SELECT seq, at, actor, action, subject, before, after FROM audit WHERE seq < ?1
             ORDER BY seq DESC LIMIT ?2",
        )
        .and_then(|mut select| {
            select
                .query_map(params![before.unwrap_or(i64::MAX), limit], |row| {
                    Ok(AuditRow {
                        seq: row.get(0)?,
                        at: row.get(1)?,
                        by: row.get(2)?,
                        action: row.get(3)?,
                        subject: row.get(4)?,
                        before: row.get(5)?,
                        after: row.get(6)?,
                    })
                })?
                .collect()
        })
        .or_fault()
}

/// A tenant as the log shows it.
pub(super) fn of_tenant(tenant: &TenantRow) -> Value {
    json!({
        "weight": tenant.weight,
        "concurrency": (tenant.concurrency != u32::MAX).then_some(tenant.concurrency),
        "settings": tenant.settings.shown(),
        "in_file": tenant.in_file,
        "retired_at": tenant.retired_at,
    })
}

/// A key as the log shows it: neither the key nor its hash.
pub(super) fn of_key(key: &KeyRow) -> Value {
    json!({
        "tenant": key.tenant.name,
        "prefix": key.prefix,
        "scope": key.scope,
        "networks": key.networks,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
    })
}
