//! Login by WeChat, and what a login leaves here: the session key.

use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

use super::tokens::LoggedIn;
use super::{ExchangeError, Identity, IdentityError};
use crate::clock::now;
use crate::db;
use crate::domain::{Role, User, UserId, WechatAccount};
use crate::wechat::Platform;

/// A person's newest session at WeChat, for virtual payment and messages.
#[derive(Debug, Clone)]
pub struct WechatSession {
    /// Their account.
    pub account: WechatAccount,
    /// Signs virtual payments; never leaves the server.
    pub session_key: SecretString,
}

impl Identity {
    /// Exchanges a code of `wx.login` for tokens of ours; a person who is new gets an id.
    ///
    /// # Errors
    /// See [`IdentityError`].
    pub async fn login(&self, code: &str) -> Result<LoggedIn, IdentityError> {
        let (wechat, appid) = self.wechat()?;
        let told = wechat.code2session(code).await.map_err(ExchangeError::from)?;
        let account = WechatAccount { appid: appid.to_owned(), openid: told.openid };
        let user = self.person_of(&account, told.unionid.as_deref()).await?;
        let sealed = self.inner.sealer.seal(&place_of_key(&account), told.session_key.expose_secret());
        let database = &self.inner.database;
        database
            .retry(|| database.save_wechat_session(&account, sealed.clone(), told.unionid.as_deref(), now()))
            .await?;
        self.begin(user).await
    }

    /// The person whom WeChat itself names in its headers; one who is new gets an id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn seen_through_wechat(&self, account: &WechatAccount) -> Result<User, db::Error> {
        if let Some(user) = self.inner.seen.get(account) {
            return Ok(user);
        }
        let user = self.person_of(account, None).await?;
        self.inner.seen.insert(account.clone(), user.clone());
        Ok(user)
    }

    /// The session key of a person's last login, as far as WeChat may still take it.
    ///
    /// # Errors
    /// [`IdentityError::LoginAgain`] when there is none; else see [`IdentityError`].
    pub async fn wechat_session(&self, user: UserId) -> Result<WechatSession, IdentityError> {
        let appid = self.appid()?;
        let database = &self.inner.database;
        let row = database.retry(|| database.find_account(user, appid)).await?;
        let row = row.ok_or(IdentityError::LoginAgain)?;
        let sealed = row.session_key.ok_or(IdentityError::LoginAgain)?;
        let session_key = self.inner.sealer.open(&place_of_key(&row.account), &sealed)?;
        Ok(WechatSession { account: row.account, session_key })
    }

    /// The same, asked of WeChat: only a key that it takes now.
    ///
    /// # Errors
    /// [`IdentityError::LoginAgain`] when WeChat has replaced it; else see [`IdentityError`].
    pub async fn checked_wechat_session(&self, user: UserId) -> Result<WechatSession, IdentityError> {
        let (wechat, _) = self.wechat()?;
        let session = self.wechat_session(user).await?;
        let checked = wechat.check_session(&session.account.openid, &session.session_key).await;
        if checked.map_err(ExchangeError::from)? { Ok(session) } else { Err(IdentityError::LoginAgain) }
    }

    /// A person's account towards our mini program, if they have one.
    ///
    /// # Errors
    /// See [`IdentityError`].
    pub async fn account(&self, user: UserId) -> Result<Option<WechatAccount>, IdentityError> {
        let appid = self.appid()?;
        let database = &self.inner.database;
        let row = database.retry(|| database.find_account(user, appid)).await?;
        Ok(row.map(|row| row.account))
    }

    /// The person of an account, made when there is none.
    pub(super) async fn person_of(
        &self,
        account: &WechatAccount,
        unionid: Option<&str>,
    ) -> Result<User, db::Error> {
        let database = &self.inner.database;
        if let Some(user) = database.retry(|| database.find_user_by_account(account)).await? {
            return Ok(user);
        }
        let user = User { id: UserId(Uuid::now_v7()), role: Role::User, created_at: now() };
        match database.retry(|| database.insert_user(&user, account, unionid)).await {
            Ok(()) => Ok(user),
            // Somebody else was first, or our own first try whose answer was lost.
            Err(db::Error::Duplicate(duplicate)) => {
                let found = database.retry(|| database.find_user_by_account(account)).await?;
                found.ok_or(db::Error::Duplicate(duplicate))
            }
            Err(error) => Err(error),
        }
    }

    fn wechat(&self) -> Result<(&Platform, &str), IdentityError> {
        let wechat = self.inner.wechat.as_ref().ok_or(IdentityError::NoWechat)?;
        Ok((wechat, self.appid()?))
    }

    pub(super) fn appid(&self) -> Result<&str, IdentityError> {
        self.inner.appid.as_deref().ok_or(IdentityError::NoWechat)
    }
}

fn place_of_key(account: &WechatAccount) -> String {
    format!("session key {} {}", account.appid, account.openid.as_str())
}
