//! Who somebody is: logins, tokens, what people told about themselves, and their leaving.
//!
//! - A login exchanges WeChat's code for two tokens of ours: a short one for requests, a long one that is worth one
//!   renewal. The session key stays here, sealed.
//! - A token is good as long as its login and its person are; that is looked up, and remembered for
//!   [`Options::recheck_after`].
//! - When a person leaves, what is personal goes; what has to stay (the ledger) names an id that tells nothing.

mod access;
mod bridge;
mod error;
mod keys;
mod leaving;
mod login;
mod profile;
mod refresh;
mod seal;
mod signed;
mod tokens;
mod wechat;

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use moka::sync::Cache;
use secrecy::SecretString;
use uuid::Uuid;

pub use bridge::{BridgedPerson, SessionPaid};
pub use error::{IdentityError, LeaveError, NotNow};
pub use leaving::Erasable;
pub use login::WechatSession;
pub use profile::{Profile, masked};
pub use signed::{Partner, SignatureError, SignedRequest, sign_request};
pub use tokens::{Bearer, LoggedIn};
pub use wechat::ExchangeError;

use crate::db::Database;
use crate::domain::{User, UserId, WechatAccount};
use crate::wechat::Platform;
use access::AccessTokens;
use keys::Secrets;
use refresh::RefreshTokens;
use seal::Sealer;

/// Bounds and secrets of identity.
#[derive(Debug, Clone)]
pub struct Options {
    /// Signs tokens and seals personal data; without it nobody can log in.
    pub secret: Option<SecretString>,
    /// The one before it: what it made is still recognised.
    pub previous_secret: Option<SecretString>,
    /// How long an access token is good.
    pub access_lifetime: Duration,
    /// How long a refresh token is good.
    pub refresh_lifetime: Duration,
    /// A refresh token may come again within this of its use: its answer may have been lost.
    pub refresh_grace: Duration,
    /// Whether a login and a person still stand is looked up again after this.
    pub recheck_after: Duration,
    /// Callers that are remembered at most.
    pub max_remembered: u64,
    /// Whether `X-WX-*` headers tell who calls. Only where nobody but WeChat can call (FACTS 2.2).
    pub trust_wx_headers: bool,
}

/// The key by which generation names people towards the gateway and files in the bucket; `None` without a secret.
pub fn pictures_key(options: &Options) -> Option<[u8; 32]> {
    let secrets = Secrets { current: options.secret.clone()?, previous: None };
    secrets.keys(keys::Purpose::Pictures).first().map(|key| key.bytes)
}

/// Everything about who somebody is. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Identity {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    database: Database,
    wechat: Option<Platform>,
    appid: Option<String>,
    access: AccessTokens,
    refresh: RefreshTokens,
    sealer: Sealer,
    refresh_lifetime: Duration,
    refresh_grace: Duration,
    bearers: Cache<Uuid, Bearer>,
    seen: Cache<WechatAccount, User>,
    parts: Vec<Arc<dyn Erasable>>,
    tidied_at: AtomicI64,
}

/// What identity works with.
#[derive(Debug)]
pub struct Services {
    /// Where people are kept.
    pub database: Database,
    /// WeChat; without it nobody can log in by it.
    pub wechat: Option<Platform>,
    /// Our mini program.
    pub appid: Option<String>,
    /// The other parts that hold something of people, asked in this order when one leaves.
    pub parts: Vec<Arc<dyn Erasable>>,
}

impl Identity {
    /// `None` without a secret.
    pub fn new(options: &Options, services: Services) -> Option<Self> {
        let secrets = Secrets { current: options.secret.clone()?, previous: options.previous_secret.clone() };
        Some(Self {
            inner: Arc::new(Inner {
                database: services.database,
                wechat: services.wechat,
                appid: services.appid,
                access: AccessTokens::new(&secrets, options.access_lifetime),
                refresh: RefreshTokens::new(&secrets),
                sealer: Sealer::new(&secrets),
                refresh_lifetime: options.refresh_lifetime,
                refresh_grace: options.refresh_grace,
                bearers: cache(options),
                seen: cache(options),
                parts: services.parts,
                tidied_at: AtomicI64::new(0),
            }),
        })
    }

    /// The person, as they are now.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn user(&self, id: UserId) -> Result<Option<User>, crate::db::Error> {
        self.inner.database.retry(|| self.inner.database.find_user(id)).await
    }
}

fn cache<K, V>(options: &Options) -> Cache<K, V>
where
    K: std::hash::Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    Cache::builder().max_capacity(options.max_remembered).time_to_live(options.recheck_after).build()
}
