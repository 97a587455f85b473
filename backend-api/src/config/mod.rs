//! Settings: a commented TOML file, then the environment, then nothing else. Every problem is reported at once.
//!
//! `backend.example.toml` lists every setting with its default. A name it does not list is an error.

mod database;
mod gateway;
mod generation;
mod http;
mod identity;
mod log;
mod machines;
mod money;
mod parse;
mod pay;
mod shop;
mod source;
mod wechat;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use machines::Machines;
pub use wechat::Wechat;

use crate::http::Serving;
use crate::{db, gateway_client, telemetry};
use source::Source;

/// Everything that can be set, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to serve.
    pub listen: SocketAddr,
    /// As what this process serves.
    pub serving: Serving,
    /// Who may use the doors for machines.
    pub machines: Machines,
    /// How long open requests may take after a stop signal.
    pub drain_timeout: Duration,
    /// Where everything is kept.
    pub database: db::Options,
    /// Who makes the pictures.
    pub gateway: gateway_client::Options,
    /// Bounds of requests to us.
    pub http: crate::http::Options,
    /// Tokens, and what is sealed.
    pub identity: crate::identity::Options,
    /// Our mini program.
    pub wechat: Wechat,
    /// What is sold, and who collects the money.
    pub money: crate::money::Settings,
    /// What is made; `None` when nothing is offered.
    pub generation: Option<crate::generation::Options>,
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

/// Settings of this process: the file, if one is named, and the environment. `role` goes before both.
///
/// # Errors
/// When the file cannot be read, or with all problems of file and environment.
pub fn load(file: Option<&Path>, role: Option<&str>) -> Result<Config, Error> {
    let text = match file.filter(|path| !path.as_os_str().is_empty()) {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|source| Error::Unreadable { path: path.to_owned(), source })?,
        None => String::new(),
    };
    let env = |name: &str| match role {
        Some(role) if name == "BACKEND_ROLE" => Some(role.to_owned()),
        _ => std::env::var(name).ok(),
    };
    Config::resolve(&text, &env)
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
        let serving = source.get("role", "BACKEND_ROLE", parse::serving).unwrap_or(Serving::Single);
        let http = http::read(source);
        let wechat = wechat::read(source);
        let config = Self {
            listen: listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8191))),
            serving,
            machines: machines::read(source),
            drain_timeout: source.get("drain_seconds", "", parse::seconds).unwrap_or(Duration::from_secs(10)),
            database: database::read(source, &data_dir.unwrap_or_else(|| PathBuf::from("./data"))),
            gateway: gateway::read(source),
            identity: identity::read(source, serving, http.public_access),
            http,
            money: money::read(source, &wechat),
            generation: generation::read(source, &wechat),
            wechat,
            log: log::read(source),
        };
        if config.identity.trust_wx_headers && config.wechat.app_id.is_none() {
            source.problem("wechat.app_id", "is needed to trust the headers of its mini program");
        }
        let photos = config.generation.as_ref().map(|options| options.photos.max_bytes);
        if photos.is_some_and(|most| most > config.http.max_body_bytes) {
            source.problem("generation.max_photo_bytes", "has to be at most http.max_body_bytes");
        }
        // An upload ends with the request that it came by, and what is on the wire then may still arrive.
        let upload = config.generation.as_ref().map(|options| options.photos.upload_for);
        if upload.is_some_and(|longest| longest <= config.http.request_timeout) {
            source.problem(
                "generation.photo_upload_seconds",
                "has to be more than http.request_timeout_seconds",
            );
        }
        if config.money.chores.run_for >= config.http.request_timeout {
            source.problem("chores.run_seconds", "has to be less than http.request_timeout_seconds");
        }
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
