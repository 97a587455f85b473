//! Changes of tenants and keys, each with its line of the audit log.

use rusqlite::{Connection, params};
use serde_json::{Value, json};

use super::audit::{self, Line};
use super::error::StoreFault;
use super::{codec, tenants};
use crate::store::{
    KeyRow, NewKey, PeopleAnswer, PeopleChange, PeopleOrder, Result, StoreError, TenantDraft, TenantRow,
    TenantSettings,
};

/// Carries out a change.
pub(super) fn change(connection: &Connection, change: PeopleChange) -> Result<PeopleAnswer> {
    let book = Book { connection, by: &change.by, at: change.at };
    match change.order {
        PeopleOrder::AddTenant(draft) => book.add_tenant(&draft),
        PeopleOrder::ChangeTenant(draft) => book.change_tenant(&draft),
        PeopleOrder::SetFromFile(drafts) => book.set_from_file(&drafts),
        PeopleOrder::RetireTenant { name } => book.retire_tenant(&name),
        PeopleOrder::AddKey(key) => book.add_key(&key),
        PeopleOrder::RotateKey { id, new, old_until } => book.rotate_key(&id, *new, old_until),
        PeopleOrder::RevokeKey { id } => book.revoke_key(&id),
        PeopleOrder::NoteDeletion { tenant, user, counts: (jobs, assets) } => {
            let after = json!({"user_hash": user, "jobs": jobs, "assets": assets});
            book.log("data.deleted", &tenant, None, Some(after))?;
            Ok(PeopleAnswer::Done)
        }
    }
}

/// One change: where it is written, by whom and when.
struct Book<'a> {
    connection: &'a Connection,
    by: &'a str,
    at: i64,
}

impl Book<'_> {
    fn log(
        &self,
        action: &'static str,
        subject: &str,
        before: Option<Value>,
        after: Option<Value>,
    ) -> Result<()> {
        let line = Line { at: self.at, by: self.by, action, subject, before, after };
        audit::write(self.connection, &line)
    }

    fn tenant(&self, name: &str) -> Result<TenantRow> {
        tenants::by_name(self.connection, name)?
            .ok_or_else(|| StoreError::Damaged(format!("tenant {name} is not there after its write")))
    }

    fn key(&self, id: &str) -> Result<KeyRow> {
        tenants::key_by_id(self.connection, id)?
            .ok_or_else(|| StoreError::Damaged(format!("key {id} is not there after its write")))
    }

    fn add_tenant(&self, draft: &TenantDraft) -> Result<PeopleAnswer> {
        match tenants::by_name(self.connection, &draft.name)? {
            Some(there) if there.retired_at.is_none() => Ok(PeopleAnswer::Exists),
            before => self.put(draft, false, before, "tenant.added").map(PeopleAnswer::Tenant),
        }
    }

    fn change_tenant(&self, draft: &TenantDraft) -> Result<PeopleAnswer> {
        match tenants::by_name(self.connection, &draft.name)? {
            None => Ok(PeopleAnswer::NotFound),
            Some(there) if there.retired_at.is_some() => Ok(PeopleAnswer::NotFound),
            Some(there) if there.in_file => Ok(PeopleAnswer::InFile),
            before => self.put(draft, false, before, "tenant.changed").map(PeopleAnswer::Tenant),
        }
    }

    fn set_from_file(&self, drafts: &[TenantDraft]) -> Result<PeopleAnswer> {
        for there in tenants::tenants(self.connection)? {
            if there.in_file && !drafts.iter().any(|draft| draft.name == there.name) {
                let draft = TenantDraft {
                    name: there.name.clone(),
                    weight: there.weight,
                    concurrency: there.concurrency,
                    settings: TenantSettings::clone(&there.settings),
                };
                self.put(&draft, false, Some(there), "tenant.changed")?;
            }
        }
        for draft in drafts {
            let before = tenants::by_name(self.connection, &draft.name)?;
            let same = before.as_ref().is_some_and(|there| {
                there.in_file
                    && there.retired_at.is_none()
                    && (there.weight, there.concurrency) == (draft.weight, draft.concurrency)
                    && *there.settings == draft.settings
            });
            if !same {
                let action = if before.is_some() { "tenant.changed" } else { "tenant.added" };
                self.put(draft, true, before, action)?;
            }
        }
        Ok(PeopleAnswer::Done)
    }

    fn put(
        &self,
        draft: &TenantDraft,
        in_file: bool,
        before: Option<TenantRow>,
        action: &'static str,
    ) -> Result<TenantRow> {
        let settings = (draft.settings != TenantSettings::default()).then(|| codec::json(&draft.settings));
        self.connection
            .execute(
                "INSERT INTO tenants (name, weight, concurrency, settings, in_file) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (name) DO UPDATE SET weight = excluded.weight, concurrency = excluded.concurrency,
                    settings = excluded.settings, in_file = excluded.in_file, retired_at = NULL",
                params![draft.name, draft.weight, draft.concurrency, settings.transpose()?, in_file],
            )
            .or_fault()?;
        let after = self.tenant(&draft.name)?;
        self.log(action, &draft.name, before.as_ref().map(audit::of_tenant), Some(audit::of_tenant(&after)))?;
        Ok(after)
    }

    fn retire_tenant(&self, name: &str) -> Result<PeopleAnswer> {
        let Some(before) = tenants::by_name(self.connection, name)?.filter(|it| it.retired_at.is_none())
        else {
            return Ok(PeopleAnswer::NotFound);
        };
        if before.in_file {
            return Ok(PeopleAnswer::InFile);
        }
        for key in tenants::keys(self.connection)? {
            if key.tenant.id == before.id && key.revoked_at.is_none() {
                self.revoke(&key)?;
            }
        }
        self.connection
            .execute("UPDATE tenants SET retired_at = ?2 WHERE id = ?1", params![before.id, self.at])
            .or_fault()?;
        let after = self.tenant(name)?;
        self.log("tenant.removed", name, Some(audit::of_tenant(&before)), Some(audit::of_tenant(&after)))?;
        Ok(PeopleAnswer::Done)
    }

    fn add_key(&self, key: &NewKey) -> Result<PeopleAnswer> {
        match tenants::by_name(self.connection, &key.tenant)? {
            Some(tenant) if tenant.retired_at.is_some() => return Ok(PeopleAnswer::Retired),
            Some(_) => {}
            None => {
                let draft = TenantDraft {
                    name: key.tenant.clone(),
                    weight: key.weight,
                    concurrency: key.concurrency,
                    settings: TenantSettings::default(),
                };
                self.put(&draft, false, None, "tenant.added")?;
            }
        }
        let written = self.write_key(key)?;
        self.log("key.added", &written.id, None, Some(audit::of_key(&written)))?;
        Ok(PeopleAnswer::Key(Box::new(written)))
    }

    fn write_key(&self, key: &NewKey) -> Result<KeyRow> {
        let networks = (!key.networks.is_empty()).then(|| codec::json(&key.networks)).transpose()?;
        self.connection
            .execute(
                "INSERT INTO keys (id, hash, prefix, tenant, scope, networks, created_at, expires_at)
                 VALUES (?1, ?2, ?3, (SELECT id FROM tenants WHERE name = ?4), ?5, ?6, ?7, ?8)",
                params![
                    key.id,
                    key.hash,
                    key.prefix,
                    key.tenant,
                    codec::word(key.scope)?,
                    networks,
                    key.created_at,
                    key.expires_at
                ],
            )
            .or_fault()?;
        self.key(&key.id)
    }

    fn rotate_key(&self, id: &str, mut new: NewKey, old_until: i64) -> Result<PeopleAnswer> {
        let Some(old) = tenants::active_key(self.connection, id)? else { return Ok(PeopleAnswer::NotFound) };
        if old.expires_at.is_some_and(|at| at <= self.at) {
            return Ok(PeopleAnswer::NotFound);
        }
        new.tenant.clone_from(&old.tenant.name);
        new.scope = old.scope;
        new.networks.clone_from(&old.networks);
        new.expires_at = old.expires_at;
        let written = self.write_key(&new)?;
        self.connection
            .execute(
                "UPDATE keys SET expires_at = min(coalesce(expires_at, ?2), ?2) WHERE id = ?1",
                params![old.id, old_until],
            )
            .or_fault()?;
        let replaced = self.key(&old.id)?;
        let before = json!({"id": old.id, "key": audit::of_key(&old)});
        let after =
            json!({"id": written.id, "key": audit::of_key(&written), "old_until": replaced.expires_at});
        self.log("key.rotated", &old.id, Some(before), Some(after))?;
        Ok(PeopleAnswer::Key(Box::new(written)))
    }

    /// A key revoked before stays as it is, and that is success: the command may be repeated.
    fn revoke_key(&self, id: &str) -> Result<PeopleAnswer> {
        if let Some(key) = tenants::active_key(self.connection, id)? {
            self.revoke(&key)?;
            return Ok(PeopleAnswer::Done);
        }
        let was = self
            .connection
            .prepare_cached("SELECT 1 FROM keys WHERE id = ?1 OR prefix = ?1")
            .and_then(|mut select| select.exists([id]))
            .or_fault()?;
        Ok(if was { PeopleAnswer::Done } else { PeopleAnswer::NotFound })
    }

    fn revoke(&self, key: &KeyRow) -> Result<()> {
        self.connection
            .execute("UPDATE keys SET revoked_at = ?2 WHERE id = ?1", params![key.id, self.at])
            .or_fault()?;
        let after = self.key(&key.id)?;
        self.log("key.revoked", &key.id, Some(audit::of_key(key)), Some(audit::of_key(&after)))
    }
}
