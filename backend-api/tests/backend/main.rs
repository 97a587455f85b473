//! backend-api over real sockets: a scripted gateway on one side, a plain HTTP client on the other.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

mod bridge;
mod client;
mod contract;
mod database;
mod doors;
mod engines;
mod face;
mod generation;
mod identity;
mod money;
mod ops;
mod people;
mod process;
mod relay;
mod roles;
mod settings;
mod stub_gateway;
mod stub_wechat;
mod support;
