//! `make demo`: a gateway, a backend-api, three simulated GPUs and a simulated WeChat platform on this machine, with
//! work to do. First somebody comes by in the mini program, then a batch.
//!
//! `COMFYUI_URL=http://…[,http://…]` takes real ComfyUI servers instead of simulators. `ONCE=1` ends after the first
//! batch, successfully only if every picture was fetched and decoded.

mod batch;
mod fleet;
mod follow;
mod orders;
mod person;
mod screen;
mod servers;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use e2e::wechat::Wechat;
use tokio::signal::unix::{SignalKind, signal};

use fleet::Fleet;
use screen::Screen;
use servers::Servers;

/// Shows what Darkroom does: a person buys credits and gets a picture, then a batch is made on three simulated GPUs.
///
/// COMFYUI_URL=http://…[,http://…] takes real ComfyUI servers instead; ONCE=1 ends after the first batch, with an error
/// unless every picture was fetched.
#[derive(clap::Parser)]
#[command(name = "demo", version)]
struct Options {}

#[tokio::main]
async fn main() -> ExitCode {
    let Options {} = Options::parse();
    match demo().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn demo() -> anyhow::Result<()> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let once = set("ONCE").is_some_and(|value| value != "0");
    let folder = empty_folder()?;
    let mut stop = Stop::listen()?;
    let fleet = Fleet::start(set("COMFYUI_URL").as_deref()).await?;
    let wechat = Wechat::start().await?;
    let mut servers = Servers::start(&fleet, &wechat, &folder)?;
    let ended = tokio::select! {
        ended = story(&mut servers, &wechat, &fleet, once) => ended,
        () = stop.asked() => Ok(()),
    };
    servers.stop().await;
    ended.with_context(|| format!("the logs are in {}", folder.display()))
}

async fn story(servers: &mut Servers, wechat: &Wechat, fleet: &Fleet, once: bool) -> anyhow::Result<()> {
    servers.ready(fleet.urls().len()).await?;
    println!("gateway      {}", servers.gateway.base());
    println!("backend-api  {}", servers.backend.base());
    println!("console      {}/console", servers.gateway.base());
    fleet.describe();
    println!("WeChat       simulated: {}", wechat.sim().url());
    println!();

    let mut screen = Screen::new();
    person::visit(servers, wechat, fleet, &mut screen).await.context("in the mini program")?;
    let orders = orders::batch(fleet).await?;
    batch::run(servers, &orders, &mut screen).await?;
    if once {
        return Ok(());
    }
    println!("\nOpen {}/console and watch. Ctrl-C ends everything.", servers.gateway.base());
    batch::trickle(servers, fleet, &mut screen).await
}

/// `target/demo`, without what an earlier run left.
fn empty_folder() -> anyhow::Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = root.canonicalize().unwrap_or(root).join("target/demo");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// The ways a person or a script ends the demo.
struct Stop {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

impl Stop {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}
