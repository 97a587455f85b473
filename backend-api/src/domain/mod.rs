//! Business nouns as pure values: no I/O, no clock, no wire formats of others.

pub mod artwork;
pub mod money;
mod open_id;
mod user;
mod work;

pub use artwork::{Artwork, ArtworkId, ArtworkState, Picture};
pub use open_id::OpenId;
pub use user::{Role, User, UserId, WechatAccount};
pub use work::{Millis, Output, Sighting, Work, WorkId, WorkStatus};
