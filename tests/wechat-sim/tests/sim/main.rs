//! The simulated platform through its sockets: what it takes, what it refuses and with which words, how it misbehaves.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

mod callbacks;
mod checks;
mod container;
mod control;
mod files;
mod login;
mod misbehaviour;
mod pay;
mod push;
mod support;
mod virtual_payment;
