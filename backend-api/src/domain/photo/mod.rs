//! A picture that a person gives, for others to be made of: where it stands, as plain data.

mod file;

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::artwork::Verdict;
use super::{Millis, UserId};

pub use file::{PhotoFile, PhotoKind};

/// Names a photo; UUIDv7, so ids sort by creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PhotoId(pub Uuid);

impl fmt::Display for PhotoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a photo stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PhotoState {
    /// Recorded; its bytes may have been kept or not. One that was cut off here stays here.
    Storing,
    /// WeChat looks at it.
    Checking,
    /// Its owner may have pictures made of it.
    Ready,
    /// WeChat advises against it.
    Refused,
    /// Its owner deleted it; it only counts for the day.
    Deleted,
}

impl PhotoState {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Storing, Self::Checking, Self::Ready, Self::Refused, Self::Deleted];

    /// The name used in tables and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Storing => "storing",
            Self::Checking => "checking",
            Self::Ready => "ready",
            Self::Refused => "refused",
            Self::Deleted => "deleted",
        }
    }

    /// Reads what [`Self::as_str`] wrote.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// What a check makes of a photo. Nobody reviews photos: what a check is unsure of is refused.
    pub fn by(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Pass => Self::Ready,
            Verdict::Review | Verdict::Risky => Self::Refused,
        }
    }
}

/// A picture that a person gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Photo {
    /// Its name.
    pub id: PhotoId,
    /// Whose it is: nobody else may name it.
    pub user: UserId,
    /// Where it stands.
    pub state: PhotoState,
    /// What the mini program calls it, if it lies in our bucket.
    pub file_id: Option<String>,
    /// What the gateway calls it, once it has it.
    pub asset_id: Option<String>,
    /// Media type.
    pub content_type: String,
    /// Size in bytes.
    pub size_bytes: i64,
    /// In pixels.
    pub width: i64,
    /// In pixels.
    pub height: i64,
    /// The check of it that is under way or ended.
    pub trace_id: Option<String>,
    /// When that was asked for.
    pub asked_at: Option<Millis>,
    /// When it was given.
    pub created_at: Millis,
    /// When it is forgotten.
    pub ends_at: Millis,
}
