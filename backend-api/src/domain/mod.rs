//! Business nouns as pure values: no I/O, no clock, no wire formats of others.

pub mod artwork;
pub mod money;
mod open_id;
mod photo;
mod user;

pub use artwork::{Artwork, ArtworkId, ArtworkState, Picture};
pub use open_id::OpenId;
pub use photo::{Photo, PhotoFile, PhotoId, PhotoKind, PhotoState};
pub use user::{Role, User, UserId, WechatAccount};

/// An instant in milliseconds since the Unix epoch, the only form of time in tables.
pub type Millis = i64;
