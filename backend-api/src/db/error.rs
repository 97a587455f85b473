//! Why the database could not do its part, split by what the caller will do.

use std::sync::Arc;

use sea_orm::sqlx::mysql::MySqlDatabaseError;
use sea_orm::sqlx::postgres::PgDatabaseError;
use sea_orm::{ConnAcquireErr, DbErr, RuntimeErr, SqlErr, sqlx};

/// Why the database could not do its part.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Busy, full or refused by it: the same call may work later, or a person has to look.
    #[error("the database failed")]
    Failed(#[source] DbErr),
    /// The connection was lost or could not be had. What was under way may have been stored or not.
    #[error("the connection to the database was lost")]
    Lost(#[source] DbErr),
    /// The database undid the transaction in favour of another one: nothing was stored.
    #[error("the transaction was undone in favour of another one")]
    Undone(#[source] DbErr),
    /// There is such a row already.
    #[error("there is such a row already")]
    Duplicate(#[source] DbErr),
    /// The file was removed or moved while we hold it open; writes to it would be lost.
    #[error("the database file is gone")]
    FileGone,
    /// No answer in time. What was under way may have been stored or not.
    #[error("the database does not answer")]
    Slow,
    /// A row that this version cannot read; a person has to look.
    #[error("row {id} is unreadable: {what}")]
    Corrupt {
        /// Which row.
        id: uuid::Uuid,
        /// What is wrong with it.
        what: String,
    },
    /// The folder of the file cannot be created.
    #[error("cannot create the database folder")]
    Folder(#[source] std::io::Error),
    /// The linked SQLite is older than what we trust with data.
    #[error("SQLite {found} is too old, 3.51.3 or newer is needed")]
    TooOld {
        /// Its version.
        found: String,
    },
    /// The tables were changed by a newer version of this program.
    #[error(
        "the database was migrated by a newer version ({found}), which this one does not know; start that version, \
         or restore the copy taken before the upgrade"
    )]
    Newer {
        /// The first change that we do not know.
        found: String,
    },
    /// A MySQL database that cannot store every text.
    #[error(
        "the database stores text as {found}; run: ALTER DATABASE CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
    )]
    Charset {
        /// Its character set.
        found: String,
    },
}

/// Whether the same attempt may succeed if it is begun again from its start, at once.
pub trait Transient {
    /// Says so; whether a repeat is also *safe* is for the caller to know.
    fn is_transient(&self) -> bool;
}

impl Transient for Error {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Lost(_) | Self::Undone(_) | Self::Slow)
    }
}

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        if let Some(SqlErr::UniqueConstraintViolation(_)) = error.sql_err() {
            return Self::Duplicate(error);
        }
        match fate(&error) {
            Fate::Lost => Self::Lost(error),
            Fate::Undone => Self::Undone(error),
            Fate::Other => Self::Failed(error),
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        DbErr::Conn(RuntimeErr::SqlxError(Arc::new(error))).into()
    }
}

enum Fate {
    Lost,
    Undone,
    Other,
}

fn fate(error: &DbErr) -> Fate {
    match error {
        DbErr::ConnectionAcquire(ConnAcquireErr::Timeout) => Fate::Lost,
        DbErr::Conn(RuntimeErr::SqlxError(cause))
        | DbErr::Exec(RuntimeErr::SqlxError(cause))
        | DbErr::Query(RuntimeErr::SqlxError(cause)) => fate_of_call(cause),
        _ => Fate::Other,
    }
}

fn fate_of_call(error: &sqlx::Error) -> Fate {
    match error {
        // `Protocol` is also what a server's half-spoken farewell looks like.
        sqlx::Error::Io(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::WorkerCrashed => Fate::Lost,
        sqlx::Error::Database(error) => {
            if let Some(error) = error.try_downcast_ref::<PgDatabaseError>() {
                fate_by_sqlstate(error.code())
            } else if let Some(error) = error.try_downcast_ref::<MySqlDatabaseError>() {
                fate_by_number(error.number())
            } else {
                Fate::Other // SQLite: a busy file was waited for already
            }
        }
        _ => Fate::Other,
    }
}

/// PostgreSQL, appendix A: class 40 undoes the transaction; 08 and 57P are farewells, 53300 a full house.
fn fate_by_sqlstate(code: &str) -> Fate {
    match code {
        "57P01" | "57P02" | "57P03" | "57P05" | "53300" => Fate::Lost,
        code if code.starts_with("40") => Fate::Undone,
        code if code.starts_with("08") => Fate::Lost,
        _ => Fate::Other,
    }
}

/// MySQL and MariaDB: 1213 deadlock, 1205 lock wait (undoes the statement only: our transaction is dropped with it);
/// 1040 and 1203 a full house, 1053, 1927, 1152, 4031 farewells of a server that stops, kills or tires.
fn fate_by_number(number: u16) -> Fate {
    match number {
        1205 | 1213 => Fate::Undone,
        1040 | 1053 | 1152 | 1203 | 1927 | 4031 => Fate::Lost,
        _ => Fate::Other,
    }
}
