//! The official Python SDK as the client: `tests/e2e/sdk`, run by pytest against gateways made here.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use comfyui_sim::Device;
use e2e::sandbox::Sandbox;
use e2e::workflows;
use tokio::process::Command;

/// Longest run of the whole suite.
const SUITE: Duration = Duration::from_secs(400);

#[tokio::test(flavor = "multi_thread")]
async fn the_official_python_sdk_works_as_with_any_other_server() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let python = root.join("target/venv/bin/python");
    ensure!(
        python.is_file(),
        "the Python SDK is not installed: run `tests/setup-python` (it needs `apt-get install python3-venv`)"
    );
    let step = Duration::from_millis(10);
    let open = Sandbox::plan().paced(Device::t4(), step).gpu(Device::v100()).gpu(Device::a100());
    let open = open.start().await?;
    let full = Sandbox::plan()
        .settings("[scheduler]\nhigh_watermark = 2\nlow_watermark = 1\ntenant_queue = 2\nprefetch = 0")
        .gpu(Device::t4())
        .start()
        .await?;
    full.gpus()[0].faults().hang(true);
    fill(&full).await?;
    let keyed = Sandbox::plan().keyed().gpu(Device::t4()).start().await?;
    let (ours, reader) = (keyed.new_key("sdk", "submit").await?, keyed.new_key("sdk", "read").await?);
    for key in [&ours, &reader] {
        taken(&keyed, key).await?;
    }

    let suite = Command::new(python)
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider", "--color=no"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("sdk"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("OPEN_URL", open.api().base())
        .env("FULL_URL", full.api().base())
        .env("KEYED_URL", keyed.api().base())
        .env("SUBMIT_KEY", ours)
        .env("READ_KEY", reader)
        .env_remove("COMFY_API_KEY")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let suite = tokio::time::timeout(SUITE, suite).await.context("the suite hangs")??;
    let told = String::from_utf8_lossy(&suite.stdout);
    ensure!(suite.status.success(), "{told}\n{}", String::from_utf8_lossy(&suite.stderr));
    ensure!(!told.contains("skipped"), "something was skipped:\n{told}");
    println!("{told}");
    Ok(())
}

async fn fill(sandbox: &Sandbox) -> anyhow::Result<()> {
    let body = |color| serde_json::json!({"workflow": workflows::plain(color, 8)});
    e2e::wait::until("the queue to be full", e2e::wait::SOON, async || {
        let answer = sandbox.api().post("/api/v2/jobs", &body(1)).await?;
        Ok((answer.status == 429).then_some(()))
    })
    .await
}

async fn taken(sandbox: &Sandbox, key: &str) -> anyhow::Result<()> {
    let api = sandbox.api().with_key(key);
    e2e::wait::until("the new key to be taken", e2e::wait::SOON, async || {
        Ok((api.get("/api/v2/jobs").await?.status == 200).then_some(()))
    })
    .await
}
