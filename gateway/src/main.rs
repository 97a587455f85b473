//! `gateway`: read the settings, start, wait for the signal, drain.

mod simulate;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser, Subcommand, ValueEnum};
use gateway::app::App;
use gateway::config::Config;
use gateway::store::Scope;
use gateway::store::sqlite::SqliteStore;
use gateway::telemetry;
use gateway::tenant::{KeyRequest, Tenants};
use tokio::signal::unix::{SignalKind, signal};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    Key(KeyCommand),
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Report every mistake at once; exit 0 when there is none.
    Check,
}

#[derive(Subcommand)]
enum KeyCommand {
    /// Create a key and print it, once.
    Create(CreateKey),
    /// List keys; never the keys themselves.
    List,
    /// Revoke a key by its id; a running gateway stops taking it within seconds.
    Revoke {
        /// As `key list` shows it.
        id: String,
    },
}

#[derive(Args)]
struct CreateKey {
    /// The tenant's name; made when new.
    #[arg(long, default_value = "default")]
    tenant: String,
    /// What the key may do.
    #[arg(long, value_enum, default_value_t = KeyScope::Submit)]
    scope: KeyScope,
    /// Share of a new tenant against the others.
    #[arg(long, default_value_t = 1)]
    weight: u32,
    /// Most attempts of a new tenant on devices at once; unset: no bound.
    #[arg(long)]
    concurrency: Option<u32>,
}

#[derive(Clone, Copy, ValueEnum)]
enum KeyScope {
    Metrics,
    Read,
    Submit,
    Admin,
}

impl From<KeyScope> for Scope {
    fn from(scope: KeyScope) -> Self {
        match scope {
            KeyScope::Metrics => Self::Metrics,
            KeyScope::Read => Self::Read,
            KeyScope::Submit => Self::Submit,
            KeyScope::Admin => Self::Admin,
        }
    }
}

fn main() -> ExitCode {
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
        Command::Key(command) => runtime.block_on(keys(&config, command)),
        Command::Simulate(wanted) => simulate::run(&wanted),
    }
}

async fn serve(config: Config) -> anyhow::Result<()> {
    telemetry::install(&config.file.log)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let app = App::start(config).await?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("draining");
    tokio::select! {
        () = app.drain() => {}
        _ = terminate.recv() => tracing::warn!("asked again: ending at once"),
        _ = interrupt.recv() => tracing::warn!("asked again: ending at once"),
    }
    Ok(())
}

async fn keys(config: &Config, command: KeyCommand) -> anyhow::Result<()> {
    let store = SqliteStore::open_shared(&config.database)
        .with_context(|| format!("cannot open the job database {}", config.database.display()))?;
    let tenants = Tenants::open(store).await?;
    match command {
        KeyCommand::Create(wanted) => {
            let request = KeyRequest {
                tenant: wanted.tenant,
                scope: wanted.scope.into(),
                weight: wanted.weight,
                concurrency: wanted.concurrency.unwrap_or(u32::MAX),
            };
            let created = tenants.create_key(request).await?;
            eprintln!("key {} of tenant {}; it is shown this once:", created.row.id, created.row.tenant.name);
            println!("{}", created.secret.0);
        }
        KeyCommand::List => {
            println!("{:<36} {:<10} {:<20} {:<8} {:<9} WEIGHT", "ID", "PREFIX", "TENANT", "SCOPE", "STATE");
            for key in tenants.list().await? {
                let scope = format!("{:?}", key.scope).to_lowercase();
                let state = if key.revoked_at.is_some() { "revoked" } else { "active" };
                println!(
                    "{:<36} {:<10} {:<20} {:<8} {:<9} {}",
                    key.id, key.prefix, key.tenant.name, scope, state, key.tenant.weight
                );
            }
        }
        KeyCommand::Revoke { id } => {
            anyhow::ensure!(tenants.revoke(&id).await?, "there is no active key {id}");
            eprintln!("revoked");
        }
    }
    Ok(())
}
