//! What holds for the whole face: limits of callers, logs, counters, traces, and the documents about them.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};
use std::sync::mpsc;

use backend_api::http::codes;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::engines::Engine;
use crate::generation::Studio;
use crate::people::{CHORES, IDENTITY_SECRET, METRICS, PARTNER, World, code, environment};
use crate::stub_gateway::{KEY, StubGateway};
use crate::stub_wechat::{PHONE, SECRET, SESSION_KEY, StubWechat};
use crate::support::answer;

const ERRORS: &str = include_str!("../../../docs/ERRORS.md");
const BACKEND: &str = include_str!("../../../docs/BACKEND.md");

/// Words in backticks of the first column of the tables below a heading.
fn documented(document: &str, heading: &str) -> BTreeSet<String> {
    let (_, section) =
        document.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
    let level = heading.split(' ').next().unwrap();
    let section = section.split(&format!("\n{level} ")).next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    let cells = rows.flat_map(|row| row.split(" |").next().unwrap().split(", "));
    cells.map(|word| word.trim_matches('`').to_owned()).collect()
}

#[test]
fn every_code_is_documented_and_every_documented_code_exists() {
    let known: BTreeSet<_> = codes::ALL.iter().map(|code| code.text.to_owned()).collect();
    assert_eq!(known.len(), codes::ALL.len(), "a code is there twice");
    assert_eq!(known, documented(ERRORS, "## backend-api"));
}

#[tokio::test]
async fn every_family_of_metrics_is_documented_and_labels_name_nobody() {
    let world = World::on(Engine::Sqlite).await;
    world.login("oSecretPerson").await;
    world.login_code("errcode-40029").await;
    world.ask(Method::GET, "/not/a/route/13800138000").send().await.unwrap();
    let response = world.ask(Method::GET, "/metrics").bearer_auth(METRICS).send().await.unwrap();
    let text = response.text().await.unwrap();
    let families: BTreeSet<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .filter(|name| !name.starts_with("process_"))
        .map(str::to_owned)
        .collect();
    let documented = documented(BACKEND, "## Metrics");
    assert!(families.is_subset(&documented), "{families:?} {documented:?}");
    for line in [
        r#"backend_logins_total{outcome="good",way="wechat"} 1"#,
        r#"backend_logins_total{outcome="refused",way="wechat"} 1"#,
        r#"backend_http_requests_total{method="GET",route="unknown",status="404"} 1"#,
        r#"backend_http_requests_total{method="POST",route="/auth/login",status="200"} 1"#,
    ] {
        assert!(text.contains(line), "{line} is missing in:\n{text}");
    }
    assert!(!text.contains("oSecretPerson") && !text.contains("13800138000"), "{text}");
}

#[tokio::test]
async fn one_caller_too_often_is_told_when_to_come_back_and_others_go_on() {
    let world = World::with(Engine::Sqlite, "[http]\nreads_per_minute = 3").await;
    let (greedy, other) = (world.login("oA").await, world.login("oB").await);
    for _ in 0..3 {
        assert_eq!(world.get_as(&greedy, "/me").await.0, 200);
    }
    let response = world.ask(Method::GET, "/me").bearer_auth(&greedy.access).send().await.unwrap();
    let wait: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    let (status, body) = answer(response).await;
    assert_eq!((status, code(&body)), (429, "rate_limited"));
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(world.get_as(&other, "/me").await.0, 200);
    assert_eq!(world.status_as(&greedy, Method::POST, "/auth/logout").await, 204, "another kind has room");
}

#[tokio::test]
async fn strangers_are_told_apart_by_the_address_that_a_trusted_proxy_appends() {
    let settings = "[http]\nlogins_per_minute = 1\nclient_address_header = \"x-forwarded-for\"";
    let world = World::with(Engine::Sqlite, settings).await;
    let login = async |forwarded: &str| {
        let request = world.ask(Method::POST, "/auth/login").header("x-forwarded-for", forwarded);
        request.json(&json!({"code": "as-oA"})).send().await.unwrap().status().as_u16()
    };
    assert_eq!(login("10.0.0.1").await, 200);
    assert_eq!(login("10.0.0.1").await, 429);
    assert_eq!(login("10.0.0.9, 10.0.0.1").await, 429, "what a caller invents stands before it");
    assert_eq!(login("10.0.0.2").await, 200);
}

#[tokio::test]
async fn what_is_no_route_gets_the_one_envelope() {
    let world = World::on(Engine::Sqlite).await;
    for (method, path, expected) in [
        (Method::GET, "/nothing", (404, "not_found")),
        (Method::DELETE, "/artworks", (405, "method_not_allowed")),
        (Method::GET, "/orders/not-an-id", (404, "not_found")),
    ] {
        let person = world.login("oA").await;
        let request = world.ask(method, path).bearer_auth(&person.access);
        let (status, body) = answer(request.send().await.unwrap()).await;
        assert_eq!((status, code(&body)), expected, "{path}");
        assert!(body["error"]["message"].as_str().is_some_and(|message| !message.is_empty()), "{body}");
    }
}

#[tokio::test]
async fn the_gateway_gets_the_trace_that_a_request_came_with() {
    let studio = Studio::on(Engine::Sqlite).await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let came = format!("00-{trace}-00f067aa0ba902b7-01");
    let sent = trace_of_a_wish(&studio, &came).await;
    assert!(sent.starts_with(&format!("00-{trace}-")) && sent.ends_with("-01") && sent != came, "{sent}");
    let begun = trace_of_a_wish(&studio, "nonsense").await;
    assert!(begun.starts_with("00-") && !begun.contains(trace), "{begun}");
}

/// Under which trace the gateway gets a wish that came with this one.
async fn trace_of_a_wish(studio: &Studio, came: &str) -> String {
    let customer = studio.customer(10).await;
    let wish = json!({"template": "portrait", "inputs": {"prompt": "一只猫"}});
    let request = customer.ask(Method::POST, "/artworks").header("traceparent", came).json(&wish);
    assert_eq!(request.send().await.unwrap().status(), 201);
    let asked = studio.gateway.asked();
    let submission = asked.iter().rfind(|asked| asked.line == "POST /v1/jobs").unwrap();
    submission.header("traceparent")
}

/// Everything that happens to a person, at the most talkative level of our own code, and not a word about them.
#[tokio::test]
async fn logs_are_json_and_hold_nothing_personal_and_no_secret() {
    let (folder, wechat, gateway) =
        (TempDir::new().unwrap(), StubWechat::start().await, StubGateway::start().await);
    let mut program = Command::new(env!("CARGO_BIN_EXE_backend-api"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("BACKEND_")) {
        program.env_remove(name);
    }
    program.envs(environment(Engine::Sqlite, &folder, &wechat, &gateway).await).env("BACKEND_LOG", "debug");
    let mut running = program.arg("serve").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (lines, log) = mpsc::channel();
    let stdout = BufReader::new(running.stdout.take().unwrap());
    let reader = std::thread::spawn(move || {
        for line in stdout.lines() {
            let _ = lines.send(line.unwrap());
        }
    });
    let mut text = String::new();
    let address = loop {
        let line = log.recv_timeout(std::time::Duration::from_secs(20)).unwrap();
        text.push_str(&line);
        let line: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line}"));
        if line["message"] == "listening" {
            break line["address"].as_str().unwrap().to_owned();
        }
    };
    let client = Client::builder().no_proxy().build().unwrap();
    let ask = |method, path: &str| client.request(method, format!("http://{address}{path}"));
    let login = ask(Method::POST, "/auth/login").json(&json!({"code": "as-oPersonal"}));
    let (_, body) = answer(login.send().await.unwrap()).await;
    let (access, refresh) = (body["access_token"].as_str().unwrap(), body["refresh_token"].as_str().unwrap());
    for (method, path, sent) in [
        (Method::POST, "/auth/login", json!({"code": "errcode-40226"})),
        (Method::POST, "/auth/login", json!({"code": "errcode-40013"})),
        (Method::POST, "/me/phone", json!({"code": "phone-code"})),
        (Method::GET, "/me", json!(null)),
        (Method::GET, "/me/export", json!(null)),
        (Method::POST, "/auth/refresh", json!({"refresh_token": refresh})),
        (Method::GET, "/nowhere/oPersonal?token=oPersonal", json!(null)),
        (Method::DELETE, "/me", json!(null)),
    ] {
        ask(method, path).bearer_auth(access).json(&sent).send().await.unwrap();
    }
    running.kill().unwrap();
    running.wait().unwrap();
    reader.join().unwrap();
    text.extend(log.try_iter());
    running.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(text.contains("person has left"), "the log shows too little to prove anything:\n{text}");
    let secrets = [
        "oPersonal",
        PHONE,
        SESSION_KEY,
        SECRET,
        "phone-code",
        "errcode-40226",
        access,
        refresh,
        IDENTITY_SECRET,
        PARTNER.1,
        CHORES,
        METRICS,
        KEY,
    ];
    for secret in secrets {
        assert!(!text.contains(secret), "{secret} is in the log:\n{text}");
    }
}
