//! The HTTP faces over real sockets: a whole gateway on a temporary folder, simulated ComfyUI servers behind it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

mod assets;
mod connections;
mod contract;
mod doors;
mod events;
mod hostile;
mod limits;
mod private;
mod proxies;
mod tenants;
mod tls;
mod v2;
mod walk;
mod world;
