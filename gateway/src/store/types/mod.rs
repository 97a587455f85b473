//! What goes into the store and comes out of it.

mod assets;
mod fleet;
mod jobs;
mod native;
mod outbox;
mod people;
mod records;
mod rows;
mod settings;
mod templates;
mod usage;

pub use assets::*;
pub use fleet::*;
pub use jobs::*;
pub use native::*;
pub use outbox::*;
pub use people::*;
pub use records::*;
pub use rows::*;
pub use settings::*;

/// An object and the store it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredObject {
    /// Which store.
    pub place: crate::delivery::Place,
    /// Its key there.
    pub key: String,
}

/// Bytes to be removed from the stores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Residue {
    /// Its row.
    pub id: i64,
    /// Which bytes.
    pub what: Left,
}

/// What is left in the stores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left {
    /// One object.
    Object(StoredObject),
    /// Whatever an attempt stored that did not win, in whatever store.
    Attempt {
        /// Its job.
        job: uuid::Uuid,
        /// Its number.
        number: u32,
    },
}
pub use templates::*;
pub use usage::*;

/// What is to be deleted of a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erase {
    /// Whose.
    pub tenant: u32,
    /// What was done for this person only; `None`: all of it.
    pub user: Option<String>,
    /// At most so many of each kind.
    pub limit: u32,
    /// Milliseconds since the epoch.
    pub now: i64,
}

/// What was deleted of a tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Erased {
    /// Jobs that are gone.
    pub jobs: u64,
    /// Uploads that are gone.
    pub assets: u64,
    /// Versions of templates that are gone, receivers that are forgotten, and sums of usage that name nobody any more.
    pub others: u64,
    /// Open jobs, which must end first: at most as many as were asked for.
    pub open: Vec<uuid::Uuid>,
}

/// What a sweep found.
#[derive(Debug, Clone, Default)]
pub struct Swept {
    /// Bytes that nothing names any more: to be removed, then told to [`super::Store::cleared`].
    pub residue: Vec<Residue>,
    /// Jobs forgotten.
    pub jobs: u64,
    /// Idempotency keys forgotten.
    pub keys: u64,
    /// Asset records expired.
    pub assets: u64,
}
