//! Events on their way out: signed webhooks from the store's outbox.
//!
//! The store is the queue: an event's delivery is written with the change it tells of, and what is sent is noted
//! afterwards. So nothing is lost by a crash, an event may arrive twice, and both times it has the same id.

mod attempt;
mod deliverer;
mod lane;
pub mod settings;
pub mod signature;

use futures_util::future::BoxFuture;

pub use deliverer::{Deliverer, Parts};
pub use settings::{TenantWebhook, WebhookError, receiver};
pub use signature::SigningKey;

/// The keys of a tenant, all of which sign.
pub type KeysOf = dyn Fn(u32) -> Vec<SigningKey> + Send + Sync;

use crate::store::{Event, StoreError};

/// Renders events as receivers get them.
pub trait Bodies: Send + Sync {
    /// The JSON text of an event, with its job as it is now.
    fn body<'a>(&'a self, event: &'a Event) -> BoxFuture<'a, Result<String, StoreError>>;
}
