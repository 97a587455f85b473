//! Money: the ledger, orders over two rails, refunds, and the platforms' bills.
//!
//! What holds here (docs/MONEY.md tells it at length):
//! - A change of the books and the change of the row that caused it are one transaction. A repeat posts nothing.
//! - The platform decides whether something was paid: a callback it signed, or its answer to a query. Never the client.
//! - Whatever was begun has a row with the time of its next look; [`Chores`] finds it after any crash.

mod apple;
mod bills;
mod chores;
mod leaving;
mod ledger;
mod metrics;
mod orders;
mod rails;
mod receive;
mod refund_wish;
mod refunds;
mod settings;
mod told;

pub use apple::Goods;
pub use bills::BillOptions;
pub use chores::{ChoreOptions, Chores, Done};
pub use ledger::{EndError, HoldError, Ledger, Posted};
pub use metrics::Metrics;
pub use orders::{Options, OrderError, Orders, Placed};
pub use rails::{
    BillError, BillLine, BillRefund, Buyer, CloudRun, Collector, Offer, OfferError, Payment, RailError,
    Rails, RefundError, RefundSighting, Sighting, VirtualPayment, WechatPay,
};
pub use receive::{Receipt, ReceiveError};
pub use refund_wish::{RefundRequest, RequestError};
pub use settings::{Money, Pay, Settings, SetupError};
pub use told::ToldError;
