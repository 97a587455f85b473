//! What the fleet taught us.

use std::sync::Arc;

/// A fact about the fleet worth keeping.
#[derive(Debug, Clone)]
pub enum FleetFact {
    /// An instance and the catalogue it offers.
    Instance(KnownInstance),
    /// A catalogue's body.
    Catalogue {
        /// BLAKE3 of the body, lower-case hex.
        hash: String,
        /// `/object_info` as received.
        body: Arc<str>,
    },
}

/// An instance seen before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownInstance {
    /// Its row, the id the scheduler knows it by.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Its host.
    pub host: String,
    /// Its catalogue's hash.
    pub catalogue: Option<String>,
    /// The facts it reported last ([`crate::link::message::InstanceFacts`] as JSON).
    pub facts: Option<String>,
    /// Milliseconds since the epoch.
    pub seen_at: i64,
}
