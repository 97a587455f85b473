//! The picture library through its public face.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

mod labels;
mod support;
