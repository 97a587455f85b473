//! One dependable door in front of a fleet of ComfyUI GPU servers.
//!
//! `http` takes requests in, `workflow` judges them, `engine` owns the scheduler and decides in durable turns, `link`
//! carries its word to the `runner`s beside the instances, `artifacts` says where bytes go, `store` remembers.

pub mod app;
pub mod artifacts;
pub mod config;
pub mod delivery;
pub mod engine;
pub mod fleet;
pub mod http;
pub mod link;
pub mod listener;
pub mod metrics;
mod names;
pub mod network;
pub mod open_files;
pub mod outbox;
pub mod outside;
pub mod pictures;
pub mod prices;
pub mod runner;
pub mod sinks;
pub mod store;
pub mod telemetry;
pub mod template;
pub mod tenant;
pub mod ticket_desk;
pub mod tidy;
pub mod workflow;
