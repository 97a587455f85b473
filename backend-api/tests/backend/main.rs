//! backend-api over real sockets: a scripted gateway on one side, a plain HTTP client on the other.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

mod client;
mod database;
mod doors;
mod engines;
mod money;
mod ops;
mod process;
mod relay;
mod settings;
mod stub_gateway;
mod support;
mod works;
