//! ComfyUI's web editor in a real Chromium, as a person uses it, on a fleet of three simulated GPUs.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use comfyui_sim::{Config, Device, Pace};
use e2e::sandbox::{Plan, Sandbox};
use e2e::workflows::Painting;
use e2e::{foreign, wait};

/// Longest visit; each step of it has a deadline of its own.
const VISIT: Duration = Duration::from_secs(400);

/// What a visit does, each told in a line.
const STEPS: usize = 8;

/// Slow enough that its steps are seen, whatever else the machine does.
fn slow() -> Config {
    let pace = Pace { step: Duration::from_millis(250), node: Duration::from_millis(20) };
    Config { device: Device::t4(), pace, preview: true, ..Config::default() }
}

/// A fleet with the editor.
async fn studio(plan: Plan) -> anyhow::Result<Sandbox> {
    let python = foreign::installed("venv-editor/lib", "tests/setup-python")?;
    let version = std::fs::read_dir(python)?.next().context("no Python there")??;
    let editor = version.path().join("site-packages/comfyui_frontend_package/static").canonicalize()?;
    let settings = format!("[native]\neditor = {:?}\n", editor.display().to_string());
    plan.settings(&settings).simulator(slow()).simulator(slow()).simulator(slow()).start().await
}

/// Does all that there is to do in the editor at this address; its pictures go to a folder of this name.
async fn visit(sandbox: &Sandbox, name: &str, address: &str, key: Option<&str>) -> anyhow::Result<()> {
    let packages = foreign::installed("editor", "tests/setup-node")?;
    let workflow = sandbox.path("a tree.json");
    let tree = Painting { seed: 42, steps: 20, width: 512, height: 512, ..Painting::default() };
    std::fs::write(&workflow, tree.workflow().to_string())?;
    let screenshots = foreign::repository("target/editor-screenshots").join(name);
    let _ = std::fs::remove_dir_all(&screenshots);
    let mut visit = foreign::node(&packages, &foreign::repository("tests/e2e/editor/editor.mjs"))?;
    visit.arg(address).arg(&workflow).arg(&screenshots).args(key);
    let told = foreign::succeeds(sandbox, "the editor", visit, VISIT).await?;
    ensure!(told.lines().count() == STEPS, "not every step was done:\n{told}");
    ensure!(sandbox.posts() == 1, "it did not run on the fleet");
    Ok(())
}

/// A fleet that wants keys, and one of them.
async fn keyed_studio() -> anyhow::Result<(Sandbox, String)> {
    let sandbox = studio(Sandbox::plan().keyed()).await?;
    let key = sandbox.new_key("studio", "submit").await?;
    let api = sandbox.api().with_key(&key);
    wait::until("the new key to be taken", wait::SOON, async || {
        Ok((api.get("/queue").await?.status == 200).then_some(()))
    })
    .await?;
    Ok((sandbox, key))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_is_run_watched_opened_from_its_picture_and_kept_in_the_web_editor() -> anyhow::Result<()>
{
    let sandbox = studio(Sandbox::plan()).await?;
    visit(&sandbox, "open", sandbox.api().base(), None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_web_editor_is_entered_by_the_login_page() -> anyhow::Result<()> {
    let (sandbox, key) = keyed_studio().await?;
    visit(&sandbox, "login", sandbox.api().base(), Some(&key)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_web_editor_is_entered_by_a_key_in_its_address() -> anyhow::Result<()> {
    let (sandbox, key) = keyed_studio().await?;
    visit(&sandbox, "address", &format!("{}/k/{key}/", sandbox.api().base()), None).await
}
