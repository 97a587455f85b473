//! The picture library through its public face.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

mod animations;
mod colours;
mod hostile;
mod labels;
mod policy;
mod readers;
mod stripping;
mod support;
mod types;
mod visible;
