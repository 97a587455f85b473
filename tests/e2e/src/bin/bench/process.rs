//! The programs under measurement, as child processes that end with their guards.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use reqwest::Client;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// Longest wait for a program to serve.
const START: Duration = Duration::from_secs(120);

/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Simulated ComfyUI servers in one process.
pub struct Simulators {
    /// Base URLs.
    pub urls: Vec<String>,
    _child: Child,
}

/// A server of Comfy API v2: the gateway or the reference proxy.
pub struct Server {
    /// What it is called in the report.
    pub name: &'static str,
    /// Its address.
    pub address: SocketAddr,
    /// Its process id.
    pub pid: u32,
    child: Child,
    log: PathBuf,
}

/// Starts `count` simulators with these further options.
///
/// # Errors
/// When they do not start.
pub async fn simulators(count: usize, options: &[&str], folder: &Path) -> anyhow::Result<Simulators> {
    let mut command = Command::new(beside("comfyui-sim")?);
    command.args(["--count", &count.to_string(), "--exit-with-parent"]).args(options);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(File::create(folder.join("sim.log"))?);
    let mut child = command.kill_on_drop(true).spawn().context("cannot start comfyui-sim")?;
    let mut lines = BufReader::new(child.stdout.take().context("no output of comfyui-sim")?).lines();
    let mut urls = Vec::new();
    while urls.len() < count {
        let line = tokio::time::timeout(START, lines.next_line()).await.context("comfyui-sim is slow")??;
        let line = line.context("comfyui-sim ended")?;
        let told: Value = serde_json::from_str(&line)?;
        urls.push(told["url"].as_str().context("no url")?.to_owned());
    }
    // The pipe stays open with the child: its end would end the simulators.
    Ok(Simulators { urls, _child: child })
}

/// Starts the gateway on these instances; returns when it knows all of them.
///
/// # Errors
/// When it does not start, or does not reach them all.
pub async fn gateway(urls: &[String], folder: &Path) -> anyhow::Result<Server> {
    gateway_with(urls, folder, "").await
}

/// The same with this text as its configuration file.
///
/// # Errors
/// When it does not start, or does not reach all instances.
pub async fn gateway_with(urls: &[String], folder: &Path, settings: &str) -> anyhow::Result<Server> {
    let file = folder.join("gateway.toml");
    std::fs::write(&file, settings)?;
    let address = free_address()?;
    let mut command = Command::new(beside("gateway")?);
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("GATEWAY_") {
            command.env_remove(variable);
        }
    }
    command.arg("serve").arg("--config").arg(&file);
    command.env("GATEWAY_LISTEN", address.to_string());
    command.env("GATEWAY_DATA_DIR", folder.join("gateway"));
    command.env("GATEWAY_INSTANCES", urls.join(","));
    let mut server = start("gateway", command, address, folder)?;
    server.wait("/readyz", |_| true).await?;
    server
        .wait("/v1/fleet", |fleet| {
            let instances = fleet["instances"].as_array().map_or(&[][..], Vec::as_slice);
            instances.iter().filter(|instance| instance["state"] != "down").count() == urls.len()
        })
        .await?;
    Ok(server)
}

/// Starts the reference proxy in front of one instance, with its state on disk.
///
/// # Errors
/// When it does not start.
pub async fn proxy(program: &Path, url: &str, folder: &Path) -> anyhow::Result<Server> {
    let address = free_address()?;
    let mut command = Command::new(program);
    command.args(["run", "--comfyui", url, "--host", "127.0.0.1", "--port", &address.port().to_string()]);
    command.arg("--state-dir").arg(folder.join("proxy"));
    let mut server = start("comfy-api-proxy", command, address, folder)?;
    server.wait("/api/v2/health", |_| true).await?;
    Ok(server)
}

impl Server {
    /// A URL of it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Ends it as `kill -9` would; returns when it is gone.
    ///
    /// # Errors
    /// When the system does not obey.
    pub async fn end(mut self) -> anyhow::Result<()> {
        self.child.kill().await.with_context(|| format!("cannot end {}", self.name))
    }

    async fn wait(&mut self, path: &str, is_there: impl Fn(&Value) -> bool) -> anyhow::Result<()> {
        let (http, deadline) = (Client::builder().no_proxy().build()?, Instant::now() + START);
        loop {
            if let Some(status) = self.child.try_wait()? {
                let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                bail!("{} ended with {status}:\n{log}", self.name);
            }
            if let Ok(answer) = http.get(self.url(path)).timeout(START).send().await
                && answer.status().is_success()
            {
                let body = answer.bytes().await?;
                if is_there(&serde_json::from_slice(&body).unwrap_or_default()) {
                    return Ok(());
                }
            }
            ensure!(Instant::now() < deadline, "{} is not ready: {path}", self.name);
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

fn start(
    name: &'static str,
    mut command: Command,
    address: SocketAddr,
    folder: &Path,
) -> anyhow::Result<Server> {
    let log = folder.join(format!("{name}.log"));
    let out = File::create(&log)?;
    command.stdin(Stdio::null()).stderr(out.try_clone()?).stdout(out).kill_on_drop(true);
    let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
    let pid = child.id().with_context(|| format!("{name} ended at once"))?;
    Ok(Server { name, address, pid, child, log })
}

/// The path of a program built beside this one.
fn beside(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    ensure!(
        path.is_file(),
        "{} is missing: run `cargo build --release --workspace --bins` first",
        path.display()
    );
    Ok(path)
}

fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
