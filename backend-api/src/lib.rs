//! Darkroom's business side: it knows people, takes money and asks the gateway for pictures (`docs/BACKEND.md`).
//!
//! What holds here:
//! - An artwork is committed before the gateway hears of it, and its idempotency key derives from its id, so a lost reply
//!   or a crash never makes two jobs of one artwork.
//! - backend-api never links the gateway; [`gateway_client`] is its own view of the contract.
//! - Rows and SQL stay in [`db`], gateway JSON in [`gateway_client`], Tencent's formats in [`wechat`], statuses and error bodies in [`http`];
//!   [`domain`] touches none of them.
//! - Every outgoing call, incoming body, wait and pool has a bound named in [`config`].

pub mod app;
mod background;
pub mod clock;
pub mod config;
pub mod db;
pub mod domain;
pub mod error_chain;
pub mod gateway_client;
pub mod generation;
pub mod health;
pub mod http;
pub mod identity;
pub mod metrics;
pub mod money;
pub mod shutdown;
pub mod telemetry;
pub mod trace;
pub mod wechat;
