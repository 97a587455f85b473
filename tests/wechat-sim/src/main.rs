//! The simulated platform from the command line.
//!
//! Prints one JSON line with addresses, credentials and keys once it answers, then runs until SIGTERM or SIGINT. It is
//! driven over `/sim/…`; see `docs/WECHAT_SIMULATOR.md`.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use wechat_sim::{Config, WechatSim};

/// A simulated WeChat platform.
#[derive(Parser)]
struct Options {
    /// Address to listen on.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    listen: IpAddr,
    /// Port of the public side, the next two are the container's and the bucket's; 0 gives each a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// A JSON file with settings that differ from the defaults.
    #[arg(long)]
    config: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let options = Options::parse();
    let mut config = match &options.config {
        None => Config::default(),
        Some(path) => {
            let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            serde_json::from_slice(&text).with_context(|| format!("{} is not right", path.display()))?
        }
    };
    let port = |index| options.port.checked_add(index).filter(|_| options.port != 0).unwrap_or(0);
    config.listen = SocketAddr::new(options.listen, port(0));
    config.container_listen = SocketAddr::new(options.listen, port(1));
    config.cos_listen = SocketAddr::new(options.listen, port(2));
    let simulator = WechatSim::start(config).await?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", simulator.setup())?;
    out.flush()?;
    drop(out);
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
