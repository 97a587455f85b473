//! The client of Tencent's platform: held against published signatures, against the SDKs of others, and against a
//! platform that answers as it likes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

mod bills;
mod callbacks;
mod checks;
mod cloud_run;
mod events;
mod keys;
mod login;
mod merchant;
mod peers;
mod push;
mod stand_in;
mod storage;
mod stub;
mod tokens;
mod trouble;
mod vectors;
mod virtual_payment;
