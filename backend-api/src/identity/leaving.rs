//! A person's leaving and the copy of what is known of them (PIPL 45, 47). Every part that holds something of people
//! registers as [`Erasable`].

use std::fmt;

use futures_util::future::BoxFuture;
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value, json};
use tracing::info;

use super::error::{IdentityError, LeaveError};
use super::{Identity, Inner};
use crate::clock::now;
use crate::db::{self, Transaction, erase_profile_in, erase_sessions_in, erase_user_in};
use crate::domain::UserId;

/// A part that holds something of people.
pub trait Erasable: Send + Sync + fmt::Debug {
    /// Its name in the copy that people get, such as `orders`.
    fn name(&self) -> &'static str;

    /// Everything it holds of a person that is about them, for them to read; bounded in size.
    fn export(&self, user: UserId) -> BoxFuture<'_, Result<Value, db::Error>>;

    /// Erases what is personal, in the transaction in which the person leaves. What the law wants kept stays under the
    /// person's id, which names nobody any more. What lies outside the database is noted here and removed later.
    fn erase<'a>(
        &'a self,
        user: UserId,
        transaction: &'a Transaction,
    ) -> BoxFuture<'a, Result<(), LeaveError>>;
}

impl Identity {
    /// Erases a person: everything or nothing. Whoever is gone already stays gone, so a repeat is harmless.
    ///
    /// # Errors
    /// See [`LeaveError`].
    pub async fn leave(&self, user: UserId) -> Result<(), LeaveError> {
        let accounts = self.inner.database.retry(|| self.inner.database.accounts_of(user)).await?;
        self.inner.database.retry(|| self.erase(user)).await?;
        for row in accounts {
            self.inner.seen.invalidate(&row.account);
        }
        // Rare enough to look at every remembered one.
        let bearers = self.inner.bearers.iter().filter(|(_, bearer)| bearer.user.id == user);
        for (login, _) in bearers.collect::<Vec<_>>() {
            self.inner.bearers.invalidate(&*login);
        }
        info!(%user, "person has left");
        Ok(())
    }

    async fn erase(&self, user: UserId) -> Result<(), LeaveError> {
        let Inner { database, parts, .. } = &*self.inner;
        let transaction = database.begin().await?;
        if !erase_user_in(&transaction, user, now()).await? {
            return Ok(()); // by another request, or by our own first try, whose answer was lost
        }
        erase_profile_in(&transaction, user).await?;
        erase_sessions_in(&transaction, user).await?;
        for part in parts {
            part.erase(user, &transaction).await?;
        }
        Ok(database.commit(transaction).await?)
    }

    /// A copy of everything that is known of a person.
    ///
    /// # Errors
    /// See [`IdentityError`].
    pub async fn export(&self, user: UserId) -> Result<Value, IdentityError> {
        let Inner { database, parts, .. } = &*self.inner;
        let person = self.user(user).await?.ok_or(IdentityError::Unknown)?;
        let profile = self.profile(user).await?;
        let accounts = database.retry(|| database.accounts_of(user)).await?;
        let logins = database.retry(|| database.sessions_of(user)).await?;
        let shown = |secret: &Option<secrecy::SecretString>| {
            secret.as_ref().map(|secret| secret.expose_secret().to_owned())
        };
        let accounts: Vec<Value> = accounts
            .into_iter()
            .map(|row| {
                json!({
                    "appid": row.account.appid,
                    "openid": row.account.openid.as_str(),
                    "unionid": row.unionid,
                    "created_at": row.created_at,
                })
            })
            .collect();
        let mut copy = Map::new();
        copy.insert(
            "user".to_owned(),
            json!({"id": person.id, "role": person.role, "created_at": person.created_at}),
        );
        copy.insert("wechat_accounts".to_owned(), accounts.into());
        copy.insert(
            "profile".to_owned(),
            json!({
                "phone": shown(&profile.phone),
                "name": shown(&profile.name),
                "picture_url": shown(&profile.picture_url),
            }),
        );
        copy.insert("logins".to_owned(), json!(logins));
        for part in parts {
            let held = database.retry(|| part.export(user)).await?;
            copy.insert(part.name().to_owned(), held);
        }
        Ok(copy.into())
    }
}
