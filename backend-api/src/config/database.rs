//! `[database]`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Url;
use secrecy::SecretString;

use super::parse;
use super::source::Source;
use crate::db::{Options, Place, Server, Tls};

/// What a URL tells of a place; the rest has settings of its own.
#[derive(Debug)]
enum Told {
    Sqlite { file: PathBuf },
    Server(Engine, Url),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Engine {
    MySql,
    PostgreSql,
}

/// What of a server is told beside its URL.
struct Beside {
    password: Option<SecretString>,
    name: Option<String>,
    schema: Option<String>,
    tls: Tls,
    ca_file: Option<PathBuf>,
}

pub(super) fn read(source: &mut Source<'_>, data_dir: &Path) -> Options {
    let seconds = |source: &mut Source<'_>, name: &str, default| {
        source.get(name, "", parse::seconds).unwrap_or(Duration::from_secs(default))
    };
    let options = Options {
        place: place(source, data_dir),
        max_connections: source.get("database.max_connections", "", parse::count).unwrap_or(4),
        acquire_timeout: seconds(source, "database.acquire_timeout_seconds", 5),
        lock_timeout: seconds(source, "database.lock_timeout_seconds", 5),
        attempt_timeout: seconds(source, "database.attempt_timeout_seconds", 6),
        retry_for: seconds(source, "database.retry_seconds", 8),
        start_timeout: seconds(source, "database.start_timeout_seconds", 60),
        check_idle_after: seconds(source, "database.check_idle_after_seconds", 5),
    };
    let allowed = source
        .get("database.allow_sqlite_on_cloud_run", "BACKEND_DATABASE_ALLOW_SQLITE_ON_CLOUD_RUN", parse::flag)
        .unwrap_or(false);
    if options.place.is_sqlite() && source.env("CBR_ENV_ID").is_some() && !allowed {
        source.problem(
            "database.url",
            "SQLite loses everything on Cloud Run, whose disks end with each instance and are not shared between \
             replicas: name a MySQL or PostgreSQL database, or accept that by database.allow_sqlite_on_cloud_run = true",
        );
    }
    options
}

fn place(source: &mut Source<'_>, data_dir: &Path) -> Place {
    let told = source.get("database.url", "BACKEND_DATABASE_URL", url);
    let beside = Beside {
        password: source.get("database.password", "BACKEND_DATABASE_PASSWORD", parse::secret),
        name: source.get("database.name", "BACKEND_DATABASE_NAME", parse::text),
        schema: source.get("database.schema", "", schema),
        tls: source.get("database.tls", "BACKEND_DATABASE_TLS", tls).unwrap_or(Tls::Prefer),
        ca_file: source.get("database.ca_file", "", parse::path),
    };
    if beside.ca_file.is_some() && !matches!(beside.tls, Tls::VerifyCa | Tls::VerifyFull) {
        source.problem("database.ca_file", "is used by database.tls = \"verify_ca\" or \"verify_full\" only");
    }
    match told {
        Some(Told::Sqlite { file }) => Place::Sqlite { file },
        Some(Told::Server(engine, url)) => server(source, engine, &url, beside),
        None => match source.env("MYSQL_ADDRESS") {
            Some(address) => of_the_platform(source, &address, beside),
            None => Place::Sqlite { file: data_dir.join("backend.sqlite3") },
        },
    }
}

fn server(source: &mut Source<'_>, engine: Engine, url: &Url, beside: Beside) -> Place {
    let in_url = url.path().trim_start_matches('/');
    let database = match (in_url.is_empty(), beside.name) {
        (false, None) => decoded(in_url),
        (true, Some(name)) => name,
        (true, None) => DATABASE.to_owned(),
        (false, Some(_)) => {
            source.problem("database.name", "the name of the database is in database.url already");
            String::new()
        }
    };
    if beside.schema.is_some() && engine == Engine::MySql {
        source.problem("database.schema", "is of PostgreSQL only");
    }
    let user = if url.username().is_empty() { default_user(engine) } else { url.username() };
    let server = Server {
        host: url.host_str().unwrap_or("localhost").trim_matches(['[', ']']).to_owned(),
        port: url.port().unwrap_or(default_port(engine)),
        user: decoded(user),
        password: beside.password.or_else(|| url.password().map(|text| SecretString::from(decoded(text)))),
        database,
        schema: beside.schema,
        tls: beside.tls,
        ca_file: beside.ca_file,
    };
    match engine {
        Engine::MySql => Place::MySql(server),
        Engine::PostgreSql => Place::PostgreSql(server),
    }
}

/// Name of the database when nothing tells it.
const DATABASE: &str = "darkroom";

/// What WeChat Cloud Run tells of its own MySQL.
fn of_the_platform(source: &mut Source<'_>, address: &str, beside: Beside) -> Place {
    let (host, port) = match address.rsplit_once(':') {
        None => (address, Some(default_port(Engine::MySql))),
        Some((host, port)) => (host, port.parse().ok()),
    };
    if host.is_empty() || port.is_none() {
        source.problem("MYSQL_ADDRESS", "<host>:<port> is expected");
    }
    Place::MySql(Server {
        host: host.to_owned(),
        port: port.unwrap_or_default(),
        user: source.env("MYSQL_USERNAME").unwrap_or_else(|| default_user(Engine::MySql).to_owned()),
        password: beside.password.or_else(|| source.env("MYSQL_PASSWORD").map(SecretString::from)),
        database: beside.name.unwrap_or_else(|| DATABASE.to_owned()),
        schema: None,
        tls: beside.tls,
        ca_file: beside.ca_file,
    })
}

fn default_port(engine: Engine) -> u16 {
    match engine {
        Engine::MySql => 3306,
        Engine::PostgreSql => 5432,
    }
}

fn default_user(engine: Engine) -> &'static str {
    match engine {
        Engine::MySql => "root",
        Engine::PostgreSql => "postgres",
    }
}

/// Percent signs of a URL's parts, resolved.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = tail.get(..2).filter(|_| *first == b'%');
        let byte = escaped.and_then(|digits| {
            std::str::from_utf8(digits).ok().and_then(|digits| u8::from_str_radix(digits, 16).ok())
        });
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn url(text: &str) -> Result<Told, String> {
    let engine = match text.split_once(':').map_or("", |(scheme, _)| scheme) {
        "sqlite" => return sqlite_file(text).map(|file| Told::Sqlite { file }),
        "mysql" | "mariadb" => Engine::MySql,
        "postgres" | "postgresql" => Engine::PostgreSql,
        _ => return Err("sqlite:<path>, mysql://… or postgres://… is expected".to_owned()),
    };
    match Url::parse(text) {
        Ok(url) if url.host_str().is_none_or(str::is_empty) => Err("the server's name is missing".to_owned()),
        Ok(url) if url.query().is_some() || url.fragment().is_some() => {
            Err("parameters are not taken: encryption and bounds have settings of their own".to_owned())
        }
        Ok(url) if url.path().trim_start_matches('/').contains('/') => {
            Err("one name of a database is expected after the server".to_owned())
        }
        Ok(url) => Ok(Told::Server(engine, url)),
        Err(error) => Err(format!("not a URL: {error}")),
    }
}

/// `sqlite:<path>` or `sqlite://<path>`.
fn sqlite_file(text: &str) -> Result<PathBuf, String> {
    let rest = text.strip_prefix("sqlite:").unwrap_or_default();
    match rest.strip_prefix("//").unwrap_or(rest) {
        "" => Err("the path of the file is missing".to_owned()),
        path if path.contains(":memory:") => {
            Err("what is stored has to survive a restart, so a file is expected".to_owned())
        }
        path if path.contains('?') => {
            Err("parameters are not taken, WAL and time-outs are set for you".to_owned())
        }
        path => Ok(PathBuf::from(path)),
    }
}

/// A plain name: it is written into the server's search path.
fn schema(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    match !text.is_empty() && text.len() <= 63 && text.bytes().all(plain) {
        true => Ok(text.to_owned()),
        false => Err("1 to 63 small letters, digits and underscores are expected".to_owned()),
    }
}

fn tls(text: &str) -> Result<Tls, String> {
    match text {
        "off" => Ok(Tls::Off),
        "prefer" => Ok(Tls::Prefer),
        "require" => Ok(Tls::Require),
        "verify_ca" => Ok(Tls::VerifyCa),
        "verify_full" => Ok(Tls::VerifyFull),
        _ => Err("off, prefer, require, verify_ca or verify_full is expected".to_owned()),
    }
}
