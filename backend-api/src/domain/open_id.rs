//! What WeChat calls a person within one mini program.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The platform's name of a person under our app id. Personal data: it never shows in logs, so [`fmt::Debug`] hides it
/// and there is no [`fmt::Display`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OpenId(String);

impl OpenId {
    /// As the platform wrote it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// For the platform and the database, nobody else.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Gives up the hiding.
    pub fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Debug for OpenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpenId(…)")
    }
}
