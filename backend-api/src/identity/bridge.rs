//! The bridge for a user system that exists already: it vouches for people by signed requests and tells of payments.

use super::profile::Profile;
use super::tokens::LoggedIn;
use super::{Identity, IdentityError};
use crate::clock::now;
use crate::db::{self, PaymentNoted};
use crate::domain::{OpenId, WechatAccount};

/// A person whom the user system vouches for.
#[derive(Debug, Clone)]
pub struct BridgedPerson {
    /// Their openid towards our mini program: the same person logs in by it.
    pub openid: OpenId,
    /// What it tells about them.
    pub profile: Profile,
}

/// The word that a session was paid.
#[derive(Debug, Clone, Copy)]
pub struct SessionPaid<'a> {
    /// The session, in the user system's words.
    pub session: &'a str,
    /// The payment, in its words.
    pub payment: &'a str,
}

impl Identity {
    /// Notes a signed request; false when it was seen before.
    ///
    /// # Errors
    /// When the database fails; the request then does not count.
    pub async fn note_signed(&self, noted: [u8; 32]) -> Result<bool, db::Error> {
        // Not repeated when its answer is lost: a repeat would find its own first try.
        self.inner.database.note_nonce(noted, now()).await
    }

    /// Begins a login of a person whom the user system vouches for; one who is new gets an id.
    ///
    /// # Errors
    /// See [`IdentityError`].
    pub async fn bridge(&self, person: BridgedPerson) -> Result<LoggedIn, IdentityError> {
        let account = WechatAccount { appid: self.appid()?.to_owned(), openid: person.openid };
        let user = self.person_of(&account, None).await?;
        self.tell(user.id, person.profile).await?;
        self.begin(user).await
    }

    /// Stores that a session was paid, once.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_payment(&self, paid: SessionPaid<'_>) -> Result<PaymentNoted, db::Error> {
        let database = &self.inner.database;
        database.retry(|| database.note_bridge_payment(paid.session, paid.payment, now())).await
    }
}
