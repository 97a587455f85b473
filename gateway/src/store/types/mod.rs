//! What goes into the store and comes out of it.

mod assets;
mod fleet;
mod jobs;
mod people;
mod records;
mod rows;
mod settings;

pub use assets::*;
pub use fleet::*;
pub use jobs::*;
pub use people::*;
pub use records::*;
pub use rows::*;
pub use settings::*;

/// What is to be deleted of a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erase {
    /// Whose.
    pub tenant: u32,
    /// At most so many jobs and so many uploads.
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
    /// Open jobs, which must end first: at most as many as were asked for.
    pub open: Vec<uuid::Uuid>,
}

/// What a sweep found.
#[derive(Debug, Clone, Default)]
pub struct Swept {
    /// Objects without rows now; their bytes may go.
    pub object_keys: Vec<String>,
    /// Jobs forgotten.
    pub jobs: u64,
    /// Idempotency keys forgotten.
    pub keys: u64,
    /// Asset records expired.
    pub assets: u64,
}
