//! Tenants and their keys: who calls, and what may they do?
//!
//! A key is `dk_` and 32 random bytes; the store has its BLAKE3 hash only. Answers come from a snapshot in memory that
//! is taken at the start, after each change made here, and every few seconds, so that a key revoked by another
//! process (`gateway key revoke`) stops working without a restart.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use uuid::Uuid;

use crate::link::message::Secret;
use crate::store::{KeyRow, NewKey, Scope, Store, StoreError, TenantRow};

/// The tenant of everybody while no key was ever created. Every store has it from the start.
pub const DEFAULT_TENANT: &str = "default";

/// How each key begins: scanners of leaked secrets find it by this.
const PREFIX: &str = "dk_";

/// Characters of a key that are kept to recognise it by.
const SHOWN: usize = PREFIX.len() + 6;

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Who pays.
    pub tenant: TenantRow,
    /// What the key may do.
    pub scope: Scope,
    /// The key's id; `None` by the open door.
    pub key_id: Option<String>,
}

/// A key that was just made: the only moment its secret is known.
#[derive(Debug, Clone)]
pub struct CreatedKey {
    /// The key itself.
    pub secret: Secret,
    /// What is stored of it.
    pub row: KeyRow,
}

/// What a new key shall be.
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

/// Why a key was not made.
#[derive(Debug, thiserror::Error)]
pub enum CreateKeyError {
    /// The name is empty, longer than 64 characters, or has others than letters, digits, `-`, `_` and `.`.
    #[error("a tenant's name is 1 to 64 letters, digits, '-', '_' or '.'")]
    Name,
    /// The weight is 0.
    #[error("a tenant's weight is at least 1")]
    Weight,
    /// No random bytes.
    #[error("the system gives no random bytes")]
    Random,
    /// See there.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// All tenants and keys. Cheap to clone.
#[derive(Clone)]
pub struct Tenants {
    store: Arc<dyn Store>,
    snapshot: Arc<ArcSwap<Snapshot>>,
}

struct Snapshot {
    /// Present when no key was ever created: everybody by the open door.
    everybody: Option<Arc<Caller>>,
    callers: HashMap<[u8; 32], Arc<Caller>>,
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
        Ok(Self { store, snapshot: Arc::new(ArcSwap::from_pointee(snapshot)) })
    }

    /// Reads all keys again.
    ///
    /// # Errors
    /// See [`StoreError`]; what was known stays.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        self.snapshot.store(Arc::new(Snapshot::take(&*self.store).await?));
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

    /// The owner of a key. The look-up is by hash, so its time tells nothing of any stored key; the comparison that
    /// decides takes constant time.
    #[must_use]
    pub fn caller(&self, key: &str) -> Option<Arc<Caller>> {
        if !key.starts_with(PREFIX) {
            return None;
        }
        let presented = blake3::hash(key.as_bytes());
        let snapshot = self.snapshot.load();
        let (stored, caller) = snapshot.callers.get_key_value(presented.as_bytes())?;
        (blake3::Hash::from_bytes(*stored) == presented).then(|| caller.clone())
    }

    /// A tenant, as far as somebody can call for it.
    #[must_use]
    pub fn tenant(&self, id: u32) -> Option<TenantRow> {
        let snapshot = self.snapshot.load();
        let mut callers = snapshot.callers.values().chain(&snapshot.everybody);
        callers.find(|caller| caller.tenant.id == id).map(|caller| caller.tenant.clone())
    }

    /// Makes a key. From then on the door is closed to callers without one.
    ///
    /// # Errors
    /// See [`CreateKeyError`].
    pub async fn create_key(&self, request: KeyRequest) -> Result<CreatedKey, CreateKeyError> {
        check(&request)?;
        let mut random = [0; 32];
        fill_random(&mut random)?;
        let secret = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
        let key = NewKey {
            id: format!("key_{}", Uuid::now_v7().simple()),
            hash: *blake3::hash(secret.as_bytes()).as_bytes(),
            prefix: secret.chars().take(SHOWN).collect(),
            tenant: request.tenant,
            weight: request.weight,
            concurrency: request.concurrency,
            scope: request.scope,
            created_at: jiff::Timestamp::now().as_millisecond(),
        };
        let row = self.store.put_key(key).await?;
        self.refresh().await?;
        Ok(CreatedKey { secret: Secret(secret), row })
    }

    /// All keys, revoked ones included; never the secrets.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn list(&self) -> Result<Vec<KeyRow>, StoreError> {
        self.store.keys().await
    }

    /// Revokes a key by its id or its prefix; `false` when there is none.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn revoke(&self, id: &str) -> Result<bool, StoreError> {
        let found = self.store.revoke_key(id.to_owned(), jiff::Timestamp::now().as_millisecond()).await?;
        self.refresh().await?;
        Ok(found)
    }
}

fn check(request: &KeyRequest) -> Result<(), CreateKeyError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !(1..=64).contains(&request.tenant.len()) || !request.tenant.chars().all(is_plain) {
        return Err(CreateKeyError::Name);
    }
    if request.weight == 0 {
        return Err(CreateKeyError::Weight);
    }
    Ok(())
}

/// Random bytes of the TLS provider, the only source of secrets in this process.
fn fill_random(bytes: &mut [u8]) -> Result<(), CreateKeyError> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.secure_random.fill(bytes).map_err(|_| CreateKeyError::Random)
}

impl Snapshot {
    async fn take(store: &dyn Store) -> Result<Self, StoreError> {
        let keys = store.keys().await?;
        let everybody = if keys.is_empty() { Some(everybody(store).await?) } else { None };
        let alive = keys.into_iter().filter(|key| key.revoked_at.is_none());
        let callers = alive
            .map(|key| {
                let caller = Caller { tenant: key.tenant, scope: key.scope, key_id: Some(key.id) };
                (key.hash, Arc::new(caller))
            })
            .collect();
        Ok(Self { everybody, callers })
    }
}

async fn everybody(store: &dyn Store) -> Result<Arc<Caller>, StoreError> {
    let tenants = store.tenants().await?;
    let tenant = tenants
        .into_iter()
        .find(|tenant| tenant.name == DEFAULT_TENANT)
        .ok_or_else(|| StoreError::Damaged("the default tenant is missing".into()))?;
    Ok(Arc::new(Caller { tenant, scope: Scope::Admin, key_id: None }))
}
