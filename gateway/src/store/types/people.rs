//! Tenants and their keys, and the changes that are made of them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::TenantSettings;
use crate::network::Network;

/// Who pays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantRow {
    /// Its row.
    pub id: u32,
    /// Its name, unique.
    pub name: String,
    /// Share against other tenants, at least 1.
    pub weight: u32,
    /// Most attempts on devices at once; `u32::MAX`: no bound.
    pub concurrency: u32,
    /// Everything else that is its own.
    pub settings: Arc<TenantSettings>,
    /// It is defined in the configuration file, and changed there only.
    pub in_file: bool,
    /// When it was removed, milliseconds since the epoch: it has no keys, its data may still be there.
    pub retired_at: Option<i64>,
}

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Scrape metrics, nothing else.
    Metrics,
    /// Read its tenant's jobs and assets.
    Read,
    /// Submit and cancel too.
    Submit,
    /// Operate the fleet and administer tenants, too; scrape metrics.
    Admin,
    /// Join as a runner of another machine, nothing else.
    Runner,
}

impl Scope {
    /// Whether a key of this scope may do what asks for `needed`: read, submit and admin include each other in that
    /// order, metrics and runner stand beside.
    #[must_use]
    pub fn allows(self, needed: Self) -> bool {
        match self {
            Self::Admin => needed != Self::Runner,
            Self::Submit => matches!(needed, Self::Submit | Self::Read),
            Self::Read | Self::Metrics | Self::Runner => self == needed,
        }
    }
}

/// A key as stored: never the key itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    /// Its id, shown by `key list`.
    pub id: String,
    /// BLAKE3 of the key.
    pub hash: [u8; 32],
    /// First characters, to recognise it by.
    pub prefix: String,
    /// Whose.
    pub tenant: TenantRow,
    /// What it may do.
    pub scope: Scope,
    /// From where; empty: from anywhere.
    pub networks: Vec<Network>,
    /// Milliseconds since the epoch.
    pub created_at: i64,
    /// When it stops working by itself, milliseconds since the epoch.
    pub expires_at: Option<i64>,
    /// Milliseconds since the epoch.
    pub revoked_at: Option<i64>,
}

/// A key to be stored.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// Its id.
    pub id: String,
    /// BLAKE3 of the key.
    pub hash: [u8; 32],
    /// First characters.
    pub prefix: String,
    /// The tenant's name; made when new.
    pub tenant: String,
    /// Weight of a new tenant.
    pub weight: u32,
    /// Concurrency of a new tenant.
    pub concurrency: u32,
    /// What it may do.
    pub scope: Scope,
    /// From where; empty: from anywhere.
    pub networks: Vec<Network>,
    /// Milliseconds since the epoch.
    pub created_at: i64,
    /// Milliseconds since the epoch.
    pub expires_at: Option<i64>,
}

/// A change of tenants or keys, written with its line of the audit log.
#[derive(Debug, Clone)]
pub struct PeopleChange {
    /// Who makes it: the id of a key, `open door`, `command line` or `configuration`.
    pub by: String,
    /// Milliseconds since the epoch.
    pub at: i64,
    /// What.
    pub order: PeopleOrder,
}

/// What is changed.
#[derive(Debug, Clone)]
pub enum PeopleOrder {
    /// A tenant is made, or one that was removed comes back.
    AddTenant(TenantDraft),
    /// A tenant is given other values.
    ChangeTenant(TenantDraft),
    /// What the configuration file says of all its tenants. Others are not in the file from now on.
    SetFromFile(Vec<TenantDraft>),
    /// A tenant is removed: its keys are revoked, and nobody submits for it.
    RetireTenant {
        /// Its name.
        name: String,
    },
    /// A key is made.
    AddKey(NewKey),
    /// A key is replaced by a new one of the same tenant, scope and networks.
    RotateKey {
        /// The old key's id.
        id: String,
        /// The new one; tenant and scope of it are not read.
        new: Box<NewKey>,
        /// When the old one stops working, milliseconds since the epoch.
        old_until: i64,
    },
    /// A key stops working.
    RevokeKey {
        /// Its id or its prefix.
        id: String,
    },
    /// Data of a tenant was deleted: a line of the log, nothing else.
    NoteDeletion {
        /// Whose.
        tenant: String,
        /// Of which of its users, as a hash.
        user: Option<String>,
        /// How many jobs and how many files.
        counts: (u64, u64),
    },
}

/// A tenant as it shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantDraft {
    /// Its name.
    pub name: String,
    /// Share against other tenants.
    pub weight: u32,
    /// Most attempts on devices at once.
    pub concurrency: u32,
    /// Everything else.
    pub settings: TenantSettings,
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeopleAnswer {
    /// Done; there is nothing to show.
    Done,
    /// Done: the tenant.
    Tenant(TenantRow),
    /// Done: the key.
    Key(Box<KeyRow>),
    /// There is no such tenant or active key. Nothing was written.
    NotFound,
    /// There is one of that name already. Nothing was written.
    Exists,
    /// It is defined in the configuration file. Nothing was written.
    InFile,
    /// The tenant was removed. Nothing was written.
    Retired,
}

/// A line of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// Counts up.
    pub seq: i64,
    /// Milliseconds since the epoch.
    pub at: i64,
    /// Who.
    pub by: String,
    /// What was done, such as `tenant.changed`.
    pub action: String,
    /// To whom: a tenant's name or a key's id.
    pub subject: String,
    /// How it was, JSON text without secrets.
    pub before: Option<String>,
    /// How it is, JSON text without secrets.
    pub after: Option<String>,
}
