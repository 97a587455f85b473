//! The HTTP faces over real sockets: a whole gateway on a temporary folder, simulated ComfyUI servers behind it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

mod assets;
mod batches;
mod connections;
mod contract;
mod costs;
mod deliveries;
mod doors;
mod events;
mod feed;
mod hostile;
mod limits;
mod native;
mod openapi;
mod placing;
mod private;
mod proxies;
mod security;
mod templates;
mod tenants;
mod tickets;
mod tls;
mod v1_events;
mod v1_jobs;
mod v2;
mod walk;
mod ways_in;
mod world;
