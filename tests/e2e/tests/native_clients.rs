//! Clients of ComfyUI's own API that nobody here wrote, each in a process of its own: `tests/e2e/native`, as they come
//! from their registries, against a gateway over three simulated GPUs.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use comfyui_sim::Device;
use e2e::sandbox::Sandbox;
use e2e::wait;
use serde_json::json;
use tokio::process::Command;

/// Longest run of one client.
const RUN: Duration = Duration::from_secs(90);

/// What the clients are installed in, and the workflow that each of them runs.
struct Clients {
    python: PathBuf,
    node: PathBuf,
    workflow: PathBuf,
}

impl Clients {
    fn find(sandbox: &Sandbox) -> anyhow::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let python = root.join("target/venv-native/bin");
        ensure!(python.is_dir(), "the Python clients are not installed: run `tests/setup-python`");
        let node = root.join("target/native-clients");
        ensure!(
            node.join("node_modules").is_dir(),
            "the npm clients are not installed: run `tests/setup-node`"
        );
        let workflow = sandbox.path("workflow.json");
        let text = json!({
            "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 255},
                "_meta": {"title": "Empty"}},
            "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "client"},
                "_meta": {"title": "Save"}},
        });
        std::fs::write(&workflow, text.to_string())?;
        Ok(Self { python, node, workflow })
    }

    fn python(&self, script: &str, base: &str) -> Command {
        let mut command = Command::new(self.python.join("python"));
        command.arg(scripts().join(script)).arg(base).arg(&self.workflow);
        command
    }

    /// Modules are looked for beside a script, so it runs from a copy beside them.
    fn node(&self, script: &str, base: &str) -> anyhow::Result<Command> {
        let copy = self.node.join(script);
        std::fs::copy(scripts().join(script), &copy)?;
        let mut command = Command::new("node");
        command.arg(copy).arg(base).arg(&self.workflow);
        Ok(command)
    }

    fn cli(&self, base: &str) -> anyhow::Result<Command> {
        let (host, port) = base.trim_start_matches("http://").split_once(':').context("no port")?;
        let mut command = Command::new(self.python.join("comfy"));
        command.args(["--skip-prompt", "run", "--wait", "--host", host, "--port", port, "--workflow"]);
        command.arg(&self.workflow);
        Ok(command)
    }
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("native")
}

async fn succeeds(sandbox: &Sandbox, name: &str, mut command: Command) -> anyhow::Result<()> {
    let run = command
        .env("HOME", sandbox.path("home"))
        .env("DO_NOT_TRACK", "1")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env_remove("COMFY_API_KEY")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let run = tokio::time::timeout(RUN, run).await.with_context(|| format!("{name} hangs"))??;
    let (told, complained) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    ensure!(run.status.success(), "{name} fails:\n{told}\n{complained}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_comfyui_run_their_workflows_on_the_fleet() -> anyhow::Result<()> {
    let sandbox = Sandbox::plan().gpu(Device::t4()).gpu(Device::v100()).gpu(Device::a100()).start().await?;
    let clients = Clients::find(&sandbox)?;
    let base = sandbox.api().base();
    for script in ["comfy_api_simplified_client.py", "comfyapi_client.py"] {
        succeeds(&sandbox, script, clients.python(script, base)).await?;
    }
    for script in ["stable_canvas.mjs", "saintno.mjs", "comfyorg.mjs"] {
        succeeds(&sandbox, script, clients.node(script, base)?).await?;
    }
    succeeds(&sandbox, "comfy-cli", clients.cli(base)?).await?;
    ensure!(sandbox.posts() >= 6, "not every client had its job done");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_can_send_no_key_take_it_in_their_address() -> anyhow::Result<()> {
    let sandbox = Sandbox::plan().keyed().gpu(Device::t4()).start().await?;
    let clients = Clients::find(&sandbox)?;
    let key = sandbox.new_key("clients", "submit").await?;
    let api = sandbox.api().with_key(&key);
    wait::until("the new key to be taken", wait::SOON, async || {
        Ok((api.get("/queue").await?.status == 200).then_some(()))
    })
    .await?;
    let base = sandbox.api().base();
    let by_password = |key: &str| base.replace("http://", &format!("http://anybody:{key}@"));
    for script in ["comfy_api_simplified_client.py", "comfyapi_client.py"] {
        let stranger = succeeds(&sandbox, script, clients.python(script, &by_password("none"))).await;
        ensure!(stranger.is_err(), "{script} gets in with a wrong key");
        succeeds(&sandbox, script, clients.python(script, &by_password(&key))).await?;
    }
    let script = "saintno.mjs";
    succeeds(&sandbox, script, clients.node(script, &format!("{base}/k/{key}"))?).await
}
