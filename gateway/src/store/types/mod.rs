//! What goes into the store and comes out of it.

mod assets;
mod fleet;
mod jobs;
mod people;
mod records;
mod rows;
mod templates;
mod usage;

pub use assets::*;
pub use fleet::*;
pub use jobs::*;
pub use people::*;
pub use records::*;
pub use rows::*;
pub use templates::*;
pub use usage::*;

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
