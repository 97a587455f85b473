//! Settings: a commented TOML file, then the environment, then nothing else. Every problem is reported at once.
//!
//! `backend.example.toml` lists every setting with its default. A name it does not list is an error.

mod parse;
mod source;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Url;
use secrecy::SecretString;

use crate::{db, gateway_client, http, telemetry};
use source::Source;

/// Everything that can be set, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to serve.
    pub listen: SocketAddr,
    /// Bearer token of the internal routes; without it they are not served.
    pub service_token: Option<SecretString>,
    /// How long open requests may take after a stop signal.
    pub drain_timeout: Duration,
    /// Where works are kept.
    pub database: db::Options,
    /// Who makes the pictures.
    pub gateway: gateway_client::Options,
    /// Bounds of requests to us.
    pub http: http::Options,
    /// What to log and how.
    pub log: telemetry::Options,
}

/// The settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file that was named cannot be read.
    #[error("cannot read the settings file {}", .path.display())]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Values or names are wrong: all of them.
    #[error("{0}")]
    Problems(Problems),
}

/// Every problem found, in the order of the settings.
#[derive(Debug)]
pub struct Problems(Vec<Problem>);

/// One wrong value or name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which setting, and where it was set.
    pub place: String,
    /// What is wrong; never shows the value, which may be secret.
    pub message: String,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => write!(f, "1 problem in the settings")?,
            count => write!(f, "{count} problems in the settings")?,
        }
        self.0.iter().try_for_each(|problem| write!(f, "\n  {}: {}", problem.place, problem.message))
    }
}

/// Settings of this process: the file, if one is named, and the environment.
///
/// # Errors
/// When the file cannot be read, or with all problems of file and environment.
pub fn load(file: Option<&Path>) -> Result<Config, Error> {
    let text = match file.filter(|path| !path.as_os_str().is_empty()) {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|source| Error::Unreadable { path: path.to_owned(), source })?,
        None => String::new(),
    };
    Config::resolve(&text, &|name| std::env::var(name).ok())
}

impl Config {
    /// Settings from the text of a file and an environment. A variable that is empty counts as unset.
    ///
    /// # Errors
    /// [`Error::Problems`] with every problem there is.
    pub fn resolve(file: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let mut source = Source::new(file, env);
        let config = Self::read(&mut source);
        match source.finish() {
            problems if problems.is_empty() => Ok(config),
            problems => Err(Error::Problems(Problems(problems))),
        }
    }

    /// On a problem the default stands in, so that the rest is checked too; [`Self::resolve`] then throws it all away.
    fn read(source: &mut Source<'_>) -> Self {
        let listen = source.get("listen", "BACKEND_LISTEN", parse::address);
        let data_dir = source.get("data_dir", "BACKEND_DATA_DIR", parse::path);
        let config = Self {
            listen: listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8191))),
            service_token: source.get("service_token", "BACKEND_SERVICE_TOKEN", parse::service_token),
            drain_timeout: source.get("drain_seconds", "", parse::seconds).unwrap_or(Duration::from_secs(10)),
            database: read_database(source, &data_dir.unwrap_or_else(|| PathBuf::from("./data"))),
            gateway: read_gateway(source),
            http: read_http(source),
            log: read_log(source),
        };
        // After a repeated submission or the last poll, one more call to the gateway may be under way.
        let slowest_read =
            (config.http.max_wait + config.gateway.request_timeout).max(config.gateway.request_timeout * 2);
        if slowest_read >= config.http.request_timeout {
            source.problem(
                "http.request_timeout_seconds",
                "has to be more than http.max_wait_seconds + gateway.request_timeout_seconds, and than twice the latter",
            );
        }
        config
    }
}

fn read_database(source: &mut Source<'_>, data_dir: &Path) -> db::Options {
    db::Options {
        file: source
            .get("database.url", "BACKEND_DATABASE_URL", parse::sqlite_file)
            .unwrap_or_else(|| data_dir.join("backend.sqlite3")),
        max_connections: source.get("database.max_connections", "", parse::count).unwrap_or(4),
        busy_timeout: source
            .get("database.busy_timeout_seconds", "", parse::seconds)
            .unwrap_or(Duration::from_secs(5)),
    }
}

fn read_gateway(source: &mut Source<'_>) -> gateway_client::Options {
    gateway_client::Options {
        url: source
            .get("gateway.url", "BACKEND_GATEWAY_URL", parse::http_url)
            .unwrap_or_else(default_gateway),
        key: source.get("gateway.key", "BACKEND_GATEWAY_KEY", parse::header_secret),
        request_timeout: source
            .get("gateway.request_timeout_seconds", "", parse::seconds)
            .unwrap_or(Duration::from_secs(5)),
        max_reply_bytes: source.get("gateway.max_reply_bytes", "", parse::bytes).unwrap_or(4 * 1024 * 1024),
    }
}

fn read_http(source: &mut Source<'_>) -> http::Options {
    http::Options {
        max_body_bytes: source.get("http.max_body_bytes", "", parse::bytes).unwrap_or(1024 * 1024),
        request_timeout: source
            .get("http.request_timeout_seconds", "", parse::seconds)
            .unwrap_or(Duration::from_secs(15)),
        max_wait: source.get("http.max_wait_seconds", "", parse::seconds).unwrap_or(Duration::from_secs(8)),
    }
}

fn read_log(source: &mut Source<'_>) -> telemetry::Options {
    telemetry::Options {
        filter: source
            .get("log.filter", "BACKEND_LOG", parse::log_filter)
            .unwrap_or_else(|| "info".to_owned()),
        format: source
            .get("log.format", "BACKEND_LOG_FORMAT", parse::log_format)
            .unwrap_or(telemetry::Format::Json),
    }
}

fn default_gateway() -> Url {
    Url::parse("http://127.0.0.1:8190").expect("a constant that every test of this crate parses")
}
