//! Tokens: given at a login, renewed, looked up, ended.

use std::sync::atomic::Ordering;
use std::time::Duration;

use secrecy::SecretString;
use tracing::warn;
use uuid::Uuid;

use super::access::Claims;
use super::refresh::{Fate, Named, fate};
use super::{Identity, IdentityError, Inner};
use crate::clock::now;
use crate::db::{self, Revoked, SessionRow};
use crate::domain::{Millis, User};
use crate::error_chain::chain;

/// Concurrent renewals of one login are settled after this many looks at most: each loser finds the winner's row.
const LOOKS_MAX: usize = 3;

/// Old logins are forgotten at most this often.
const TIDY_PAUSE_MILLIS: Millis = 10 * 60 * 1_000;

/// A login with its tokens.
#[derive(Debug, Clone)]
pub struct LoggedIn {
    /// Who it is.
    pub user: User,
    /// For requests, as a bearer token.
    pub access_token: SecretString,
    /// How long that one is good.
    pub expires_in: Duration,
    /// For one renewal.
    pub refresh_token: SecretString,
}

/// Whom a good access token names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    /// Who it is.
    pub user: User,
    /// Of which login.
    pub login: Uuid,
}

impl Identity {
    /// Begins a login of a person.
    pub(super) async fn begin(&self, user: User) -> Result<LoggedIn, IdentityError> {
        let at = now();
        let row = SessionRow {
            id: Uuid::new_v4(),
            user: user.id,
            generation: 0,
            created_at: at,
            rotated_at: at,
            expires_at: self.refresh_end(at),
            revoked_at: None,
        };
        let database = &self.inner.database;
        database.retry(|| database.insert_session(&row)).await?;
        self.tidy_now_and_then().await;
        Ok(self.tokens(user, row.id, row.generation))
    }

    /// Renews a login: the refresh token is used up and gives new tokens.
    ///
    /// # Errors
    /// [`IdentityError::NotGood`], [`IdentityError::Reused`], or when the database fails.
    pub async fn refresh(&self, token: &str) -> Result<LoggedIn, IdentityError> {
        let named = self.inner.refresh.read(token).ok_or(IdentityError::NotGood)?;
        self.inner.database.retry(|| self.renew(named)).await
    }

    async fn renew(&self, named: Named) -> Result<LoggedIn, IdentityError> {
        let Inner { database, refresh_grace, .. } = &*self.inner;
        for _ in 0..LOOKS_MAX {
            let row = database.find_session(named.login).await?.ok_or(IdentityError::NotGood)?;
            let user = database.find_user(row.user).await?.ok_or(IdentityError::NotGood)?;
            let at = now();
            match fate(&row, named.generation, at, *refresh_grace) {
                Fate::Rotate => {
                    let end = self.refresh_end(at);
                    if database.rotate_session(row.id, row.generation, at, end).await? {
                        return Ok(self.tokens(user, row.id, row.generation + 1));
                    }
                }
                Fate::Repeat => return Ok(self.tokens(user, row.id, row.generation)),
                Fate::Reused => {
                    warn!(user = %row.user, "refresh token was used twice, so its login is ended");
                    database.revoke_session(row.id, Revoked::Reuse, at).await?;
                    self.inner.bearers.invalidate(&row.id);
                    return Err(IdentityError::Reused);
                }
                Fate::Ended => return Err(IdentityError::NotGood),
            }
        }
        Err(IdentityError::NotGood)
    }

    /// Whom an access token names, if its login and its person still stand.
    ///
    /// # Errors
    /// [`IdentityError::NotGood`], or when the database fails.
    pub async fn bearer(&self, token: &str) -> Result<Bearer, IdentityError> {
        let claims = self.inner.access.read(token).ok_or(IdentityError::NotGood)?;
        if let Some(bearer) = self.inner.bearers.get(&claims.login) {
            return Ok(bearer);
        }
        let bearer = self.inner.database.retry(|| self.look_up(claims)).await?;
        self.inner.bearers.insert(claims.login, bearer.clone());
        Ok(bearer)
    }

    async fn look_up(&self, claims: Claims) -> Result<Bearer, IdentityError> {
        let database = &self.inner.database;
        let row = database.find_session(claims.login).await?.ok_or(IdentityError::NotGood)?;
        if row.revoked_at.is_some() || row.user != claims.user {
            return Err(IdentityError::NotGood);
        }
        let user = database.find_user(claims.user).await?.ok_or(IdentityError::NotGood)?;
        Ok(Bearer { user, login: claims.login })
    }

    /// Ends a login; other replicas notice within [`super::Options::recheck_after`].
    ///
    /// # Errors
    /// When the database fails.
    pub async fn logout(&self, login: Uuid) -> Result<(), db::Error> {
        let database = &self.inner.database;
        database.retry(|| database.revoke_session(login, Revoked::Logout, now())).await?;
        self.inner.bearers.invalidate(&login);
        Ok(())
    }

    /// Logins pay for the forgetting of old ones: where nothing runs between requests, nothing else could.
    async fn tidy_now_and_then(&self) {
        let (at, last) = (now(), self.inner.tidied_at.load(Ordering::Relaxed));
        let is_mine = at - last >= TIDY_PAUSE_MILLIS
            && self.inner.tidied_at.compare_exchange(last, at, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if is_mine && let Err(error) = self.tidy().await {
            warn!(error = %chain(&error), "old logins could not be forgotten");
        }
    }

    /// Forgets logins and signed requests whose time is over. Argument-free and repeatable.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tidy(&self) -> Result<u64, db::Error> {
        let database = &self.inner.database;
        let logins = database.retry(|| database.forget_sessions(now())).await?;
        let before = now() - 2 * super::signed::WINDOW_MILLIS;
        let nonces = database.retry(|| database.forget_nonces(before)).await?;
        Ok(logins + nonces)
    }

    fn tokens(&self, user: User, login: Uuid, generation: i64) -> LoggedIn {
        let claims = Claims { user: user.id, login };
        LoggedIn {
            user,
            access_token: self.inner.access.issue(claims, now()),
            expires_in: self.inner.access.lifetime(),
            refresh_token: self.inner.refresh.issue(Named { login, generation }),
        }
    }

    fn refresh_end(&self, at: Millis) -> Millis {
        at.saturating_add(i64::try_from(self.inner.refresh_lifetime.as_millis()).unwrap_or(i64::MAX))
    }
}
