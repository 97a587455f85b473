//! What every store does, through the trait alone: each adapter runs all of it.

pub mod assets;
pub mod builders;
pub mod deliverables;
pub mod housekeeping;
pub mod jobs;
pub mod lists;
pub mod outbox;
pub mod people;
pub mod templates;
pub mod usage;
