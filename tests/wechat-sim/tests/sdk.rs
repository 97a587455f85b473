//! The Python SDK `wechatpayv3` does a merchant's day at the simulated platform (`tests/peers/wechat/merchant.py`).
//! `tests/setup-python` brings it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use wechat_sim::{Config, KeyMode, WechatSim};

const DEADLINE: Duration = Duration::from_secs(60);

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

async fn a_day(key_mode: KeyMode) {
    let python = repository("target/venv-wechat/bin/python");
    assert!(python.exists(), "{} is missing: run `tests/setup-python`", python.display());
    let sim = WechatSim::start(Config { key_mode, ..Config::default() }).await.unwrap();
    let mut setup = sim.setup();
    setup["with_certificates"] = json!(key_mode == KeyMode::Certificates);
    let mut command = Command::new(python);
    command
        .arg("-B")
        .arg(repository("tests/peers/wechat/merchant.py"))
        .env("NO_PROXY", "*")
        .kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(setup.to_string().as_bytes()).await.unwrap();
    let day = tokio::time::timeout(DEADLINE, child.wait_with_output()).await.expect("the day does not end");
    let day = day.unwrap();
    let told = String::from_utf8_lossy(&day.stdout);
    assert!(day.status.success(), "{told}\n{}", String::from_utf8_lossy(&day.stderr));
    assert!(told.contains("everything was taken"), "{told}");
}

#[tokio::test]
async fn an_sdk_does_its_business_under_a_public_key() {
    a_day(KeyMode::PublicKey).await;
}

#[tokio::test]
async fn an_sdk_does_its_business_under_certificates() {
    a_day(KeyMode::Certificates).await;
}
