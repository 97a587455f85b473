//! When two transactions do the same thing at once, the second gives way and is begun again: then it finds the first.

use sea_orm::DbErr;

use super::Error;

/// For an insert whose unique key another transaction may be taking at this moment.
pub(crate) fn give_way(error: DbErr) -> Error {
    match Error::from(error) {
        Error::Duplicate(error) => Error::Undone(error),
        error => error,
    }
}

/// For a decision that was made on a row which another transaction has changed meanwhile.
pub(crate) fn begin_again() -> Error {
    Error::Undone(DbErr::Custom("the row was changed by another transaction".to_owned()))
}
