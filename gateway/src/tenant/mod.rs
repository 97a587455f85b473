//! Tenants and their keys: who calls, and what may they do?
//!
//! A key is `dk_` and 32 random bytes; the store has its BLAKE3 hash only. Answers come from a snapshot in memory that
//! is taken at the start, after each change made here, and every few seconds, so that a key revoked by another
//! process (`gateway key revoke`) stops working without a restart.

mod admin;
mod draft;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::link::message::Secret;
use crate::network::Network;
use crate::store::{KeyRow, Scope, Store, StoreError, TenantRow};

pub use admin::{Admin, AdminError, KeyDraft};
pub use draft::check_draft;

/// Who makes changes at the machine itself.
pub const COMMAND_LINE: &str = "command line";

/// The tenant of everybody while no key was ever created. Every store has it from the start.
pub const DEFAULT_TENANT: &str = "default";

/// A key that is not known is looked for in the store at most this often, whoever presents how many.
const LOOKS_APART: Duration = Duration::from_millis(200);

/// How each key begins: scanners of leaked secrets find it by this.
const PREFIX: &str = "dk_";

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Who pays.
    pub tenant: TenantRow,
    /// What the key may do.
    pub scope: Scope,
    /// The key's id; `None` by the open door.
    pub key_id: Option<String>,
    /// From where the key works; empty: from anywhere.
    pub networks: Vec<Network>,
    /// When the key stops working, milliseconds since the epoch.
    pub expires_at: Option<i64>,
}

/// A key that was just made: the only moment its secret is known.
#[derive(Debug, Clone)]
pub struct CreatedKey {
    /// The key itself.
    pub secret: Secret,
    /// What is stored of it.
    pub row: KeyRow,
}

/// What a new key shall be, for whoever sits at the machine: the tenant is made when new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRequest {
    /// The tenant's name; made when new.
    pub tenant: String,
    /// What the key may do.
    pub scope: Scope,
    /// Weight of a new tenant.
    pub weight: u32,
    /// Concurrency of a new tenant; `u32::MAX`: no bound.
    pub concurrency: u32,
}

/// All tenants and keys. Cheap to clone.
#[derive(Clone)]
pub struct Tenants {
    store: Arc<dyn Store>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    /// Held while something is read, changed and written.
    changing: Arc<tokio::sync::Mutex<()>>,
    /// Held while the snapshot is taken: an earlier one never takes the place of a later one.
    refreshing: Arc<tokio::sync::Mutex<()>>,
    /// When the store was last looked into for a key that was not known.
    looked: Arc<tokio::sync::Mutex<Option<Instant>>>,
}

struct Snapshot {
    /// Present when no key was ever created: everybody by the open door.
    everybody: Option<Arc<Caller>>,
    callers: HashMap<[u8; 32], Arc<Caller>>,
    tenants: HashMap<u32, Arc<TenantRow>>,
}

impl std::fmt::Debug for Tenants {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tenants").field("keys", &self.snapshot.load().callers.len()).finish_non_exhaustive()
    }
}

impl Tenants {
    /// Reads all keys.
    ///
    /// # Errors
    /// See [`StoreError`]; `Damaged` when the default tenant is missing.
    pub async fn open(store: Arc<dyn Store>) -> Result<Self, StoreError> {
        let snapshot = Snapshot::take(&*store).await?;
        Ok(Self {
            store,
            snapshot: Arc::new(ArcSwap::from_pointee(snapshot)),
            changing: Arc::default(),
            refreshing: Arc::default(),
            looked: Arc::default(),
        })
    }

    /// Reads all keys again.
    ///
    /// # Errors
    /// See [`StoreError`]; what was known stays.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        let _turn = self.refreshing.lock().await;
        let snapshot = Snapshot::take(&*self.store).await?;
        let is_closed = snapshot.everybody.is_none();
        let before = self.snapshot.swap(Arc::new(snapshot));
        if is_closed && before.everybody.is_some() {
            info!("callers need a key from now on");
        }
        Ok(())
    }

    /// Refreshes every `period` until `closing`.
    pub async fn keep_fresh(self, period: Duration, closing: CancellationToken) {
        loop {
            tokio::select! {
                () = closing.cancelled() => return,
                () = tokio::time::sleep(period) => {}
            }
            if let Err(error) = self.refresh().await {
                warn!(error = %error, "keys not refreshed");
            }
        }
    }

    /// Whoever comes without a key: `None` once a key existed (revoked ones count).
    #[must_use]
    pub fn everybody(&self) -> Option<Arc<Caller>> {
        self.snapshot.load().everybody.clone()
    }

    /// Whether callers need a key.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.snapshot.load().everybody.is_none()
    }

    /// The owner of a key that works now. The look-up is by hash, so its time tells nothing of any stored key; the
    /// comparison that decides takes constant time.
    #[must_use]
    pub fn caller(&self, key: &str) -> Option<Arc<Caller>> {
        if !key.starts_with(PREFIX) {
            return None;
        }
        let presented = blake3::hash(key.as_bytes());
        let snapshot = self.snapshot.load();
        let (stored, caller) = snapshot.callers.get_key_value(presented.as_bytes())?;
        let is_known = blake3::Hash::from_bytes(*stored) == presented;
        let is_alive = caller.expires_at.is_none_or(|at| at > now());
        (is_known && is_alive).then(|| caller.clone())
    }

    /// As [`Tenants::caller`]; a key that is not known is looked for in the store before it is refused, since it may have
    /// been made a moment ago by another process.
    ///
    /// # Errors
    /// See [`StoreError`]: whether the key is good is not known.
    pub async fn caller_now(&self, key: &str) -> Result<Option<Arc<Caller>>, StoreError> {
        if let Some(caller) = self.caller(key) {
            return Ok(Some(caller));
        }
        if !key.starts_with(PREFIX) {
            return Ok(None);
        }
        let came = Instant::now();
        let mut looked = self.looked.lock().await;
        // One look answers all who came before it.
        if looked.is_none_or(|at| at <= came) {
            if let Some(at) = *looked {
                tokio::time::sleep_until(at + LOOKS_APART).await;
            }
            let began = Instant::now();
            self.refresh().await?;
            *looked = Some(began);
        }
        drop(looked);
        Ok(self.caller(key))
    }

    /// Changes to tenants and keys, made by `by`: the id of a key, or who else it is.
    #[must_use]
    pub fn admin(&self, by: impl Into<String>) -> Admin {
        Admin::new(self.clone(), by.into())
    }

    /// A tenant, whether it has keys or not.
    #[must_use]
    pub fn tenant(&self, id: u32) -> Option<Arc<TenantRow>> {
        self.snapshot.load().tenants.get(&id).cloned()
    }

    /// Makes a key. From then on the door is closed to callers without one.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub async fn create_key(&self, request: KeyRequest) -> Result<CreatedKey, AdminError> {
        self.admin(COMMAND_LINE).create_key(request, None, Vec::new()).await
    }

    /// All keys, revoked ones included; never the secrets.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn list(&self) -> Result<Vec<KeyRow>, StoreError> {
        self.store.keys().await
    }

    /// All tenants, removed ones included.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn tenants(&self) -> Result<Vec<TenantRow>, StoreError> {
        self.store.tenants().await
    }

    /// Revokes a key by its id or its prefix; `false` when there is none.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn revoke(&self, id: &str) -> Result<bool, StoreError> {
        match self.admin(COMMAND_LINE).revoke_key(id).await {
            Ok(()) => Ok(true),
            Err(AdminError::Store(error)) => Err(error),
            Err(_) => Ok(false),
        }
    }
}

/// Milliseconds since the epoch.
fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

impl Snapshot {
    async fn take(store: &dyn Store) -> Result<Self, StoreError> {
        let keys = store.keys().await?;
        let tenants = store.tenants().await?;
        let everybody = if keys.is_empty() { Some(everybody(&tenants)?) } else { None };
        let alive = keys.into_iter().filter(|key| key.revoked_at.is_none());
        let callers = alive
            .map(|key| {
                let caller = Caller {
                    tenant: key.tenant,
                    scope: key.scope,
                    key_id: Some(key.id),
                    networks: key.networks,
                    expires_at: key.expires_at,
                };
                (key.hash, Arc::new(caller))
            })
            .collect();
        let tenants = tenants.into_iter().map(|tenant| (tenant.id, Arc::new(tenant))).collect();
        Ok(Self { everybody, callers, tenants })
    }
}

fn everybody(tenants: &[TenantRow]) -> Result<Arc<Caller>, StoreError> {
    let tenant = tenants
        .iter()
        .find(|tenant| tenant.name == DEFAULT_TENANT)
        .cloned()
        .ok_or_else(|| StoreError::Damaged("the default tenant is missing".into()))?;
    let (networks, expires_at) = (Vec::new(), None);
    Ok(Arc::new(Caller { tenant, scope: Scope::Admin, key_id: None, networks, expires_at }))
}
