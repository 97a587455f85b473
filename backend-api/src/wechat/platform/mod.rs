//! `api.weixin.qq.com`: one client for everything but payments.
//!
//! Outside WeChat's container a call goes over HTTPS with an access token, which is cached, fetched once for all who
//! wait, and renewed once when a call says that it no longer counts. Inside, with the open interface service switched
//! on, the platform itself adds the identity: plain HTTP, no token (FACTS 2.4). Login and the token itself always go
//! over HTTPS with the app's secret (FACTS 1.4, 1.13).

mod call;
mod checks;
mod login;
mod messages;
mod shipping;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use secrecy::SecretString;

pub use checks::{CheckError, MAX_TEXT_CHARACTERS, Scene, Suggestion, TraceId, Verdict};
pub use login::{LoginError, PhoneError, PhoneNumber, Session};
pub use messages::{Audience, Message, MessageError};
pub use shipping::{Logistics, OrderKey, Shipping, ShippingError};

pub(super) use call::Call;

use super::storage;
use super::transport::{Bounds, BuildError, Transport};
use tokens::Tokens;

/// Which mini program, and where the platform is.
#[derive(Debug, Clone)]
pub struct Options {
    /// The mini program's app id.
    pub app_id: String,
    /// Its secret.
    pub secret: SecretString,
    /// `https://api.weixin.qq.com`.
    pub api_base: Url,
    /// `http://api.weixin.qq.com`, only inside the container with the open interface service on.
    pub container_base: Option<Url>,
    /// Where files of the mini program lie; without it the storage calls answer that they are not set up.
    pub storage: Option<storage::Place>,
    /// Bounds of every exchange.
    pub bounds: Bounds,
    /// Before a login that met a busy platform is tried its second and last time.
    pub retry_pause: Duration,
}

impl Options {
    /// Everything but the app at its default.
    pub fn new(app_id: impl Into<String>, secret: SecretString) -> Self {
        Self {
            app_id: app_id.into(),
            secret,
            api_base: default_base(),
            container_base: None,
            storage: None,
            bounds: Bounds::default(),
            retry_pause: Duration::from_millis(500),
        }
    }
}

fn default_base() -> Url {
    Url::parse("https://api.weixin.qq.com").expect("a constant that every test of this module parses")
}

/// Speaks to the platform. Cheap to clone; clones share connections and the token.
#[derive(Debug, Clone)]
pub struct Platform {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) options: Options,
    pub(super) transport: Transport,
    tokens: Tokens,
    pub(super) bucket_keys: storage::KeyCache,
}

impl Platform {
    /// Prepares a client; connects to nothing yet.
    ///
    /// # Errors
    /// When no TLS roots are found for an `https` base.
    pub fn new(options: Options) -> Result<Self, BuildError> {
        let bases: Vec<&Url> = std::iter::once(&options.api_base)
            .chain(&options.container_base)
            .chain(options.storage.iter().filter_map(|place| place.endpoint.as_ref()))
            .collect();
        let transport = Transport::new(options.bounds, &bases)?;
        Ok(Self {
            inner: Arc::new(Inner {
                options,
                transport,
                tokens: Tokens::default(),
                bucket_keys: storage::KeyCache::default(),
            }),
        })
    }

    /// The mini program's app id.
    pub fn app_id(&self) -> &str {
        &self.inner.options.app_id
    }

    /// Whether calls go through the container's side-car.
    pub fn is_inside_container(&self) -> bool {
        self.inner.options.container_base.is_some()
    }

    pub(super) fn inner(&self) -> &Inner {
        &self.inner
    }
}
