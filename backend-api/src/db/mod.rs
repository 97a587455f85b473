//! The database behind domain-typed functions: SQLite, MySQL or PostgreSQL. Rows and SQL never leave this module.
//!
//! Rules that hold on all three:
//! - A decision is a conditional `UPDATE` and the number of rows it met, or an insert and [`Error::Duplicate`] in a
//!   transaction of its own; never "insert or ignore", never a locking read.
//! - Times are milliseconds since the epoch. Text that is compared is binary (`migrations::create_table` sees to it).
//! - What spans statements is one transaction; what may be repeated runs under [`Database::retry`].

pub mod artworks;
pub mod bills;
mod bridge;
mod connect;
pub mod due;
mod error;
mod give_way;
pub mod ledger;
mod migrations;
mod options;
pub mod orders;
pub mod photos;
mod profiles;
mod retry;
mod sessions;
mod users;

use std::path::PathBuf;
use std::time::Duration;

use prometheus::IntCounter;
use sea_orm::{
    ConnectionTrait as _, DatabaseConnection, DatabaseTransaction, DbBackend, SqliteTransactionMode,
    Statement, TransactionOptions, TransactionTrait as _,
};
use tokio::time::Instant;
use tracing::{info, warn};

pub use bridge::PaymentNoted;
pub use error::{Error, Transient};
pub(crate) use give_way::{begin_again, give_way};
pub use options::{Options, Place, Server, Tls};
pub use profiles::{ProfileRow, erase_profile_in};
pub use sessions::{Revoked, SessionRow, erase_sessions_in};
pub(crate) use users::take_turn_in;
pub use users::{AccountRow, erase_user_in};

use crate::error_chain::chain;
use retry::Pauses;

/// A transaction: several statements, all or none. Undone when it is dropped without [`Database::commit`].
pub type Transaction = DatabaseTransaction;

/// Earlier versions can corrupt a WAL database that two connections use.
const OLDEST_SQLITE: (u32, u32, u32) = (3, 51, 3);

/// How long the readiness probe waits for the database.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// A pool of connections. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Database {
    connection: DatabaseConnection,
    file: Option<PathBuf>,
    bounds: Bounds,
    retries: IntCounter,
}

/// See [`Options`].
#[derive(Debug, Clone, Copy)]
struct Bounds {
    attempt_timeout: Duration,
    retry_for: Duration,
}

impl Database {
    /// Opens the database, waits for one that sleeps, and applies what migrations are missing.
    ///
    /// # Errors
    /// When it cannot be reached in time, refuses us, is too old or too new for this program, or a migration fails.
    pub async fn open(options: &Options) -> Result<Self, Error> {
        let mut pauses = Pauses::until(Instant::now() + options.start_timeout);
        let connection = loop {
            match Self::prepare(options).await {
                Ok(connection) => break connection,
                Err(error) if error.is_transient() && pauses.pause().await => {
                    warn!(error = %chain(&error), "database is not there yet");
                }
                Err(error) => return Err(error),
            }
        };
        let file = match &options.place {
            Place::Sqlite { file } => Some(file.clone()),
            Place::MySql(_) | Place::PostgreSql(_) => None,
        };
        info!(database = %options.place, "database is open");
        Ok(Self {
            connection,
            file,
            bounds: Bounds { attempt_timeout: options.attempt_timeout, retry_for: options.retry_for },
            retries: retries_counter(),
        })
    }

    async fn prepare(options: &Options) -> Result<DatabaseConnection, Error> {
        // Of its own, so that whatever a migration leaves in its session (locks above all) ends with it.
        let alone = connect::connect(options, 1, options.start_timeout).await?;
        let migrated = prepare_schema(&alone, options).await;
        let closed = alone.close().await;
        migrated?;
        closed?;
        connect::connect(options, options.max_connections, options.lock_timeout).await
    }

    /// Begins a transaction that may write. On SQLite it takes the write lock now: a reader that turns writer later
    /// could not wait for it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin(&self) -> Result<Transaction, Error> {
        Ok(begin(&self.connection).await?)
    }

    /// Makes durable what the transaction did.
    ///
    /// # Errors
    /// When the database fails; after [`Error::Lost`] the changes may be stored or not.
    pub async fn commit(&self, transaction: Transaction) -> Result<(), Error> {
        Ok(transaction.commit().await?)
    }

    /// Proves that a write could be made now, without making one.
    ///
    /// # Errors
    /// When the file is gone, locked by another writer for longer than the probe waits, or the database fails.
    pub async fn probe(&self) -> Result<(), Error> {
        tokio::time::timeout(PROBE_TIMEOUT, self.try_write()).await.unwrap_or(Err(Error::Slow))
    }

    /// Waits for running statements and closes every connection.
    ///
    /// # Errors
    /// When a connection does not close cleanly.
    pub async fn close(self) -> Result<(), Error> {
        Ok(self.connection.close().await?)
    }

    /// Counts the attempts that were repeated.
    pub fn retries(&self) -> IntCounter {
        self.retries.clone()
    }

    async fn try_write(&self) -> Result<(), Error> {
        let Some(file) = &self.file else {
            return Ok(self.connection.ping().await?);
        };
        // SQLite goes on writing into an unlinked file without a word.
        if !tokio::fs::try_exists(file).await.unwrap_or(false) {
            return Err(Error::FileGone);
        }
        Ok(self.begin().await?.rollback().await?)
    }
}

async fn begin(connection: &DatabaseConnection) -> Result<Transaction, sea_orm::DbErr> {
    let immediate = connection.get_database_backend() == DbBackend::Sqlite;
    connection
        .begin_with_options(TransactionOptions {
            isolation_level: None,
            access_mode: None,
            sqlite_transaction_mode: immediate.then_some(SqliteTransactionMode::Immediate),
        })
        .await
}

async fn prepare_schema(connection: &DatabaseConnection, options: &Options) -> Result<(), Error> {
    match connection.get_database_backend() {
        DbBackend::Sqlite => require_sqlite_version(connection).await?,
        DbBackend::MySql => require_utf8mb4(connection).await?,
        _ => {}
    }
    migrations::apply(connection, options.start_timeout).await
}

async fn require_sqlite_version(connection: &DatabaseConnection) -> Result<(), Error> {
    let found = scalar(connection, "SELECT sqlite_version() AS value").await?;
    let mut parts = found.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let mut part = || parts.next().unwrap_or(0);
    if (part(), part(), part()) < OLDEST_SQLITE {
        return Err(Error::TooOld { found });
    }
    Ok(())
}

async fn require_utf8mb4(connection: &DatabaseConnection) -> Result<(), Error> {
    let found = scalar(connection, "SELECT @@character_set_database AS value").await?;
    if found == "utf8mb4" { Ok(()) } else { Err(Error::Charset { found }) }
}

async fn scalar(connection: &DatabaseConnection, query: &str) -> Result<String, Error> {
    let query = Statement::from_string(connection.get_database_backend(), query);
    Ok(match connection.query_one_raw(query).await? {
        Some(row) => row.try_get::<String>("", "value")?,
        None => String::new(),
    })
}

fn retries_counter() -> IntCounter {
    IntCounter::new("backend_database_retries_total", "Database attempts that were begun again.")
        .expect("a constant name and help, registered by a test")
}
