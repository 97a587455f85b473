//! Our client of WeChat against the simulated platform, which reads the same documentation on its own: what one signs,
//! seals or names, the other has to take, and what goes wrong there has to become the right error here.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

mod container;
mod files;
mod login;
mod pay;
mod virtual_payment;
mod world;
