//! The model of a fleet, against the reference files and against itself.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

mod bad_files;
mod estimates;
mod fresh;
mod growth;
mod memory;
mod reference;
mod rules;
mod support;
mod views;
mod world;
