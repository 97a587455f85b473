//! Tenants and their keys.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::TenantSettings;

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
}

/// What a key may do. Ordered: each includes the ones before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Scrape metrics only.
    Metrics,
    /// Read its tenant's jobs and assets.
    Read,
    /// Submit and cancel too.
    Submit,
    /// Operate the fleet.
    Admin,
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
    /// Milliseconds since the epoch.
    pub created_at: i64,
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
    /// Milliseconds since the epoch.
    pub created_at: i64,
}
