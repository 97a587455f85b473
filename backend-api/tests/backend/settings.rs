//! Settings: the example file is the truth about defaults, and mistakes are told all at once.

use backend_api::config::Config;
use backend_api::db;
use secrecy::ExposeSecret as _;

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
    // Empty secrets are wrong; names that do not exist would be told as such.
    let report = Config::resolve(&uncommented, &unset).unwrap_err().to_string();
    assert!(report.contains("chores.token: at least 16 characters are expected"), "{report}");
    assert!(!report.contains("there is no such setting"), "{report}");
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
        "BACKEND_DATABASE_URL" => Some("mysql://hidden:hidden@db/x?ssl-mode=hidden".to_owned()),
        "BACKEND_CHORES_TOKEN" => Some("hidden".to_owned()),
        "BACKEND_LOG" => Some("backend_api=loud".to_owned()),
        _ => None,
    };
    let report = Config::resolve(file, &env).unwrap_err().to_string();
    for place in [
        "BACKEND_LISTEN",
        "BACKEND_CHORES_TOKEN",
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
        Config::resolve("", &env).map(|config| config.database.place.to_string())
    };
    assert_eq!(with("", "").unwrap(), "./data/backend.sqlite3");
    assert_eq!(with("BACKEND_DATA_DIR", "/var/lib/x").unwrap(), "/var/lib/x/backend.sqlite3");
    assert_eq!(with("BACKEND_DATABASE_URL", "sqlite:///srv/a b.db").unwrap(), "/srv/a b.db");
    assert_eq!(with("BACKEND_DATABASE_URL", "sqlite:people.db").unwrap(), "people.db");
    for refused in ["sqlite::memory:", "sqlite:", "sqlite:a?mode=ro", "oracle://db/x", "people.db"] {
        assert!(with("BACKEND_DATABASE_URL", refused).is_err(), "{refused}");
    }
}

#[test]
fn a_wait_that_cannot_end_before_the_request_does_is_refused() {
    let report = Config::resolve("[http]\nmax_wait_seconds = 12", &unset).unwrap_err().to_string();
    assert!(report.contains("http.request_timeout_seconds"), "{report}");
}

#[test]
fn an_upload_that_is_given_up_before_its_request_ends_is_refused() {
    let file = |seconds: u32| {
        format!(
            "[generation]\ncheck_text = false\ncheck_pictures = false\nphoto_upload_seconds = {seconds}\n\
             [generation.templates.portrait]\ncredits = 3"
        )
    };
    let report = Config::resolve(&file(15), &unset).unwrap_err().to_string();
    assert!(report.contains("generation.photo_upload_seconds"), "{report}");
    Config::resolve(&file(16), &unset).unwrap();
}

#[test]
fn secrets_do_not_show_in_debug_output() {
    let env = |name: &str| {
        [
            "BACKEND_GATEWAY_KEY",
            "BACKEND_DATABASE_PASSWORD",
            "BACKEND_IDENTITY_SECRET",
            "BACKEND_IDENTITY_PREVIOUS_SECRET",
            "BACKEND_WECHAT_SECRET",
            "BACKEND_PARTNER_SECRET",
            "BACKEND_CHORES_TOKEN",
            "BACKEND_METRICS_TOKEN",
        ]
        .contains(&name)
        .then(|| "very-secret-value-of-some-length".to_owned())
        .or_else(|| match name {
            "BACKEND_WECHAT_APP_ID" => Some("wx1".to_owned()),
            "BACKEND_PARTNER_ID" => Some("club".to_owned()),
            "BACKEND_DATABASE_URL" => Some("mysql://db".to_owned()),
            _ => None,
        })
    };
    let report = format!("{:?}", Config::resolve("", &env).unwrap());
    assert!(report.contains("REDACTED") && !report.contains("very-secret"), "{report}");
}

/// The place that an environment tells of, as people see it, and what it is in full.
fn place(env: &[(&str, &str)], file: &str) -> Result<(String, db::Place), String> {
    let env = |asked: &str| env.iter().find(|(name, _)| *name == asked).map(|(_, value)| (*value).to_owned());
    let config = Config::resolve(file, &env).map_err(|error| error.to_string())?;
    Ok((config.database.place.to_string(), config.database.place))
}

#[test]
fn a_server_is_named_by_a_url_and_its_password_never_shows() {
    let url = ("BACKEND_DATABASE_URL", "postgresql://me:very%2Dsecret@db.example:6000/shop");
    let (shown, place_of_url) = place(&[url], "").unwrap();
    assert_eq!(shown, "postgres://db.example:6000/shop");
    let debug = format!("{place_of_url:?}");
    assert!(debug.contains("\"me\"") && !debug.contains("secret"), "{debug}");
    let db::Place::PostgreSql(server) = place_of_url else { panic!("{debug}") };
    assert_eq!(server.password.unwrap().expose_secret(), "very-secret");

    let beside =
        "[database]\nurl = \"mariadb://db.example\"\nname = \"shop\"\npassword = \"p\"\ntls = \"require\"";
    let (shown, place_of_file) = place(&[], beside).unwrap();
    assert_eq!(shown, "mysql://db.example:3306/shop");
    let db::Place::MySql(server) = place_of_file else { panic!("{shown}") };
    assert_eq!((server.user.as_str(), server.tls), ("root", db::Tls::Require));
}

#[test]
fn the_platforms_own_variables_are_understood_and_a_url_goes_before_them() {
    let platform = [
        ("MYSQL_ADDRESS", "10.0.0.7:3307"),
        ("MYSQL_USERNAME", "u"),
        ("MYSQL_PASSWORD", "p"),
        ("CBR_ENV_ID", "e"),
    ];
    assert_eq!(place(&platform, "").unwrap().0, "mysql://10.0.0.7:3307/darkroom");
    assert_eq!(place(&platform, "[database]\nname = \"shop\"").unwrap().0, "mysql://10.0.0.7:3307/shop");
    assert_eq!(place(&platform, "[database]\nurl = \"postgres://h/d\"").unwrap().0, "postgres://h:5432/d");
    assert!(place(&[("MYSQL_ADDRESS", "10.0.0.7:port")], "").unwrap_err().contains("MYSQL_ADDRESS: "));
}

#[test]
fn on_cloud_run_sqlite_is_refused_unless_its_loss_is_accepted() {
    let cloud_run = ("CBR_ENV_ID", "prod-1");
    let refused = place(&[cloud_run], "").unwrap_err();
    assert!(refused.contains("database.url: SQLite loses everything on Cloud Run"), "{refused}");
    assert!(place(&[cloud_run], "[database]\nallow_sqlite_on_cloud_run = true").is_ok());
    assert!(place(&[cloud_run, ("BACKEND_DATABASE_ALLOW_SQLITE_ON_CLOUD_RUN", "true")], "").is_ok());
    assert!(place(&[cloud_run, ("BACKEND_DATABASE_ALLOW_SQLITE_ON_CLOUD_RUN", "false")], "").is_err());
}

#[test]
fn what_a_database_url_cannot_mean_is_refused() {
    for url in ["mysql://", "postgres://h/a/b", "postgres://h/d?sslmode=require", "mysql:db"] {
        assert!(place(&[("BACKEND_DATABASE_URL", url)], "").is_err(), "{url}");
    }
    for file in [
        "[database]\nurl = \"mysql://h\"\nschema = \"s\"",
        "[database]\nurl = \"postgres://h\"\nschema = \"s; DROP\"",
        "[database]\nurl = \"postgres://h/d\"\nname = \"d\"",
        "[database]\nurl = \"postgres://h/d\"\nca_file = \"ca.pem\"",
        "[database]\nurl = \"postgres://h/d\"\ntls = \"always\"",
    ] {
        assert!(place(&[], file).is_err(), "{file}");
    }
}

/// What a shop over WeChat Pay needs at least.
fn shop(file: &str, env: &[(&str, &str)]) -> Result<Config, String> {
    let env = |name: &str| env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    Config::resolve(file, &env).map_err(|error| error.to_string())
}

#[test]
fn credits_are_sold_by_virtual_payment_alone() {
    let item = |rest: &str| format!("[shop.items.x]\ntitle = \"x\"\nprice_fen = 100\n{rest}");
    assert!(shop(&item("credits = 5\nrail = \"virtual\""), &[]).is_ok());
    assert!(shop(&item("rail = \"wechat_pay\""), &[]).is_ok());
    for refused in ["credits = 5\nrail = \"wechat_pay\"", "rail = \"virtual\"", "rail = 3"] {
        let report = shop(&item(refused), &[]).unwrap_err();
        assert!(report.contains("shop.items.x.rail: credits are sold by"), "{refused}: {report}");
    }
}

#[test]
fn every_mistake_of_the_shop_and_its_payments_is_told() {
    let file = r#"
        [shop.items."a b"]
        title = ""
        price_fen = 0
        credits = -1
        colour = "red"
        [pay]
        mchid = "1900000109"
        serial = "not hex"
        private_key = "hidden"
        api_v3_key = "hidden"
        public_key_id = "PUB_KEY_ID_1"
        notify_url = "http://hidden/pay"
        [virtual_payment]
        offer_id = "1"
        bill_order = ""
        bill_amount = ""
        bill_refund_amount = ""
        [chores]
        run_seconds = 15
    "#;
    let report = shop(file, &[]).unwrap_err();
    for place in [
        "shop.items.a b",
        "shop.items.a b.title",
        "shop.items.a b.price_fen",
        "shop.items.a b.credits",
        "shop.items.a b.colour",
        "pay.serial",
        "pay.private_key",
        "pay.api_v3_key",
        "pay.notify_url",
        "pay.public_key",
        "wechat.app_id",
        "virtual_payment",
        "virtual_payment.bill_order",
        "virtual_payment.bill_amount",
        "virtual_payment.bill_refund_amount",
        "chores.run_seconds",
    ] {
        assert!(report.contains(&format!("\n  {place}: ")), "{place} is missing in:\n{report}");
    }
    assert!(!report.contains("hidden"), "{report}");
}

#[test]
fn keys_of_payments_do_not_show_in_debug_output() {
    let env = [
        ("BACKEND_WECHAT_APP_ID", "wx0123456789abcdef"),
        ("BACKEND_PAY_MCHID", "1900000109"),
        ("BACKEND_PAY_SERIAL", "ABCDEF"),
        ("BACKEND_PAY_PRIVATE_KEY", "-----BEGIN PRIVATE KEY-----\\nvery-secret\\n-----END PRIVATE KEY-----"),
        ("BACKEND_PAY_API_V3_KEY", "very-secret-very-secret-very-sec"),
        ("BACKEND_PAY_NOTIFY_URL", "https://pay.example.com/callbacks/wechat-pay"),
        ("BACKEND_VIRTUAL_PAYMENT_OFFER_ID", "1"),
        ("BACKEND_VIRTUAL_PAYMENT_APP_KEY", "very-secret-app-key"),
    ];
    let report = format!("{:?}", shop("", &env).unwrap());
    assert!(report.contains("1900000109") && !report.contains("very-secret"), "{report}");
}
