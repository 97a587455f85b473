//! Settings: the example file is the truth about defaults, and mistakes are told all at once.

use backend_api::config::Config;

const EXAMPLE: &str = include_str!("../../backend.example.toml");

fn unset(_: &str) -> Option<String> {
    None
}

#[test]
fn the_example_file_says_exactly_the_defaults() {
    let example = Config::resolve(EXAMPLE, &unset).unwrap();
    let defaults = Config::resolve("", &unset).unwrap();
    assert_eq!(format!("{example:?}"), format!("{defaults:?}"));
}

#[test]
fn every_setting_of_the_example_exists_even_those_commented_out() {
    let uncommented: String = EXAMPLE
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.split_once(" = ").is_some_and(|(name, _)| !name.contains(' ')) => {
                format!("{rest}\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    let problems = Config::resolve(&uncommented, &unset).map_err(|error| error.to_string());
    // An empty token is the one thing wrong with it.
    assert_eq!(
        problems.err().unwrap(),
        "1 problem in the settings\n  service_token: at least 16 characters are expected"
    );
}

#[test]
fn every_mistake_is_reported_at_once_and_no_value_is_shown() {
    let file = r#"
        lisen = "127.0.0.1:1"
        drain_seconds = 0
        [gateway]
        url = "ftp://hidden"
        key = "hidden with spaces"
        timeout = 3
        [http]
        max_wait_seconds = true
        [htpp]
        max_body_bytes = 1
        [log]
        format = "xml"
    "#;
    let env = |name: &str| match name {
        "BACKEND_LISTEN" => Some("hidden".to_owned()),
        "BACKEND_DATABASE_URL" => Some("mysql://hidden:hidden@db/x".to_owned()),
        "BACKEND_SERVICE_TOKEN" => Some("hidden".to_owned()),
        "BACKEND_LOG" => Some("backend_api=loud".to_owned()),
        _ => None,
    };
    let report = Config::resolve(file, &env).unwrap_err().to_string();
    for place in [
        "BACKEND_LISTEN",
        "BACKEND_SERVICE_TOKEN",
        "drain_seconds",
        "BACKEND_DATABASE_URL",
        "gateway.url",
        "gateway.key",
        "http.max_wait_seconds",
        "BACKEND_LOG",
        "log.format",
        "lisen",
        "gateway.timeout",
        "htpp",
    ] {
        assert!(report.contains(&format!("\n  {place}: ")), "{place} is missing in:\n{report}");
    }
    assert!(report.starts_with("12 problems"), "{report}");
    assert!(!report.contains("hidden"), "{report}");
}

#[test]
fn a_file_that_is_not_toml_is_a_problem_with_its_line_and_the_environment_is_still_checked() {
    let env = |name: &str| (name == "BACKEND_LISTEN").then(|| "nowhere".to_owned());
    let report = Config::resolve("listen = \"127.0.0.1:1\"\ndata_dir = = 3\n", &env).unwrap_err().to_string();
    assert!(report.contains("settings file, line 2: "), "{report}");
    assert!(report.contains("BACKEND_LISTEN: "), "{report}");
}

#[test]
fn the_environment_goes_before_the_file_and_an_empty_variable_is_unset() {
    let file = "listen = \"127.0.0.1:1\"\n[gateway]\nurl = \"http://file\"";
    let env = |name: &str| match name {
        "BACKEND_LISTEN" => Some("127.0.0.1:2".to_owned()),
        "BACKEND_GATEWAY_URL" => Some(String::new()),
        _ => None,
    };
    let config = Config::resolve(file, &env).unwrap();
    assert_eq!(config.listen.port(), 2);
    assert_eq!(config.gateway.url.as_str(), "http://file/");
}

#[test]
fn the_database_lies_in_the_data_folder_unless_named() {
    let with = |name: &'static str, value: &'static str| {
        let env = move |asked: &str| (asked == name).then(|| value.to_owned());
        Config::resolve("", &env).map(|config| config.database.file.display().to_string())
    };
    assert_eq!(with("", "").unwrap(), "./data/backend.sqlite3");
    assert_eq!(with("BACKEND_DATA_DIR", "/var/lib/x").unwrap(), "/var/lib/x/backend.sqlite3");
    assert_eq!(with("BACKEND_DATABASE_URL", "sqlite:///srv/a b.db").unwrap(), "/srv/a b.db");
    assert_eq!(with("BACKEND_DATABASE_URL", "sqlite:works.db").unwrap(), "works.db");
    for refused in ["sqlite::memory:", "sqlite:", "sqlite:a?mode=ro", "postgres://db/x", "works.db"] {
        assert!(with("BACKEND_DATABASE_URL", refused).is_err(), "{refused}");
    }
}

#[test]
fn a_wait_that_cannot_end_before_the_request_does_is_refused() {
    let report = Config::resolve("[http]\nmax_wait_seconds = 12", &unset).unwrap_err().to_string();
    assert!(report.contains("http.request_timeout_seconds"), "{report}");
}

#[test]
fn secrets_do_not_show_in_debug_output() {
    let env = |name: &str| {
        ["BACKEND_GATEWAY_KEY", "BACKEND_SERVICE_TOKEN"]
            .contains(&name)
            .then(|| "very-secret-value".to_owned())
    };
    let report = format!("{:?}", Config::resolve("", &env).unwrap());
    assert!(report.contains("REDACTED") && !report.contains("very-secret"), "{report}");
}
