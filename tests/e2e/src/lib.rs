//! End-to-end stories: the real programs as processes, real sockets, simulated GPUs.
//!
//! A story starts a [`sandbox::Sandbox`], speaks HTTP through [`api::Api`] like any client, and may ask a simulator
//! what it saw. Nothing here links the products under test. Every wait has a deadline ([`wait`]); every child process
//! dies with its guard ([`program`]).

pub mod api;
pub mod chance;
pub mod foreign;
pub mod measure;
pub mod pictures;
pub mod program;
pub mod receiver;
pub mod sandbox;
pub mod sse;
pub mod wait;
pub mod wechat;
pub mod workflows;
