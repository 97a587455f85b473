//! The schema and its way forward: numbered steps, never back.

use rusqlite::{Connection, TransactionBehavior};
use uuid::Uuid;

use super::error::StoreFault;
use crate::store::{Result, StoreError};

/// "DRKM", so that a file of another program is never taken for a store.
const APPLICATION_ID: i64 = 0x4452_4B4D;

/// One step a version, in order; a released step is never edited.
const STEPS: &[&str] = &[
    include_str!("../migrations/0001_first.sql"),
    include_str!("../migrations/0002_family.sql"),
    include_str!("../migrations/0003_due.sql"),
    include_str!("../migrations/0004_deliverables.sql"),
    include_str!("../migrations/0005_templates.sql"),
    include_str!("../migrations/0006_usage.sql"),
    include_str!("../migrations/0007_outbox.sql"),
    include_str!("../migrations/0008_tenants.sql"),
    include_str!("../migrations/0009_erasure.sql"),
    include_str!("../migrations/0010_roles.sql"),
    include_str!("../migrations/0011_native.sql"),
];

/// The schema version this program writes.
pub(super) fn version() -> i64 {
    i64::try_from(STEPS.len()).unwrap_or(i64::MAX)
}

/// The schema version of an open file; 0 when nothing is in it yet.
///
/// # Errors
/// [`StoreError::Damaged`] for a file of another program or of a newer version of this one.
pub(super) fn check(connection: &Connection) -> Result<i64> {
    let application: i64 = pragma(connection, "application_id")?;
    let found: i64 = pragma(connection, "user_version")?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).or_fault()?;
    if tables > 0 && application != APPLICATION_ID {
        return Err(StoreError::Damaged("the file is a database of another program".into()));
    }
    if found > version() {
        return Err(StoreError::Damaged(format!(
            "the store has schema version {found}, this program knows up to {}: it was written by a newer \
             version; start that one, or restore a copy made before the upgrade",
            version()
        )));
    }
    Ok(found)
}

/// Brings the schema up to date, all steps in one transaction, and mints the cell id of a new store.
///
/// # Errors
/// See [`check`]; [`StoreError::Unavailable`] when it cannot be written.
pub(super) fn migrate(connection: &mut Connection, cell: Option<Uuid>) -> Result<()> {
    if check(connection)? == version() {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).or_fault()?;
    let found = check(&transaction)?; // another process may have been faster
    for step in STEPS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        transaction.execute_batch(step).or_fault()?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID).or_fault()?;
    transaction.pragma_update(None, "user_version", version()).or_fault()?;
    transaction
        .execute(
            "INSERT INTO meta (name, value) VALUES ('cell', ?1), ('latest_time', 0) ON CONFLICT DO NOTHING",
            [cell.unwrap_or_else(Uuid::new_v4).into_bytes()],
        )
        .or_fault()?;
    transaction.commit().or_fault()
}

/// The id minted with the store.
///
/// # Errors
/// [`StoreError::Damaged`] when it is missing.
pub(super) fn cell(connection: &Connection) -> Result<Uuid> {
    let bytes: [u8; 16] = connection
        .query_row("SELECT value FROM meta WHERE name = 'cell'", [], |row| row.get(0))
        .or_fault()?;
    Ok(Uuid::from_bytes(bytes))
}

fn pragma(connection: &Connection, name: &str) -> Result<i64> {
    connection.pragma_query_value(None, name, |row| row.get(0)).or_fault()
}
