//! Darkroom's business side: it knows people and their works, and asks the gateway for pictures.
//!
//! This first form records generation requests ("works") durably, hands each to the gateway's private face `/v1`
//! exactly once, and follows it to its end. Login, money and publishing grow on the same shape (DESIGN §10).
//!
//! What holds here:
//! - A work is committed before the gateway hears of it, and its idempotency key derives from its id, so a lost reply or
//!   a crash never makes two jobs of one work.
//! - backend-api never links the gateway; [`gateway_client`] is its own view of the contract.
//! - Rows and SQL stay in [`db`], gateway JSON in [`gateway_client`], Tencent's formats in [`wechat`], statuses and error bodies in [`http`];
//!   [`domain`] touches none of them.
//! - Every outgoing call, incoming body, wait and pool has a bound named in [`config`].

pub mod app;
pub mod clock;
pub mod config;
pub mod db;
pub mod domain;
pub mod error_chain;
pub mod gateway_client;
pub mod http;
pub mod money;
pub mod shutdown;
pub mod telemetry;
pub mod wechat;
pub mod works;
