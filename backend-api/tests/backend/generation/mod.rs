//! Pictures: from a wish to what its owner does with it.

mod checks;
mod deeds;
mod kit;
mod late_photos;
mod live;
mod making;
mod photos;
mod studio_gateway;
mod trouble;

pub use kit::Studio;
