//! How each kind of database is connected to. Settings live here rather than in a URL, which could not hold them all.

use std::time::Duration;

use sea_orm::sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sea_orm::sqlx::postgres::{PgConnectOptions, PgSslMode};
use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sea_orm::{ConnectOptions, DatabaseConnection, DbErr, RuntimeErr};
use secrecy::ExposeSecret as _;
use sqlx::{AssertSqlSafe, Executor as _};

use super::{Error, Options, Place, Server, Tls};

/// A pool of at most `connections`; connects at once.
pub(super) async fn connect(
    options: &Options,
    connections: u32,
    lock_timeout: Duration,
) -> Result<DatabaseConnection, Error> {
    let mut connect = match &options.place {
        Place::Sqlite { file } => {
            if let Some(folder) = file.parent() {
                tokio::fs::create_dir_all(folder).await.map_err(Error::Folder)?;
            }
            let mut connect = ConnectOptions::new("sqlite:"); // the path is set below, so it needs no URL escaping
            sqlite(&mut connect, file.clone(), lock_timeout);
            connect
        }
        Place::MySql(server) => {
            let mut connect = ConnectOptions::new("mysql://localhost");
            mysql(&mut connect, server, lock_timeout);
            connect.test_before_acquire_if_idle_for(options.check_idle_after);
            connect
        }
        Place::PostgreSql(server) => {
            let mut connect = ConnectOptions::new("postgres://localhost");
            postgres(&mut connect, server, lock_timeout);
            connect.test_before_acquire_if_idle_for(options.check_idle_after);
            connect
        }
    };
    connect.max_connections(connections).acquire_timeout(options.acquire_timeout).sqlx_logging(false);
    let connected = sea_orm::Database::connect(connect).await;
    connected.map_err(|error| if is_busy(&error) { Error::Lost(error) } else { error.into() })
}

/// SQLite does not wait for the lock that the first switch of a new file to WAL takes: whoever opens it at that moment
/// comes again.
fn is_busy(error: &DbErr) -> bool {
    const SQLITE_BUSY: &str = "5";
    let DbErr::Conn(RuntimeErr::SqlxError(cause)) = error else { return false };
    cause.as_database_error().is_some_and(|error| error.code().as_deref() == Some(SQLITE_BUSY))
}

/// sea-orm by itself sets neither WAL nor a busy timeout.
fn sqlite(connect: &mut ConnectOptions, file: std::path::PathBuf, lock_timeout: Duration) {
    connect.test_before_acquire(false).map_sqlx_sqlite_opts(move |sqlite| {
        sqlite
            .filename(&file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(lock_timeout)
            .foreign_keys(true)
            .pragma("journal_size_limit", "67108864")
    });
}

fn mysql(connect: &mut ConnectOptions, server: &Server, lock_timeout: Duration) {
    let mut options = MySqlConnectOptions::new()
        .host(&server.host)
        .port(server.port)
        .username(&server.user)
        .database(&server.database)
        .charset("utf8mb4")
        .ssl_mode(match server.tls {
            Tls::Off => MySqlSslMode::Disabled,
            Tls::Prefer => MySqlSslMode::Preferred,
            Tls::Require => MySqlSslMode::Required,
            Tls::VerifyCa => MySqlSslMode::VerifyCa,
            Tls::VerifyFull => MySqlSslMode::VerifyIdentity,
        });
    if let Some(password) = &server.password {
        options = options.password(password.expose_secret());
    }
    if let Some(file) = &server.ca_file {
        options = options.ssl_ca(file);
    }
    // Like PostgreSQL and SQLite: a statement sees what is committed, and a value that does not fit is an error.
    let session = format!(
        "SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES'), SESSION innodb_lock_wait_timeout = {}",
        lock_timeout.as_secs().max(1)
    );
    connect.map_sqlx_mysql_opts(move |_| options.clone()).map_sqlx_mysql_pool_opts(move |pool| {
        let session = session.clone();
        pool.after_connect(move |connection, _| {
            let session = session.clone();
            Box::pin(async move {
                connection.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await?;
                connection.execute(AssertSqlSafe(session)).await?;
                Ok(())
            })
        })
    });
}

fn postgres(connect: &mut ConnectOptions, server: &Server, lock_timeout: Duration) {
    let mut options = PgConnectOptions::new_without_pgpass()
        .host(&server.host)
        .port(server.port)
        .username(&server.user)
        .database(&server.database)
        .application_name("backend-api")
        .options([("lock_timeout", format!("{}ms", lock_timeout.as_millis()))])
        .ssl_mode(match server.tls {
            Tls::Off => PgSslMode::Disable,
            Tls::Prefer => PgSslMode::Prefer,
            Tls::Require => PgSslMode::Require,
            Tls::VerifyCa => PgSslMode::VerifyCa,
            Tls::VerifyFull => PgSslMode::VerifyFull,
        });
    if let Some(password) = &server.password {
        options = options.password(password.expose_secret());
    }
    if let Some(file) = &server.ca_file {
        options = options.ssl_root_cert(file);
    }
    if let Some(schema) = &server.schema {
        options = options.options([("search_path", schema)]);
    }
    connect.map_sqlx_postgres_opts(move |_| options.clone());
}
