//! `gateway`: read the settings, start, wait for the signal, drain.

mod people;
mod simulate;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use gateway::app::App;
use gateway::config::Config;
use gateway::{open_files, telemetry};
use tokio::signal::unix::{SignalKind, signal};

/// Threads that wait for the disk. A local disk serves no more at once, and each keeps memory of its own.
const BLOCKING_THREADS: usize = 32;

/// One dependable door in front of a fleet of ComfyUI servers.
#[derive(Parser)]
#[command(name = "gateway", version, about)]
struct Cli {
    /// The configuration file; everything has a default without one.
    #[arg(long, env = "GATEWAY_CONFIG", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve.
    Serve,
    /// Drive the instances of another machine for a gateway: not in this version.
    Runner {
        /// The gateway to join.
        #[arg(long)]
        join: Option<String>,
    },
    /// Look at the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Replay a trace of jobs against a scheduling policy in a model of a fleet, and measure it.
    Simulate(simulate::Simulate),
    /// Manage the keys of tenants.
    #[command(subcommand)]
    Key(people::KeyCommand),
    /// Manage tenants.
    #[command(subcommand)]
    Tenant(people::TenantCommand),
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Report every mistake at once; exit 0 when there is none.
    Check,
}

fn main() -> ExitCode {
    // Many threads, each with a little memory of its own, fill few huge pages where the machine gives them unasked
    // (`transparent_hugepage=always`). Where it cannot be told, it stays as it is.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gateway: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let command = match cli.command {
        Command::Simulate(wanted) => return simulate::run(&wanted),
        other => other,
    };
    // One TLS provider, chosen before anything can ask for one.
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("another TLS provider is installed"))?;
    let config = Config::load(cli.config.as_deref(), |name| std::env::var(name).ok())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .context("cannot start")?;
    match command {
        Command::Serve => runtime.block_on(serve(config)),
        Command::Runner { .. } => anyhow::bail!(
            "`gateway runner` is not in this version: give the URLs of the other machine's instances to `gateway serve`"
        ),
        Command::Config(ConfigCommand::Check) => {
            println!("the configuration is good");
            Ok(())
        }
        Command::Key(command) => runtime.block_on(people::keys(&config, command)),
        Command::Tenant(command) => runtime.block_on(people::tenants(&config, command)),
        Command::Simulate(wanted) => simulate::run(&wanted),
    }
}

async fn serve(config: Config) -> anyhow::Result<()> {
    telemetry::install(&config.file.log)?;
    open_files::raise(config.file.http.max_connections);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let app = App::start(config).await?;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hang_up.recv() => app.reload_certificates(),
        }
    }
    tracing::info!("draining");
    tokio::select! {
        () = app.drain() => {}
        _ = terminate.recv() => tracing::warn!("asked again: ending at once"),
        _ = interrupt.recv() => tracing::warn!("asked again: ending at once"),
    }
    Ok(())
}
