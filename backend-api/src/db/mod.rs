//! The database behind domain-typed functions. SQLite in this version; rows and SQL never leave this module.

mod entity;
mod migrations;
mod works;

use std::path::PathBuf;
use std::time::Duration;

use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sea_orm::{
    ConnectOptions, ConnectionTrait as _, DatabaseConnection, DbErr, SqliteTransactionMode, Statement,
    TransactionOptions, TransactionTrait as _,
};
use sea_orm_migration::MigratorTrait as _;

pub use works::Saved;

/// Earlier versions can corrupt a WAL database that two connections use.
const OLDEST_SQLITE: (u32, u32, u32) = (3, 51, 3);

/// How long the readiness probe waits for the database.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Which database and within what bounds.
#[derive(Debug, Clone)]
pub struct Options {
    /// The SQLite file; it and its folder are created when missing. Local disk only.
    pub file: PathBuf,
    /// Connections held at most; further callers wait `busy_timeout` for one.
    pub max_connections: u32,
    /// How long a statement waits for another writer before it fails.
    pub busy_timeout: Duration,
}

/// A pool of connections. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Database {
    connection: DatabaseConnection,
    file: PathBuf,
}

/// Why the database could not do its part.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Busy, full, gone or unreachable: the same call may work later.
    #[error("the database failed")]
    Failed(#[from] DbErr),
    /// The file was removed or moved while we hold it open; writes to it would be lost.
    #[error("the database file is gone")]
    FileGone,
    /// The probe got no answer in time.
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
}

impl Database {
    /// Opens the file in WAL mode, every commit synced, and applies what migrations are missing.
    ///
    /// # Errors
    /// When the folder or file cannot be opened, SQLite is too old, or a migration fails.
    pub async fn open(options: &Options) -> Result<Self, Error> {
        if let Some(folder) = options.file.parent() {
            tokio::fs::create_dir_all(folder).await.map_err(Error::Folder)?;
        }
        let connection = sea_orm::Database::connect(connect_options(options)).await?;
        require_sqlite_version(&connection).await?;
        migrations::Migrator::up(&connection, None).await?;
        Ok(Self { connection, file: options.file.clone() })
    }

    /// Proves that a write could be made now, without making one.
    ///
    /// # Errors
    /// When the file is gone, locked by another writer for longer than the probe waits, or fails.
    pub async fn probe(&self) -> Result<(), Error> {
        tokio::time::timeout(PROBE_TIMEOUT, self.take_write_lock()).await.unwrap_or(Err(Error::Slow))
    }

    /// Waits for running statements and closes every connection.
    ///
    /// # Errors
    /// When a connection does not close cleanly.
    pub async fn close(self) -> Result<(), Error> {
        Ok(self.connection.close().await?)
    }

    async fn take_write_lock(&self) -> Result<(), Error> {
        // SQLite goes on writing into an unlinked file without a word.
        if !tokio::fs::try_exists(&self.file).await.unwrap_or(false) {
            return Err(Error::FileGone);
        }
        let transaction = self
            .connection
            .begin_with_options(TransactionOptions {
                isolation_level: None,
                access_mode: None,
                sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            })
            .await?;
        Ok(transaction.rollback().await?)
    }
}

/// Settings live here rather than in the URL: sea-orm by itself sets neither WAL nor a busy timeout.
fn connect_options(options: &Options) -> ConnectOptions {
    let (file, busy_timeout) = (options.file.clone(), options.busy_timeout);
    let mut connect = ConnectOptions::new("sqlite:"); // the path is set below, so it needs no URL escaping
    connect
        .max_connections(options.max_connections)
        .acquire_timeout(busy_timeout)
        .sqlx_logging(false)
        .map_sqlx_sqlite_opts(move |sqlite| {
            sqlite
                .filename(&file)
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                .busy_timeout(busy_timeout)
                .foreign_keys(true)
                .pragma("journal_size_limit", "67108864")
        });
    connect
}

async fn require_sqlite_version(connection: &DatabaseConnection) -> Result<(), Error> {
    let query =
        Statement::from_string(connection.get_database_backend(), "SELECT sqlite_version() AS version");
    let found = match connection.query_one_raw(query).await? {
        Some(row) => row.try_get::<String>("", "version")?,
        None => String::new(),
    };
    let mut parts = found.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let mut part = || parts.next().unwrap_or(0);
    if (part(), part(), part()) < OLDEST_SQLITE {
        return Err(Error::TooOld { found });
    }
    Ok(())
}
