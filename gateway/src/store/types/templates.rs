//! Templates as they are kept: the store does not look into them.

use std::sync::Arc;

/// The tenant of templates that are everybody's; tenants count from 1.
pub const EVERYBODY: u32 = 0;

/// A template to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTemplate {
    /// Whose; [`EVERYBODY`]: everybody's.
    pub tenant: u32,
    /// Its name.
    pub name: String,
    /// JSON object text: workflow and parameters.
    pub definition: Arc<str>,
    /// JSON object text: what callers show people.
    pub meta: String,
    /// BLAKE3 of definition and meta.
    pub hash: [u8; 32],
    /// Milliseconds since the epoch.
    pub created_at: i64,
    /// Names of one tenant, at most.
    pub max_names: u32,
    /// Versions of one name, at most.
    pub max_versions: u32,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutTemplate {
    /// It is kept under this version.
    Kept {
        /// From 1.
        version: u32,
        /// `false`: the newest version was the same already and is enabled.
        fresh: bool,
    },
    /// The tenant has too many names.
    TooManyNames,
    /// The name has too many versions.
    TooManyVersions,
}

/// A version of a template as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateRow {
    /// Whose; [`EVERYBODY`]: everybody's.
    pub tenant: u32,
    /// Its name.
    pub name: String,
    /// From 1.
    pub version: u32,
    /// JSON object text: workflow and parameters.
    pub definition: Arc<str>,
    /// JSON object text.
    pub meta: String,
    /// Milliseconds since the epoch.
    pub created_at: i64,
    /// Milliseconds since the epoch; `None`: it may be used.
    pub disabled_at: Option<i64>,
}

/// A version without its contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TemplateVersion {
    /// From 1.
    pub version: u32,
    /// Milliseconds since the epoch.
    pub created_at: i64,
    /// Milliseconds since the epoch; `None`: it may be used.
    pub disabled_at: Option<i64>,
}
