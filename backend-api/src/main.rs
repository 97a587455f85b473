//! `backend-api serve` runs the service; `backend-api config check` tells what is wrong with its settings.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use backend_api::app::App;
use backend_api::config::{self, Config};
use backend_api::shutdown::StopSignals;
use backend_api::telemetry;
use clap::{Parser, Subcommand};
use tracing::info;

#[derive(Parser)]
#[command(name = "backend-api", version, about = "Darkroom's business side.")]
struct Cli {
    /// TOML file with settings; see backend.example.toml. The BACKEND_* environment overrides it.
    #[arg(long, global = true, env = "BACKEND_CONFIG")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serves until SIGTERM or Ctrl-C, then drains.
    Serve {
        /// As what: `app` (what the mini program calls; public access off), `callbacks` (what machines call; public), or
        /// `single` (both; the default). Goes before the settings.
        #[arg(long)]
        role: Option<String>,
    },
    /// Works on the settings themselves.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Reports every problem of file and environment at once; exits 0 if there is none.
    Check,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Also reached before a log exists, hence stderr.
            eprintln!("backend-api: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    install_tls_provider()?;
    let role = match &cli.command {
        Command::Serve { role } => role.as_deref(),
        Command::Config { .. } => None,
    };
    let config = config::load(cli.config.as_deref(), role)?;
    match cli.command {
        Command::Serve { .. } => serve(config).await,
        Command::Config { command: ConfigCommand::Check } => {
            println!("configuration is valid");
            Ok(())
        }
    }
}

async fn serve(config: Config) -> anyhow::Result<()> {
    telemetry::init(&config.log)?;
    let stop = StopSignals::listen().context("cannot listen for signals")?;
    let app = App::start(config).await?;
    info!(signal = stop.received().await, "draining");
    app.drain().await?;
    info!("stopped");
    Ok(())
}

/// rustls panics at its first use unless the process chose one provider.
fn install_tls_provider() -> anyhow::Result<()> {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow!("another TLS provider is already installed"))
}
