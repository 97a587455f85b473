//! SQLite's errors in the words of the store.

use rusqlite::ErrorCode;

use crate::store::StoreError;

/// Turns a result of SQLite into one of the store.
pub(super) trait StoreFault<T> {
    /// The value, or the store's error.
    fn or_fault(self) -> Result<T, StoreError>;
}

impl<T> StoreFault<T> for Result<T, rusqlite::Error> {
    fn or_fault(self) -> Result<T, StoreError> {
        self.map_err(fault)
    }
}

impl<T> StoreFault<T> for Result<T, serde_json::Error> {
    fn or_fault(self) -> Result<T, StoreError> {
        self.map_err(|error| StoreError::Damaged(format!("a stored JSON text does not parse: {error}")))
    }
}

pub(super) fn fault(error: rusqlite::Error) -> StoreError {
    let rusqlite::Error::SqliteFailure(code, _) = &error else {
        return StoreError::Damaged(error.to_string());
    };
    let cause = match code.code {
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::ConstraintViolation => {
            return StoreError::Damaged(error.to_string());
        }
        ErrorCode::DiskFull => "the disk is full",
        ErrorCode::ReadOnly => "the database is read-only",
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => "another process holds the database",
        ErrorCode::CannotOpen => "the database file cannot be opened",
        ErrorCode::SystemIoFailure => "the disk fails",
        ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied => "permission denied",
        ErrorCode::OutOfMemory => "out of memory",
        _ => return StoreError::Unavailable(error.to_string()),
    };
    StoreError::Unavailable(format!("{cause} ({error})"))
}
