//! ComfyUI as seen from outside: the only place that knows its requests, frames and JSON (PROTOCOL).

pub(super) mod forward;
pub(super) mod http;
pub(super) mod wire;
pub(super) mod ws;

pub(super) use http::{Comfy, ComfyError};
