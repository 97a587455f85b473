//! Money as pure values: amounts, what is sold, orders and refunds with their legal steps, postings that always balance.
//!
//! docs/MONEY.md tells the accounts and which posting moves what between them.

mod amount;
mod hold;
mod order;
mod posting;
mod refund;
mod shop;

pub use amount::{Credits, Fen};
pub use hold::{Hold, HoldState};
pub use order::{IllegalStep, Notice, Order, OrderId, OrderState, OutTradeNo, Prepared, Rail, Signal, Step};
pub use posting::{Account, Entry, Kind, Posting, Unit};
pub use refund::{OutRefundNo, Refund, RefundId, RefundState};
pub use shop::{Item, ItemId, Shop};

#[cfg(test)]
mod tests;
