//! Business nouns as pure values: no I/O, no clock, no wire formats of others.

mod open_id;
mod work;

pub use open_id::OpenId;
pub use work::{Millis, Output, Sighting, Work, WorkId, WorkStatus};
