//! The link: the only way between the engine and the runners.

pub mod local;
pub mod message;
pub mod ticket;
