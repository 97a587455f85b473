//! A stand-in for the WeChat platform: login, tokens, checks, messages, pushed events, WeChat Pay v3, virtual payment,
//! the simplified pay of Cloud Run, storage with tickets, and a bucket that speaks COS.
//!
//! It is strict: what the documentation forbids is refused with the documented error, signatures are checked, codes
//! work once, an order that is repeated with other fields is refused. It misbehaves on command ([`Fault`],
//! [`CourierFault`]). It owns its keys, made at the start. Numbers in comments (`FACTS §3.4`) refer to the collected
//! facts that `docs/WECHAT_SIMULATOR.md` lists, with what was decided where they are silent.
//!
//! [`WechatSim`] is one platform with one mini program and one merchant; [`Person`] is somebody with a phone, who pays
//! only what the real client would let them pay.
//!
//! What it never does: share code with the product it stands in for, touch the disk, or reach beyond the addresses it
//! was told to call.

mod clock;
mod config;
pub mod cos;
mod courier;
mod crypt;
mod faults;
mod http;
mod keys;
mod observed;
mod pay;
mod people;
mod person;
mod platform;
mod simulator;
mod tokens;
mod trade;
#[cfg(test)]
mod vectors;
mod virtual_payment;
mod wx;

pub use config::{Config, Format, Guard, KeyMode, Push};
pub use courier::Release;
pub use faults::{CourierFault, Fault, Mishap, Seal, Trouble};
pub use observed::{Delivery, Message, Seen};
pub use person::{ClientError, Person};
pub use simulator::{Merchant, WechatSim};
pub use trade::{RefundFate, RefundState, TradeState};
pub use virtual_payment::VirtualCall;
pub use wx::{Suggest, Verdict};
