#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]
use super::*;

fn nothing(_: &str) -> Option<String> {
    None
}

fn mistakes(text: &str) -> Vec<String> {
    match Config::from_text(text, nothing) {
        Err(ConfigError::Mistakes(mistakes)) => mistakes,
        other => panic!("expected mistakes, got {other:?}"),
    }
}

#[test]
fn nothing_at_all_is_a_complete_configuration() {
    let config = Config::from_text("", nothing).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8190");
    assert!(config.database.ends_with("data/gateway.sqlite3"));
    assert!(config.artifacts.starts_with("file:/"));
}

#[test]
fn the_example_file_shows_the_defaults() {
    let text = include_str!("../../gateway.example.toml");
    let uncommented: String = text
        .lines()
        .map(|line| line.strip_prefix("#: ").unwrap_or(line))
        .filter(|line| !line.starts_with("# "))
        .fold(String::new(), |all, line| all + line + "\n");
    let mut found = Vec::new();
    let mut file = read::file(&uncommented, &mut found);
    assert_eq!(found, Vec::<String>::new());
    assert!(Config::from_text(text, nothing).is_ok(), "the file as it is, is good");
    let example = std::mem::take(&mut file.instances);
    assert_eq!(example.len(), 1, "the example shows one instance");
    assert_eq!(file, File::default());
}

#[test]
fn every_setting_is_in_the_example_file() {
    let text = include_str!("../../gateway.example.toml");
    let all = toml::Table::try_from(File::default()).unwrap();
    for (name, value) in all {
        assert!(text.contains(&name), "{name} is not in gateway.example.toml");
        let toml::Value::Table(section) = value else { continue };
        for key in section.keys() {
            assert!(text.contains(key.as_str()), "{name}.{key} is not in gateway.example.toml");
        }
    }
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let found = mistakes(
        r#"
        listen = "nowhere"
        lisen = "127.0.0.1:1"
        database_url = "postgres://db/darkroom"
        artifacts = "cos://bucket?region=ap-shanghai"
        [http]
        max_body_bytes = "many"
        colour = 1
        [scheduler]
        prefetch = 7
        [workflow]
        max_nodes = 0
        [[instances]]
        url = "not a url"
        "#,
    );
    for word in [
        "listen:",
        "lisen",
        "PostgreSQL",
        "cos:",
        "http.max_body_bytes",
        "http.colour",
        "prefetch",
        "max_nodes",
        "instances[0].url",
    ] {
        assert!(found.iter().any(|mistake| mistake.contains(word)), "{word} is not among {found:#?}");
    }
    assert_eq!(found.len(), 9, "{found:#?}");
}

#[test]
fn the_environment_alone_is_enough_and_wins() {
    let env = |name: &str| match name {
        "GATEWAY_INSTANCES" => Some("http://127.0.0.1:8188/, http://127.0.0.1:8189".to_owned()),
        "GATEWAY_LISTEN" => Some("127.0.0.1:9000".to_owned()),
        _ => None,
    };
    let config = Config::from_text("listen = \"127.0.0.1:1\"", env).unwrap();
    assert_eq!(config.listen.port(), 9000);
    let names: Vec<_> = config.file.instances.iter().map(|instance| instance.name.as_str()).collect();
    assert_eq!(names, ["http://127.0.0.1:8188", "http://127.0.0.1:8189"]);
}

#[test]
fn one_instance_twice_is_a_mistake_of_the_variable_it_stands_in() {
    let env = |name: &str| (name == "GATEWAY_INSTANCES").then(|| "http://a:1,http://a:1/".to_owned());
    let Err(ConfigError::Mistakes(found)) = Config::from_text("", env) else { panic!("it was taken") };
    assert_eq!(found, ["GATEWAY_INSTANCES[1]: \"http://a:1\" is there twice"]);
}

#[test]
fn every_setting_of_an_instance_is_in_the_example_file() {
    let text = include_str!("../../gateway.example.toml");
    let block = text.split("[[instances]]").nth(1).and_then(|rest| rest.split("\n[").next()).unwrap();
    let shown: String = block
        .lines()
        .filter(|line| line.contains(" = "))
        .map(|line| line.trim_start_matches(['#', ':', ' ']).to_owned() + "\n")
        .collect();
    let shown: Instance = toml::from_str(&shown).unwrap();
    assert_eq!(shown.family_speeds["sd15"], 980);
    let unset = [
        shown.device_class.is_none(),
        shown.speed_milli.is_none(),
        shown.vram_mib.is_none(),
        shown.device_uuid.is_none(),
        shown.output_folder.is_none(),
        shown.disk_mib_s.is_none(),
        shown.pcie_mib_s.is_none(),
        shown.host_cache_mib.is_none(),
        shown.models_dir.is_none(),
    ];
    assert_eq!(unset, [false; 9]);
}

#[test]
fn priors_that_mean_nothing_are_mistakes() {
    let found = mistakes(
        r#"
        [[instances]]
        url = "http://a:1"
        disk_mib_s = 0
        pcie_mib_s = 0
        family_speeds = { sd15 = 0, dalle = 5 }
        "#,
    );
    for word in ["disk_mib_s", "pcie_mib_s", "family_speeds.sd15", "family_speeds.dalle"] {
        assert!(found.iter().any(|mistake| mistake.contains(word)), "{word} is not among {found:#?}");
    }
    assert_eq!(found.len(), 4, "{found:#?}");
}

#[test]
fn mistakes_in_tls_tenants_and_proxies_are_found() {
    let found = mistakes(
        r#"
        [http]
        trusted_proxies = ["10.0.0.0/40"]
        [tls]
        client_ca = "ca.pem"
        key = "key.pem"
        max_handshakes = 0
        [[tenants]]
        name = "a"
        weight = 0
        [[tenants]]
        name = "a"
        [tenants.limits]
        stepps = 3
        "#,
    );
    for word in [
        "http.trusted_proxies",
        "cert and key come together",
        "tls.client_ca",
        "tls.max_handshakes",
        "tenants[0]",
        "tenants[1]: \"a\" is there twice",
        "tenants[1].limits",
    ] {
        assert!(found.iter().any(|mistake| mistake.contains(word)), "{word} is not among {found:#?}");
    }
    assert_eq!(found.len(), 7, "{found:#?}");
    let slow = mistakes("[http]\nidle_seconds = 30\n");
    assert!(slow[0].contains("http.idle_seconds"), "{slow:#?}");
}

#[test]
fn a_tenant_of_the_file_has_all_its_settings() {
    let example = include_str!("../../gateway.example.toml");
    let block = example.split("# [[tenants]]").nth(1).unwrap();
    let is_setting = |line: &&str| line.contains(" = ") || line.starts_with("# [");
    let shown: String = block
        .lines()
        .filter(is_setting)
        .map(|line| line.trim_start_matches("# ").replace("[tenants.", "[") + "\n")
        .collect();
    let shown: Tenant = toml::from_str(&shown).unwrap();
    assert_eq!(crate::tenant::check_draft(&shown.draft()), Ok(()));
    let written = toml::Table::try_from(&shown).unwrap();
    let unset = toml::Table::try_from(Tenant::default()).unwrap();
    assert_ne!(written, unset);
    let limits = &shown.limits;
    assert_eq!(
        (limits.queued, limits.steps, limits.megapixels, limits.frames),
        (Some(1000), Some(60), Some(4), Some(16))
    );
    assert!(limits.retention.originals_seconds.is_some() && limits.stored_bytes.is_some());
    assert_eq!(shown.allow.classes.allow, ["@core", "MyNode*"]);
    assert_eq!(shown.pictures.variants.len(), 1);
    assert_eq!(shown.webhook.unwrap().keys.len(), 1);
}
