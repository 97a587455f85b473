//! Business nouns as pure values: no I/O, no clock, no wire formats of others.

pub mod money;
mod user;
mod work;

pub use user::{OpenId, Role, User, UserId, WechatAccount};
pub use work::{Millis, Output, Sighting, Work, WorkId, WorkStatus};
