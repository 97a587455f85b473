//! Pictures: what a person asks for, from the check of its words over the credits and the gateway's job to the check of
//! what was made, and what they do with it then.
//!
//! What holds here:
//! - An artwork and its held credits are recorded in one transaction before the gateway hears of it; its idempotency key
//!   derives from its id, so a lost reply or a crash never makes two jobs of one artwork.
//! - Its end and the end of the hold are one transaction, and only the job's success settles. Webhooks, the feed of
//!   events and looks at the job lead to the same step; whichever comes first takes it, the others find it taken.
//! - Nobody sees a picture before its check has passed or a person has approved it.
//! - A photo that a person gave is named by nobody else, and only once its check has passed.
//! - The gateway gets a name of the person that says nothing about them, and what they wrote for the template.
//! - Whatever was begun has a row with the time of its next look; [`Chores`] finds it after any crash.

mod catalog;
mod check;
mod chores;
mod create;
mod deeds;
mod error;
mod follow;
mod leaving;
mod live;
mod metrics;
mod names;
mod photos;
mod read;
mod removal;
mod settings;
mod signed;
mod told;

use std::fmt;
use std::sync::Arc;

pub use catalog::Offered;
pub use chores::{Chores, Done};
pub use create::Wish;
pub use deeds::Review;
pub use error::{CreateError, DeedError, GatewayDown, PhotoError};
pub use leaving::Photos;
pub use live::{AdmitError, Live, LiveOptions, Watch};
pub use metrics::Metrics;
pub use read::Seen;
pub use settings::{MessageOptions, Offer, Options, PhotoOptions};
pub use signed::{GatewayKeys, GatewaySignatureError};

use crate::db::Database;
use crate::gateway_client::GatewayClient;
use crate::wechat::Platform;
use catalog::Catalog;
use names::Names;

/// Everybody's artworks. Cheap to clone.
#[derive(Clone)]
pub struct Generation {
    inner: Arc<Inner>,
}

struct Inner {
    database: Database,
    gateway: GatewayClient,
    wechat: Option<Platform>,
    appid: Option<String>,
    names: Names,
    catalog: Catalog,
    metrics: Metrics,
    options: Options,
}

/// What generation works with.
pub struct Services {
    /// Where artworks are kept.
    pub database: Database,
    /// Who makes them.
    pub gateway: GatewayClient,
    /// Who checks, stores and tells; without it nothing is checked, and files stay at the gateway.
    pub wechat: Option<Platform>,
    /// Our mini program.
    pub appid: Option<String>,
    /// Names people and files towards others.
    pub key: [u8; 32],
    /// What is counted.
    pub metrics: Metrics,
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Generation")
    }
}

impl Generation {
    /// Artworks by what `options` offer.
    pub fn new(options: Options, services: Services) -> Self {
        let Services { database, gateway, wechat, appid, key, metrics } = services;
        let (names, catalog) = (Names::new(key), Catalog::new(options.catalog_for));
        Self { inner: Arc::new(Inner { database, gateway, wechat, appid, names, catalog, metrics, options }) }
    }

    /// Checks what the gateway says it sent.
    pub fn gateway_keys(&self) -> &GatewayKeys {
        &self.inner.options.keys
    }
}
