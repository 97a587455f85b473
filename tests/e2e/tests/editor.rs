//! ComfyUI's web editor in a real Chromium, as a person uses it, on a fleet of three simulated GPUs.

use std::time::Duration;

use comfyui_sim::{Config, Device, Pace};
use e2e::foreign;
use e2e::sandbox::Sandbox;
use e2e::workflows::Painting;

/// Longest visit; each step of it has a deadline of its own.
const VISIT: Duration = Duration::from_secs(400);

/// Slow enough that its steps are seen, whatever else the machine does.
fn slow() -> Config {
    let pace = Pace { step: Duration::from_millis(250), node: Duration::from_millis(20) };
    Config { device: Device::t4(), pace, preview: true, ..Config::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_is_run_watched_opened_from_its_picture_and_kept_in_the_web_editor() -> anyhow::Result<()>
{
    let packages = foreign::installed("editor", "tests/setup-node")?;
    let python = foreign::installed("venv-editor/lib", "tests/setup-python")?;
    let version = std::fs::read_dir(python)?.next().ok_or_else(|| anyhow::anyhow!("no Python there"))??;
    let editor = version.path().join("site-packages/comfyui_frontend_package/static");
    let settings = format!("[native]\neditor = {:?}\n", editor.canonicalize()?.display().to_string());
    let plan = Sandbox::plan().settings(&settings);
    let sandbox = plan.simulator(slow()).simulator(slow()).simulator(slow()).start().await?;

    let workflow = sandbox.path("a tree.json");
    let tree = Painting { seed: 42, steps: 20, width: 512, height: 512, ..Painting::default() };
    std::fs::write(&workflow, tree.workflow().to_string())?;
    let screenshots = foreign::repository("target/editor-screenshots");
    let _ = std::fs::remove_dir_all(&screenshots);
    let mut visit = foreign::node(&packages, &foreign::repository("tests/e2e/editor/editor.mjs"))?;
    visit.arg(sandbox.api().base()).arg(&workflow).arg(&screenshots);
    let told = foreign::succeeds(&sandbox, "the editor", visit, VISIT).await?;
    anyhow::ensure!(told.lines().count() == 8, "not every step was done:\n{told}");
    anyhow::ensure!(sandbox.posts() == 1, "it did not run on the fleet");
    Ok(())
}
