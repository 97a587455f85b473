//! What one kind of instance offers: its `/object_info`, read once and shared by hash.

use std::sync::Arc;

/// An instance's catalogue.
#[derive(Debug, Clone)]
pub struct Catalogue {
    /// BLAKE3 of the body, lower-case hex.
    pub hash: String,
    /// What the scheduler needs of it.
    pub parts: Arc<scheduler::Catalogue>,
}

/// A body that is not an `/object_info` answer.
#[derive(Debug, thiserror::Error)]
#[error("not an object_info answer: {0}")]
pub struct CatalogueError(pub String);

impl Catalogue {
    /// Reads an `/object_info` body.
    ///
    /// # Errors
    /// The body is not a JSON object of node classes.
    pub fn read(_body: &str) -> Result<Self, CatalogueError> {
        Err(CatalogueError("not yet".into()))
    }
}
