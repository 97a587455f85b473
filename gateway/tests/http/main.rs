//! The HTTP faces over real sockets: a whole gateway on a temporary folder, simulated ComfyUI servers behind it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

mod assets;
mod contract;
mod doors;
mod events;
mod feed;
mod placing;
mod private;
mod tickets;
mod v2;
mod walk;
mod world;
