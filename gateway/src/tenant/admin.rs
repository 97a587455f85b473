//! Changes of tenants and keys at run time: checked, written with a line of the audit log, and in force at once here.
//! Other processes on the same store follow within seconds.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use super::{CreatedKey, DEFAULT_TENANT, KeyRequest, PREFIX, Tenants, draft, now};
use crate::link::message::Secret;
use crate::network::Network;
use crate::store::{
    NewKey, PeopleAnswer, PeopleChange, PeopleOrder, Scope, StoreError, TenantDraft, TenantRow,
};

/// Characters of a key that are kept to recognise it by.
const SHOWN: usize = PREFIX.len() + 6;
/// Longest time that a rotated key may go on.
const MAX_OVERLAP: Duration = Duration::from_secs(30 * 24 * 3600);

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// A value cannot be used; says which and why.
    #[error("{0}")]
    Invalid(String),
    /// There is no such tenant or active key.
    #[error("there is no such tenant or active key")]
    NotFound,
    /// There is a tenant of that name.
    #[error("there is a tenant of that name")]
    Exists,
    /// The configuration file says what this tenant is.
    #[error("the tenant is defined in the configuration file: change it there")]
    InFile,
    /// The tenant was removed.
    #[error("the tenant was removed")]
    Retired,
    /// It is everybody's own tenant.
    #[error("the default tenant stays")]
    Default,
    /// No random bytes.
    #[error("the system gives no random bytes")]
    Random,
    /// See there.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a new key shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyDraft {
    /// Whose; the tenant must be there.
    pub tenant: String,
    /// What it may do.
    pub scope: Scope,
    /// From where; empty: from anywhere.
    pub networks: Vec<Network>,
    /// When it stops working, milliseconds since the epoch.
    pub expires_at: Option<i64>,
}

/// Somebody who changes tenants and keys.
#[derive(Debug, Clone)]
pub struct Admin {
    tenants: Tenants,
    by: String,
}

impl Admin {
    pub(super) fn new(tenants: Tenants, by: String) -> Self {
        Self { tenants, by }
    }

    /// Makes a tenant, or brings back one that was removed.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub async fn add_tenant(&self, draft: TenantDraft) -> Result<TenantRow, AdminError> {
        draft::check_draft(&draft).map_err(AdminError::Invalid)?;
        tenant(self.order(PeopleOrder::AddTenant(draft)).await?)
    }

    /// Gives a tenant other values: `change` makes the new ones of the present ones.
    ///
    /// # Errors
    /// See [`AdminError`], and whatever `change` says.
    pub async fn change_tenant<E: From<AdminError>>(
        &self,
        name: &str,
        change: impl FnOnce(&TenantRow) -> Result<TenantDraft, E>,
    ) -> Result<TenantRow, E> {
        let _changing = self.tenants.changing.lock().await;
        let all = self.tenants.tenants().await.map_err(|error| E::from(error.into()))?;
        let present = all.into_iter().find(|tenant| tenant.name == name && tenant.retired_at.is_none());
        let draft = change(&present.ok_or(AdminError::NotFound)?)?;
        draft::check_draft(&draft).map_err(AdminError::Invalid)?;
        Ok(tenant(self.order(PeopleOrder::ChangeTenant(draft)).await?)?)
    }

    /// Removes a tenant: its keys stop working. Its data stays until it is deleted or past its time.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub async fn retire_tenant(&self, name: &str) -> Result<(), AdminError> {
        if name == DEFAULT_TENANT {
            return Err(AdminError::Default);
        }
        self.order(PeopleOrder::RetireTenant { name: name.to_owned() }).await.map(drop)
    }

    /// Makes the store say what the configuration file says of its tenants.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub async fn set_from_file(&self, drafts: Vec<TenantDraft>) -> Result<(), AdminError> {
        for draft in &drafts {
            draft::check_draft(draft).map_err(AdminError::Invalid)?;
        }
        self.order(PeopleOrder::SetFromFile(drafts)).await.map(drop)
    }

    /// Makes a key for a tenant that is there.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub async fn add_key(&self, draft: KeyDraft) -> Result<CreatedKey, AdminError> {
        let _changing = self.tenants.changing.lock().await;
        let all = self.tenants.tenants().await?;
        if !all.iter().any(|tenant| tenant.name == draft.tenant) {
            return Err(AdminError::NotFound);
        }
        let request =
            KeyRequest { tenant: draft.tenant, scope: draft.scope, weight: 1, concurrency: u32::MAX };
        self.create_key(request, draft.expires_at, draft.networks).await
    }

    /// Makes a key, and its tenant when new.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub async fn create_key(
        &self,
        request: KeyRequest,
        expires_at: Option<i64>,
        networks: Vec<Network>,
    ) -> Result<CreatedKey, AdminError> {
        draft::check_name(&request.tenant).map_err(AdminError::Invalid)?;
        draft::check_share(request.weight, request.concurrency).map_err(AdminError::Invalid)?;
        if expires_at.is_some_and(|at| at <= now()) {
            return Err(AdminError::Invalid("a key must expire in the future".to_owned()));
        }
        let (secret, new) = mint(request, expires_at, networks)?;
        key(secret, self.order(PeopleOrder::AddKey(new)).await?)
    }

    /// Replaces a key by a new one; the old one works for `overlap` more.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub async fn rotate_key(&self, id: &str, overlap: Duration) -> Result<CreatedKey, AdminError> {
        if overlap > MAX_OVERLAP {
            return Err(AdminError::Invalid(format!(
                "a rotated key works for at most {} seconds more",
                MAX_OVERLAP.as_secs()
            )));
        }
        let same = KeyRequest { tenant: String::new(), scope: Scope::Read, weight: 1, concurrency: u32::MAX };
        let (secret, new) = mint(same, None, Vec::new())?;
        let overlap = i64::try_from(overlap.as_millis()).unwrap_or(i64::MAX);
        let old_until = now().saturating_add(overlap);
        let order = PeopleOrder::RotateKey { id: id.to_owned(), new: Box::new(new), old_until };
        key(secret, self.order(order).await?)
    }

    /// Makes a key stop working, by its id or its prefix.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub async fn revoke_key(&self, id: &str) -> Result<(), AdminError> {
        self.order(PeopleOrder::RevokeKey { id: id.to_owned() }).await.map(drop)
    }

    /// Notes in the log that data of a tenant, or of one of its people, was deleted: so many jobs and uploads.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub async fn note_deletion(
        &self,
        tenant: &str,
        user: Option<&str>,
        counts: (u64, u64),
    ) -> Result<(), AdminError> {
        let user = user.map(|user| blake3::hash(user.as_bytes()).to_hex().to_string());
        let order = PeopleOrder::NoteDeletion { tenant: tenant.to_owned(), user, counts };
        self.order(order).await.map(drop)
    }

    async fn order(&self, order: PeopleOrder) -> Result<PeopleAnswer, AdminError> {
        let change = PeopleChange { by: self.by.clone(), at: now(), order };
        let answer = self.tenants.store.change_people(change).await?;
        self.tenants.refresh().await?;
        match answer {
            PeopleAnswer::NotFound => Err(AdminError::NotFound),
            PeopleAnswer::Exists => Err(AdminError::Exists),
            PeopleAnswer::InFile => Err(AdminError::InFile),
            PeopleAnswer::Retired => Err(AdminError::Retired),
            done @ (PeopleAnswer::Done | PeopleAnswer::Tenant(_) | PeopleAnswer::Key(_)) => Ok(done),
        }
    }
}

fn tenant(answer: PeopleAnswer) -> Result<TenantRow, AdminError> {
    match answer {
        PeopleAnswer::Tenant(row) => Ok(row),
        _ => Err(odd()),
    }
}

fn key(secret: Secret, answer: PeopleAnswer) -> Result<CreatedKey, AdminError> {
    match answer {
        PeopleAnswer::Key(row) => Ok(CreatedKey { secret, row: *row }),
        _ => Err(odd()),
    }
}

fn odd() -> AdminError {
    StoreError::Damaged("a change of tenants was answered as something else".to_owned()).into()
}

/// A new secret, and what is stored of it.
fn mint(
    request: KeyRequest,
    expires_at: Option<i64>,
    networks: Vec<Network>,
) -> Result<(Secret, NewKey), AdminError> {
    let mut random = [0; 32];
    fill_random(&mut random)?;
    let secret = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
    let new = NewKey {
        id: format!("key_{}", Uuid::now_v7().simple()),
        hash: *blake3::hash(secret.as_bytes()).as_bytes(),
        prefix: secret.chars().take(SHOWN).collect(),
        tenant: request.tenant,
        weight: request.weight,
        concurrency: request.concurrency,
        scope: request.scope,
        networks,
        created_at: now(),
        expires_at,
    };
    Ok((Secret(secret), new))
}

/// Random bytes of the TLS provider, the only source of secrets in this process.
fn fill_random(bytes: &mut [u8]) -> Result<(), AdminError> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.secure_random.fill(bytes).map_err(|_| AdminError::Random)
}
