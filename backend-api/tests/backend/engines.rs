//! The same test on every kind of database, each time on a fresh one.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use backend_api::config::Config;
use backend_api::db;
use sea_orm::{ConnectionTrait as _, Database};
use tempfile::TempDir;
use uuid::Uuid;

/// A kind of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    MariaDb,
    PostgreSql,
}

/// Makes three tests of each `async fn(Engine)`, called by the names of the engines.
macro_rules! on_every_engine {
    ($($name:ident),* $(,)?) => {$(
        mod $name {
            #[tokio::test]
            async fn sqlite() {
                super::$name($crate::engines::Engine::Sqlite).await;
            }

            #[tokio::test]
            async fn mariadb() {
                super::$name($crate::engines::Engine::MariaDb).await;
            }

            #[tokio::test]
            async fn postgresql() {
                super::$name($crate::engines::Engine::PostgreSql).await;
            }
        }
    )*};
}
pub(crate) use on_every_engine;

impl Engine {
    /// URL of a database that nobody else uses, for `BACKEND_DATABASE_URL`. SQLite's lies in `folder`.
    pub async fn fresh(self, folder: &TempDir) -> String {
        if self == Self::Sqlite {
            return format!("sqlite:{}", folder.path().join("data/backend.sqlite3").display());
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let name = format!("test_{now}_{}", Uuid::new_v4().simple());
        let (home, create) = match self {
            Self::MariaDb => ("", format!("CREATE DATABASE {name} CHARACTER SET utf8mb4")),
            _ => ("postgres", format!("CREATE DATABASE {name}")),
        };
        let server = self.server();
        let admin = Database::connect(format!("{server}/{home}")).await.unwrap_or_else(|error| {
            panic!("no database server for tests: run tests/databases ({error})");
        });
        admin.execute_unprepared(&create).await.unwrap();
        admin.close().await.unwrap();
        format!("{server}/{name}")
    }

    /// A server's URL without a database; the tests' script started it.
    pub fn server(self) -> String {
        told(match self {
            Self::MariaDb => "mariadb",
            Self::PostgreSql => "postgresql",
            Self::Sqlite => panic!("SQLite has no server"),
        })
    }

    /// Options as settings would give them, for a fresh database.
    pub async fn options(self, folder: &TempDir) -> db::Options {
        options(&self.fresh(folder).await)
    }
}

/// Options as settings would give them.
pub fn options(url: &str) -> db::Options {
    let env = |name: &str| (name == "BACKEND_DATABASE_URL").then(|| url.to_owned());
    db::Options { start_timeout: Duration::from_secs(20), ..Config::resolve("", &env).unwrap().database }
}

/// Certificates of the tests' servers: `ca.pem` signed them, `other-ca.pem` did not.
pub fn tls_folder() -> PathBuf {
    told("tls").into()
}

fn told(name: &str) -> String {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../databases/servers");
    let text = std::fs::read_to_string(file)
        .unwrap_or_else(|error| panic!("no database servers for tests: run tests/databases ({error})"));
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    line.unwrap_or_else(|| panic!("no {name} for tests: run tests/databases")).to_owned()
}
