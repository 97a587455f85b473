//! Clients of ComfyUI's own API that nobody here wrote (`tests/e2e/native`) against a gateway over three simulated GPUs.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use comfyui_sim::Device;
use e2e::sandbox::Sandbox;
use e2e::{foreign, program, wait};
use serde_json::json;
use tokio::process::Command;

/// Longest run of one client.
const RUN: Duration = Duration::from_secs(90);

const CATAPULT: &str = "catapult_client.py";

/// Scripts of Python clients.
const PYTHON: [&str; 3] = ["comfy_api_simplified_client.py", "comfyapi_client.py", CATAPULT];

/// What the clients are installed in, and the workflow that each of them runs.
struct Clients {
    python: PathBuf,
    /// The environment of comfy-catapult, which wants older libraries than the others.
    catapult: PathBuf,
    node: PathBuf,
    workflow: PathBuf,
}

impl Clients {
    fn find(sandbox: &Sandbox) -> anyhow::Result<Self> {
        let python = foreign::installed("venv-native/bin", "tests/setup-python")?;
        let catapult = foreign::installed("venv-catapult/bin", "tests/setup-python")?;
        let node = foreign::installed("native-clients", "tests/setup-node")?;
        let workflow = sandbox.path("workflow.json");
        let text = json!({
            "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 255},
                "_meta": {"title": "Empty"}},
            "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "client"},
                "_meta": {"title": "Save"}},
        });
        std::fs::write(&workflow, text.to_string())?;
        Ok(Self { python, catapult, node, workflow })
    }

    fn python(&self, script: &str, base: &str) -> Command {
        let folder = if script == CATAPULT { &self.catapult } else { &self.python };
        let mut command = Command::new(folder.join("python"));
        command.arg(scripts().join(script)).arg(base).arg(&self.workflow);
        command
    }

    fn node(&self, script: &str, base: &str) -> anyhow::Result<Command> {
        let mut command = foreign::node(&self.node, &scripts().join(script))?;
        command.arg(base).arg(&self.workflow);
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
    foreign::repository("tests/e2e/native")
}

async fn succeeds(sandbox: &Sandbox, name: &str, command: Command) -> anyhow::Result<()> {
    foreign::succeeds(sandbox, name, command, RUN).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_comfyui_run_their_workflows_on_the_fleet() -> anyhow::Result<()> {
    let sandbox = Sandbox::plan().gpu(Device::t4()).gpu(Device::v100()).gpu(Device::a100()).start().await?;
    let clients = Clients::find(&sandbox)?;
    let base = sandbox.api().base();
    for script in PYTHON {
        succeeds(&sandbox, script, clients.python(script, base)).await?;
    }
    for script in ["stable_canvas.mjs", "saintno.mjs", "comfyorg.mjs"] {
        succeeds(&sandbox, script, clients.node(script, base)?).await?;
    }
    succeeds(&sandbox, "comfy-cli", clients.cli(base)?).await?;
    ensure!(sandbox.posts() >= 13, "not every client had its jobs done");
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
    for script in PYTHON {
        let stranger = succeeds(&sandbox, script, clients.python(script, &by_password("none"))).await;
        ensure!(stranger.is_err(), "{script} gets in with a wrong key");
        succeeds(&sandbox, script, clients.python(script, &by_password(&key))).await?;
    }
    let script = "saintno.mjs";
    succeeds(&sandbox, script, clients.node(script, &format!("{base}/k/{key}"))?).await?;
    let script = "comfyorg.mjs";
    let comfyorg = |key: &str| {
        let mut command = clients.node(script, base)?;
        command.arg(key);
        anyhow::Ok(command)
    };
    let stranger = succeeds(&sandbox, script, comfyorg("none")?).await;
    ensure!(stranger.is_err(), "{script} gets in with a wrong key");
    succeeds(&sandbox, script, comfyorg(&key)?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_know_nothing_but_a_host_use_a_listener_that_is_bound_to_a_key() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let key_file = folder.path().join("local.key");
    std::fs::write(&key_file, "\n")?;
    let bound = format!("127.0.0.1:{}", program::free_port()?);
    let settings =
        format!("[[listeners]]\nlisten = \"{bound}\"\nkey_file = {:?}\n", key_file.display().to_string());
    let mut sandbox = Sandbox::plan().keyed().settings(&settings).gpu(Device::t4()).start().await?;
    let clients = Clients::find(&sandbox)?;
    std::fs::write(&key_file, sandbox.new_key("clients", "submit").await?)?;
    sandbox.start().await?;
    sandbox.all_known().await?;
    let stranger = succeeds(&sandbox, "comfy-cli", clients.cli(sandbox.api().base())?).await;
    ensure!(stranger.is_err(), "comfy-cli gets in by the other address");
    let bound = format!("http://{bound}");
    succeeds(&sandbox, "comfy-cli", clients.cli(&bound)?).await?;
    for script in ["stable_canvas.mjs", "saintno.mjs"] {
        succeeds(&sandbox, script, clients.node(script, &bound)?).await?;
    }
    for script in PYTHON {
        succeeds(&sandbox, script, clients.python(script, &bound)).await?;
    }
    Ok(())
}
