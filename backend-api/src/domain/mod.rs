//! Business nouns as pure values: no I/O, no clock, no wire formats of others.

mod work;

pub use work::{Millis, Output, Sighting, Work, WorkId, WorkStatus};
