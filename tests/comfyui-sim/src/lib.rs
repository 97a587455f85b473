//! A stand-in for a ComfyUI server: its protocol, its pictures, its faults.
//!
//! Behaves as recorded from ComfyUI 0.33.0 (`tests/fixtures/comfyui`, replayed by `tests/captures.rs`); section
//! numbers in comments (`PROTOCOL §4`) refer to the notes taken with those recordings. One [`Simulator`] is one server
//! process: one queue, one worker, everything in memory. Many fit in one operating system process: files are kept as
//! recipes and drawn when fetched, catalogues are shared.
//!
//! What it never does: touch the disk, reach the network, or depend on the product it stands in for.

mod catalogue;
mod config;
mod faults;
mod files;
mod frames;
mod graph;
mod history;
mod http;
mod listener;
mod nodes;
mod observed;
mod placeholder;
mod process;
mod queue;
mod render;
mod schedule;
mod simulator;
mod sockets;
mod validate;
mod vram;
mod wire;
mod worker;

pub use catalogue::{Catalogue, Classes};
pub use config::{Config, Device, Pace};
pub use faults::{Fault, Faults};
pub use observed::{Observed, ObservedPrompt, PromptState};
pub use simulator::Simulator;
