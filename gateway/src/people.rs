//! `gateway key …` and `gateway tenant …`: for whoever sits at the machine, beside a gateway that may be serving. Every
//! change has its line in the audit log, as from the admin API.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use gateway::config::Config;
use gateway::network::Network;
use gateway::store::sqlite::SqliteStore;
use gateway::store::{KeyRow, Scope, TenantDraft, TenantSettings};
use gateway::tenant::{Admin, AdminError, COMMAND_LINE, CreatedKey, KeyRequest, Tenants};
use jiff::Timestamp;

#[derive(Subcommand)]
pub(crate) enum KeyCommand {
    /// Create a key and print it, once.
    Create(CreateKey),
    /// List keys; never the keys themselves.
    List,
    /// Replace a key by a new one and print that, once; the old one works for a while more.
    Rotate {
        /// As `key list` shows it.
        id: String,
        /// How long the old key goes on, seconds.
        #[arg(long, default_value_t = 24 * 3600)]
        overlap_seconds: u64,
    },
    /// Revoke a key by its id; a running gateway stops taking it within seconds.
    Revoke {
        /// As `key list` shows it.
        id: String,
    },
}

#[derive(Args)]
pub(crate) struct CreateKey {
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
    /// When the key stops working by itself; unset: never.
    #[arg(long)]
    expires_in_seconds: Option<u64>,
    /// From where the key works, such as 10.0.0.0/8; may be given several times; unset: from anywhere.
    #[arg(long = "network")]
    networks: Vec<Network>,
}

#[derive(Clone, Copy, ValueEnum)]
enum KeyScope {
    Metrics,
    Read,
    Submit,
    Admin,
    Runner,
}

impl From<KeyScope> for Scope {
    fn from(scope: KeyScope) -> Self {
        match scope {
            KeyScope::Metrics => Self::Metrics,
            KeyScope::Read => Self::Read,
            KeyScope::Submit => Self::Submit,
            KeyScope::Admin => Self::Admin,
            KeyScope::Runner => Self::Runner,
        }
    }
}

#[derive(Subcommand)]
pub(crate) enum TenantCommand {
    /// List tenants with their settings; secrets are left out.
    List,
    /// Make a tenant, or give one other values.
    Set(SetTenant),
    /// Remove a tenant: its keys stop working. Its data stays; the admin API deletes it.
    Remove {
        /// Its name.
        name: String,
    },
}

#[derive(Args)]
pub(crate) struct SetTenant {
    /// Its name.
    name: String,
    /// Share against the others; unset: as it is, 1 for a new one.
    #[arg(long)]
    weight: Option<u32>,
    /// Most attempts on devices at once, 0 for no bound; unset: as it is.
    #[arg(long)]
    concurrency: Option<u32>,
    /// A JSON file with its settings (`limits`, `allow`, …), in place of those it has; unset: as they are.
    #[arg(long)]
    settings: Option<PathBuf>,
}

async fn open(config: &Config) -> anyhow::Result<Tenants> {
    let store = SqliteStore::open_shared(&config.database)
        .with_context(|| format!("cannot open the job database {}", config.database.display()))?;
    Ok(Tenants::open(store).await?)
}

pub(crate) async fn keys(config: &Config, command: KeyCommand) -> anyhow::Result<()> {
    let tenants = open(config).await?;
    let admin = tenants.admin(COMMAND_LINE);
    match command {
        KeyCommand::Create(wanted) => print_key(&create(&admin, wanted).await?),
        KeyCommand::List => list(&tenants.list().await?),
        KeyCommand::Rotate { id, overlap_seconds } => {
            let overlap = std::time::Duration::from_secs(overlap_seconds);
            print_key(&admin.rotate_key(&id, overlap).await?);
        }
        KeyCommand::Revoke { id } => {
            anyhow::ensure!(tenants.revoke(&id).await?, "there is no active key {id}");
            eprintln!("revoked");
        }
    }
    Ok(())
}

async fn create(admin: &Admin, wanted: CreateKey) -> Result<CreatedKey, AdminError> {
    let now = Timestamp::now().as_millisecond();
    let life = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000);
    let expires_at = wanted.expires_in_seconds.map(|seconds| now.saturating_add(life(seconds)));
    let request = KeyRequest {
        tenant: wanted.tenant,
        scope: wanted.scope.into(),
        weight: wanted.weight,
        concurrency: wanted.concurrency.unwrap_or(u32::MAX),
    };
    admin.create_key(request, expires_at, wanted.networks).await
}

fn print_key(created: &CreatedKey) {
    eprintln!("key {} of tenant {}; it is shown this once:", created.row.id, created.row.tenant.name);
    println!("{}", created.secret.0);
}

fn list(keys: &[KeyRow]) {
    println!("{:<36} {:<10} {:<20} {:<8} {:<9} WEIGHT", "ID", "PREFIX", "TENANT", "SCOPE", "STATE");
    let now = Timestamp::now().as_millisecond();
    for key in keys {
        let scope = format!("{:?}", key.scope).to_lowercase();
        let state = match key {
            KeyRow { revoked_at: Some(_), .. } => "revoked",
            KeyRow { expires_at: Some(at), .. } if *at <= now => "expired",
            _ => "active",
        };
        println!(
            "{:<36} {:<10} {:<20} {:<8} {:<9} {}",
            key.id, key.prefix, key.tenant.name, scope, state, key.tenant.weight
        );
    }
}

pub(crate) async fn tenants(config: &Config, command: TenantCommand) -> anyhow::Result<()> {
    let tenants = open(config).await?;
    let admin = tenants.admin(COMMAND_LINE);
    match command {
        TenantCommand::List => {
            for tenant in tenants.tenants().await? {
                let place = if tenant.in_file { "file" } else { "store" };
                let state = if tenant.retired_at.is_some() { " (removed)" } else { "" };
                println!("{}{state}: weight {}, from the {place}", tenant.name, tenant.weight);
                println!("  {}", tenant.settings.shown());
            }
        }
        TenantCommand::Set(wanted) => {
            let set = set(&tenants, &admin, wanted).await?;
            eprintln!("tenant {set} is set");
        }
        TenantCommand::Remove { name } => {
            admin.retire_tenant(&name).await?;
            eprintln!("removed");
        }
    }
    Ok(())
}

async fn set(tenants: &Tenants, admin: &Admin, wanted: SetTenant) -> anyhow::Result<String> {
    let settings: Option<TenantSettings> = match &wanted.settings {
        None => None,
        Some(path) => {
            let text =
                std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            Some(serde_json::from_str(&text).with_context(|| format!("cannot use {}", path.display()))?)
        }
    };
    let bound = |concurrency: u32| if concurrency == 0 { u32::MAX } else { concurrency };
    let there = tenants.tenants().await?;
    if there.iter().any(|tenant| tenant.name == wanted.name && tenant.retired_at.is_none()) {
        let changed = admin
            .change_tenant(&wanted.name, |present| {
                Ok::<_, AdminError>(TenantDraft {
                    name: present.name.clone(),
                    weight: wanted.weight.unwrap_or(present.weight),
                    concurrency: wanted.concurrency.map_or(present.concurrency, bound),
                    settings: settings.unwrap_or_else(|| TenantSettings::clone(&present.settings)),
                })
            })
            .await?;
        return Ok(changed.name);
    }
    let draft = TenantDraft {
        name: wanted.name,
        weight: wanted.weight.unwrap_or(1),
        concurrency: wanted.concurrency.map_or(u32::MAX, bound),
        settings: settings.unwrap_or_default(),
    };
    Ok(admin.add_tenant(draft).await?.name)
}
