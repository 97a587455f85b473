//! Which database, and within what bounds.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

/// Which database and within what bounds.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it is.
    pub place: Place,
    /// Connections held at most; further callers wait `acquire_timeout` for one.
    pub max_connections: u32,
    /// How long a caller waits for a connection, a new one to a server included.
    pub acquire_timeout: Duration,
    /// How long a statement waits for another writer's lock before it fails.
    pub lock_timeout: Duration,
    /// One try of a transaction may take this long; after it the server counts as lost.
    pub attempt_timeout: Duration,
    /// A transaction that a lost connection or a deadlock undid is begun again within this long of its first try.
    pub retry_for: Duration,
    /// At start, a server that sleeps is waited for this long, and so is a migration by another replica.
    pub start_timeout: Duration,
    /// A connection that was idle for this long is tried before it is used.
    pub check_idle_after: Duration,
}

/// Where the database is.
#[derive(Debug, Clone)]
pub enum Place {
    /// A SQLite file; it and its folder are created when missing. Local disk only.
    Sqlite {
        /// Its path.
        file: PathBuf,
    },
    /// MySQL 8 or MariaDB.
    MySql(Server),
    /// PostgreSQL.
    PostgreSql(Server),
}

/// A database server. The database itself has to exist.
#[derive(Debug, Clone)]
pub struct Server {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Who we are there.
    pub user: String,
    /// How we prove it.
    pub password: Option<SecretString>,
    /// Which database of it.
    pub database: String,
    /// PostgreSQL only: the schema that holds our tables; it has to exist. `None`: the server's search path.
    pub schema: Option<String>,
    /// Whether the connection is encrypted.
    pub tls: Tls,
    /// Certificates (PEM) that the server's own is held against; `None`: the usual public ones.
    pub ca_file: Option<PathBuf>,
}

/// Encryption of the connection to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// Never.
    Off,
    /// When the server offers it; protects against nobody who can change packets.
    Prefer,
    /// Always, whatever the certificate.
    Require,
    /// Always, with a certificate that the authority signed.
    VerifyCa,
    /// Always, with such a certificate for this very host.
    VerifyFull,
}

impl Place {
    /// Whether it is a file of this machine.
    pub fn is_sqlite(&self) -> bool {
        matches!(self, Self::Sqlite { .. })
    }
}

/// For people, without the password.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite { file } => file.display().fmt(f),
            Self::MySql(server) => write!(f, "mysql://{server}"),
            Self::PostgreSql(server) => write!(f, "postgres://{server}"),
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.host, self.port, self.database)
    }
}
