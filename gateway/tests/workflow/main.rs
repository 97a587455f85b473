//! Workflows through the public face of `gateway::workflow`: read, judged as the recorded ComfyUI judged them,
//! rewritten for an attempt and back.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

mod captures;
mod catalogues;
mod fleet;
mod parsing;
mod properties;
mod references;
mod rewriting;
mod shapes;
mod support;
