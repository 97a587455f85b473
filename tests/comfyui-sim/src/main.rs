//! Simulated ComfyUI servers from the command line.
//!
//! Prints one JSON line `{"url":"http://…"}` per instance once it answers, then runs until SIGTERM, SIGINT or, if so
//! asked, the end of its standard input. Faults are set over `POST {url}/_sim/faults`; see [`comfyui_sim::Fault`].

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use comfyui_sim::{Catalogue, Config, Device, Pace, Simulator};
use tokio::signal::unix::{SignalKind, signal};

/// Simulated ComfyUI servers.
#[derive(Parser)]
struct Options {
    /// Address to listen on.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    listen: IpAddr,
    /// Port of the first instance, the others follow; 0 gives each a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Instances in this process.
    #[arg(long, default_value_t = 1)]
    count: u16,
    /// Simulated card.
    #[arg(long, value_enum, default_value = "t4")]
    device: Card,
    /// Checkpoint file names.
    #[arg(long, value_delimiter = ',', default_value = "sd15.safetensors")]
    checkpoints: Vec<String>,
    /// LoRA file names.
    #[arg(long, value_delimiter = ',')]
    loras: Vec<String>,
    /// An `/object_info` answer to serve instead of the built-in classes.
    #[arg(long)]
    object_info: Option<PathBuf>,
    /// Milliseconds a sampling step takes on a T4.
    #[arg(long, default_value_t = 100)]
    pace_ms: u64,
    /// Milliseconds any other node takes.
    #[arg(long, default_value_t = 5)]
    node_ms: u64,
    /// Take no time for anything.
    #[arg(long)]
    instant: bool,
    /// History entries kept.
    #[arg(long, default_value_t = 10_000)]
    history_capacity: usize,
    /// Version told by `/system_stats`.
    #[arg(long, default_value = "0.33.0")]
    comfyui_version: String,
    /// Send latent previews.
    #[arg(long)]
    preview: bool,
    /// Pad every PNG to about this many kilobytes.
    #[arg(long, default_value_t = 0)]
    output_kb: usize,
    /// End when standard input ends.
    #[arg(long)]
    exit_with_parent: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Card {
    T4,
    V100,
    A100,
}

impl Options {
    fn config(&self, catalogue: &Catalogue, index: u16) -> anyhow::Result<Config> {
        let port = match self.port {
            0 => 0,
            first => first.checked_add(index).context("no port left for every instance")?,
        };
        let pace =
            Pace { step: Duration::from_millis(self.pace_ms), node: Duration::from_millis(self.node_ms) };
        Ok(Config {
            listen: SocketAddr::new(self.listen, port),
            device: match self.device {
                Card::T4 => Device::t4(),
                Card::V100 => Device::v100(),
                Card::A100 => Device::a100(),
            },
            checkpoints: self.checkpoints.clone(),
            loras: self.loras.clone(),
            catalogue: catalogue.clone(),
            pace: if self.instant { Pace::instant() } else { pace },
            history_capacity: self.history_capacity,
            version: self.comfyui_version.clone(),
            extensions: Vec::new(),
            preview: self.preview,
        })
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let options = Options::parse();
    let catalogue = match &options.object_info {
        Some(path) => Catalogue::from_file(path)?,
        None => Catalogue::Builtin,
    };
    let mut instances = Vec::new();
    for index in 0..options.count {
        let simulator = Simulator::start(options.config(&catalogue, index)?).await?;
        simulator.faults().pad_outputs(options.output_kb * 1024);
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", serde_json::json!({"url": simulator.url()}))?;
        out.flush()?;
        instances.push(simulator);
    }
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = parent_gone(), if options.exit_with_parent => {}
    }
    for instance in &instances {
        instance.kill().await;
    }
    Ok(())
}

/// Returns when standard input ends; a thread of its own waits for that, as reading may block for ever.
async fn parent_gone() {
    let (gone, wait) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 256];
        while std::io::stdin().read(&mut buffer).is_ok_and(|read| read > 0) {}
        let _ = gone.send(());
    });
    let _ = wait.await;
}
