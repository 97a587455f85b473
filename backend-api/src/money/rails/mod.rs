//! The two ways money reaches us, behind one interface. A rail talks to its platform and to nothing else of ours.

mod bill;
mod cloud_run;
mod virtual_payment;
mod wechat_pay;

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use jiff::civil::Date;
use secrecy::SecretString;
use serde_json::Value;

pub use bill::{BillError, BillLine, BillRefund};
pub use cloud_run::CloudRun;
pub use virtual_payment::VirtualPayment;
pub use wechat_pay::WechatPay;

use crate::domain::money::{Fen, Order, Prepared, Rail, Refund, RefundState};
use crate::domain::{Millis, OpenId};
use crate::error_chain::BoxError;

/// Who buys, as the platform knows them.
#[derive(Debug, Clone)]
pub struct Buyer {
    /// The payer towards our mini program.
    pub openid: OpenId,
    /// Signs for the user in virtual payment; `None` when the login is too old.
    pub session_key: Option<SecretString>,
}

/// What the client needs to let the user pay.
#[derive(Debug)]
pub struct Offer {
    /// What the platform gave and a later offer may use again.
    pub prepared: Option<Prepared>,
    /// Passed to `wx.requestPayment` or `wx.requestVirtualPayment` as it is.
    pub parameters: Value,
}

/// What a platform says about an order.
#[derive(Debug, Clone)]
pub enum Sighting {
    /// It waits for the payer.
    Unpaid,
    /// It never knew it.
    Absent,
    /// It takes no money for it any more.
    Closed,
    /// It has the money.
    Paid(Payment),
    /// It had the money and gave it back.
    Refunded,
    /// Something that we do not understand, by a constant name.
    Odd(&'static str),
}

/// What a platform says about the money it has.
#[derive(Debug, Clone)]
pub struct Payment {
    /// The platform's own name of it.
    pub transaction_id: String,
    /// How much was asked of the payer.
    pub amount: Fen,
    /// Who paid, where the platform says so.
    pub payer: Option<OpenId>,
    /// When.
    pub paid_at: Millis,
    /// Whether the platform knows already that the goods were given.
    pub is_told: bool,
}

/// What a platform says about a refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefundSighting {
    /// Where it stands; never [`RefundState::Requested`].
    pub state: RefundState,
    /// How much goes back, where the platform says so.
    pub amount: Option<Fen>,
}

/// Why a platform did not answer.
#[derive(Debug, thiserror::Error)]
pub enum RailError {
    /// No answer, or one that decides nothing: ask again later.
    #[error("the platform gave no answer")]
    Later(#[source] BoxError),
    /// It will never answer such a question: an operator has to look.
    #[error("the platform refuses the question")]
    Refused(#[source] BoxError),
}

/// Why there is no offer.
#[derive(Debug, thiserror::Error)]
pub enum OfferError {
    /// It was paid already: look it up.
    #[error("the order was paid already")]
    Paid,
    /// The platform takes no money for it any more.
    #[error("the order is closed at the platform")]
    Closed,
    /// The user's login is too old to sign for them.
    #[error("the user has to log in again")]
    LoginAgain,
    /// The platform will not take money for this.
    #[error("the platform refuses the order")]
    Refused(#[source] BoxError),
    /// No answer: the same offer may be asked for again.
    #[error("the platform gave no answer")]
    Later(#[source] BoxError),
}

/// Why a refund was not taken.
#[derive(Debug, thiserror::Error)]
pub enum RefundError {
    /// Whether it was taken is not known, or not now: the same refund again, later.
    #[error("the refund was not taken yet")]
    Later(#[source] BoxError),
    /// The platform will never do it.
    #[error("the platform refuses the refund")]
    Refused(#[source] BoxError),
}

/// One platform service that collects money for us.
pub trait Collector: fmt::Debug + Send + Sync {
    /// Makes the platform ready to take the money. The same order may be offered again and again.
    fn offer<'a>(&'a self, order: &'a Order, buyer: &'a Buyer) -> BoxFuture<'a, Result<Offer, OfferError>>;

    /// Asks what became of the order.
    fn look_up<'a>(&'a self, order: &'a Order) -> BoxFuture<'a, Result<Sighting, RailError>>;

    /// Makes sure that it cannot be paid any more; `false` where the platform has no such call.
    fn close<'a>(&'a self, order: &'a Order) -> BoxFuture<'a, Result<bool, RailError>>;

    /// Tells the platform that the goods were given, where it wants to know.
    fn tell_given<'a>(&'a self, order: &'a Order) -> BoxFuture<'a, Result<(), RailError>>;

    /// Whether it wants to know that.
    fn wants_notice(&self) -> bool;

    /// Gives the money back. The same refund may be asked for again and again.
    fn refund<'a>(
        &'a self,
        order: &'a Order,
        refund: &'a Refund,
    ) -> BoxFuture<'a, Result<RefundSighting, RefundError>>;

    /// Asks what became of a refund; `None`: the platform does not know it.
    fn look_up_refund<'a>(
        &'a self,
        order: &'a Order,
        refund: &'a Refund,
    ) -> BoxFuture<'a, Result<Option<RefundSighting>, RailError>>;

    /// Everything of a day (in Beijing) that the platform accounts for; `None`: it has no bills that we read.
    fn bill(&self, _day: Date) -> Option<BoxFuture<'_, Result<Vec<BillLine>, BillError>>> {
        None
    }
}

/// The rails that are configured.
#[derive(Debug, Clone, Default)]
pub struct Rails {
    /// Sells services.
    pub wechat_pay: Option<Arc<dyn Collector>>,
    /// Sells credits.
    pub virtual_payment: Option<Arc<dyn Collector>>,
}

impl Rails {
    /// The rail, if it is configured.
    pub fn find(&self, rail: Rail) -> Option<&dyn Collector> {
        match rail {
            Rail::WechatPay => self.wechat_pay.as_deref(),
            Rail::Virtual => self.virtual_payment.as_deref(),
        }
    }
}
