//! `backend-api serve` runs the service; `backend-api config check` tells what is wrong with its settings;
//! `backend-api user role` says what a person may do.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use backend_api::app::App;
use backend_api::config::{self, Config};
use backend_api::db::Database;
use backend_api::domain::{Role, UserId};
use backend_api::shutdown::StopSignals;
use backend_api::telemetry;
use clap::{Parser, Subcommand};
use tracing::info;
use uuid::Uuid;

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
    /// Works on people.
    User {
        #[command(subcommand)]
        command: UserCommand,
    },
    /// Works on the settings themselves.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
}

#[derive(Subcommand)]
enum UserCommand {
    /// Sets what a person may do. A running service notices within identity.recheck_seconds.
    Role {
        /// Their id, as GET /me shows it.
        id: Uuid,
        /// user, coach or admin.
        #[arg(value_parser = role)]
        role: Role,
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
        Command::User { .. } | Command::Config { .. } => None,
    };
    let config = config::load(cli.config.as_deref(), role)?;
    match cli.command {
        Command::Serve { .. } => serve(config).await,
        Command::User { command: UserCommand::Role { id, role } } => {
            set_role(&config, UserId(id), role).await
        }
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
    let signal = stop.received().await; // not in the line below: what is not logged is not awaited
    info!(signal, "draining");
    app.drain().await?;
    info!("stopped");
    Ok(())
}

async fn set_role(config: &Config, user: UserId, role: Role) -> anyhow::Result<()> {
    let place = &config.database.place;
    let database = Database::open(&config.database)
        .await
        .with_context(|| format!("cannot open the database {place}"))?;
    let found = database.retry(|| database.set_role(user, role)).await;
    database.close().await.context("cannot close the database")?;
    anyhow::ensure!(found.context("cannot store the role")?, "there is no such person");
    println!("{user} is {} now", role.as_str());
    Ok(())
}

fn role(text: &str) -> Result<Role, String> {
    text.parse().map_err(|_| "user, coach or admin is expected".to_owned())
}

/// rustls panics at its first use unless the process chose one provider.
fn install_tls_provider() -> anyhow::Result<()> {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow!("another TLS provider is already installed"))
}
