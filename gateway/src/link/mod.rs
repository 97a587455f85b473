//! The link: the only way between the engine and the runners.

mod files;
mod forward;
pub mod local;
pub mod message;
pub mod native;
pub mod ticket;
