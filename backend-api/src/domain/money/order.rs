//! An order's life: what may follow what, as a pure function.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Credits, Fen, ItemId};
use crate::domain::{Millis, OpenId, UserId};

/// Names an order; UUIDv7, so ids sort by creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OrderId(pub Uuid);

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An order's name at the platform: 32 hexadecimal digits, which both rails accept (FACTS §3.4, §4.10).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OutTradeNo(String);

impl OutTradeNo {
    /// The one name of `order`, the same for ever.
    pub fn of(order: OrderId) -> Self {
        Self(order.0.simple().to_string())
    }

    /// The order a platform names; `None` for a name we never gave.
    pub fn order(name: &str) -> Option<OrderId> {
        let id = Uuid::try_parse(name).ok().map(OrderId)?;
        (Self::of(id).0 == name).then_some(id)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Which platform service collects the money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Rail {
    /// WeChat Pay: services.
    #[serde(rename = "wechat_pay")]
    WechatPay,
    /// Virtual payment: credits.
    #[serde(rename = "virtual")]
    Virtual,
}

impl Rail {
    /// Both.
    pub const ALL: [Self; 2] = [Self::WechatPay, Self::Virtual];

    /// The name used in tables and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WechatPay => "wechat_pay",
            Self::Virtual => "virtual",
        }
    }

    /// Reads what [`Self::as_str`] wrote.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rail| rail.as_str() == name)
    }
}

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderState {
    /// Recorded; whether the platform knows it is not known.
    Created,
    /// The platform knows it and waits for the payer.
    Prepaid,
    /// The platform has the money; what was bought is not given yet.
    Paid,
    /// Paid and given.
    Fulfilled,
    /// Its credits were taken back; the money is on its way to the payer.
    Refunding,
    /// The payer has the money back.
    Refunded,
    /// It will never be paid.
    Closed,
    /// The platform's word contradicts ours: it is asked again, and a person should look.
    Unknown,
}

impl OrderState {
    /// Every state.
    pub const ALL: [Self; 8] = [
        Self::Created,
        Self::Prepaid,
        Self::Paid,
        Self::Fulfilled,
        Self::Refunding,
        Self::Refunded,
        Self::Closed,
        Self::Unknown,
    ];

    /// The name used in tables and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Prepaid => "prepaid",
            Self::Paid => "paid",
            Self::Fulfilled => "fulfilled",
            Self::Refunding => "refunding",
            Self::Refunded => "refunded",
            Self::Closed => "closed",
            Self::Unknown => "unknown",
        }
    }

    /// Reads what [`Self::as_str`] wrote.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// Whether the payer may still pay, as far as we know.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Created | Self::Prepaid | Self::Unknown)
    }

    /// Whether the platform has, or had, the money.
    pub fn was_paid(self) -> bool {
        matches!(self, Self::Paid | Self::Fulfilled | Self::Refunding | Self::Refunded)
    }

    /// What `signal` makes of it. What is not listed is illegal; a repeat changes nothing.
    ///
    /// # Errors
    /// [`IllegalStep`] when the signal cannot be true of such an order.
    pub fn next(self, signal: Signal) -> Result<Step, IllegalStep> {
        use OrderState::*;
        Ok(match (self, signal) {
            (Created, Signal::Prepared) => Step::To(Prepaid),
            (Prepaid | Unknown | Paid | Fulfilled, Signal::Prepared) => Step::Stay,

            // Money is money, also when it overtook our close.
            (Created | Prepaid | Unknown | Closed, Signal::Paid) => Step::To(Paid),
            (Paid | Fulfilled | Refunding | Refunded, Signal::Paid) => Step::Stay,

            (Paid, Signal::Given) => Step::To(Fulfilled),
            (Fulfilled | Refunding | Refunded, Signal::Given) => Step::Stay,

            (Created | Prepaid | Unknown, Signal::Closed) => Step::To(Closed),
            (Closed, Signal::Closed) => Step::Stay,

            (Created | Prepaid, Signal::Contradicted) => Step::To(Unknown),
            (Unknown, Signal::Contradicted) => Step::Stay,

            (Paid | Fulfilled, Signal::RefundWanted) => Step::To(Refunding),
            (Refunding, Signal::RefundWanted) => Step::Stay,
            // Back to where goods may be given (again).
            (Refunding, Signal::RefundFailed | Signal::RefundedInPart) => Step::To(Paid),
            (Paid | Fulfilled, Signal::RefundFailed | Signal::RefundedInPart) => Step::Stay,
            (Refunding, Signal::Refunded) => Step::To(Refunded),
            (Refunded, Signal::Refunded) => Step::Stay,
            (from, signal) => return Err(IllegalStep { from, signal }),
        })
    }
}

impl fmt::Display for OrderState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something that became known about an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Signal {
    /// The platform took it and gave parameters for the payer.
    Prepared,
    /// The platform says that it was paid, and every detail fits.
    Paid,
    /// What was bought is in the books.
    Given,
    /// The platform will not take money for it any more, or never knew it.
    Closed,
    /// The platform says something that does not fit.
    Contradicted,
    /// The money shall go back.
    RefundWanted,
    /// The platform will not give it back.
    RefundFailed,
    /// The payer has a part of it back; the rest is still ours.
    RefundedInPart,
    /// The payer has it back.
    Refunded,
}

/// What becomes of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// It moves on.
    To(OrderState),
    /// It knew that already.
    Stay,
}

/// Something was said of an order that cannot be true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an order that is {from} cannot be told {signal:?}")]
pub struct IllegalStep {
    /// Where it stands.
    pub from: OrderState,
    /// What was said.
    pub signal: Signal,
}

/// One purchase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Its name.
    pub id: OrderId,
    /// Who buys.
    pub user: UserId,
    /// Who collects the money.
    pub rail: Rail,
    /// What was bought, as the shop had it then.
    pub item: ItemId,
    /// What people read on their bill.
    pub title: String,
    /// What it costs.
    pub price: Fen,
    /// What it gives; nothing for a service.
    pub credits: Credits,
    /// Where it stands.
    pub state: OrderState,
    /// The platform's name of the payment, once paid.
    pub transaction_id: Option<String>,
    /// Why it is unknown: a constant word, never data of a person.
    pub trouble: Option<String>,
    /// When it was recorded.
    pub created_at: Millis,
    /// Until when the payer may pay.
    pub expires_at: Millis,
    /// When it was paid.
    pub paid_at: Option<Millis>,
    /// Who pays; forgotten with the user's account.
    pub payer: Option<OpenId>,
    /// What the platform gave for the payer, on the rail that gives something.
    pub prepared: Option<Prepared>,
    /// Whether the platform was told that the goods were given.
    pub notice: Notice,
    /// When the background has to look at it next; `None`: never again.
    pub due_at: Option<Millis>,
    /// Looks of the background since the last good one.
    pub tries: i32,
}

/// What the platform gave for the payer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// `prepay_id`, good for two hours (FACTS §3.4).
    pub prepay_id: String,
    /// When it was given.
    pub at: Millis,
}

/// What the platform has to be told after goods were given: virtual payment that they were (FACTS §4.11), WeChat Pay
/// the shipping information where the mini program's category asks for it (FACTS §3.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Notice {
    /// Nothing, as far as is known.
    Unneeded,
    /// It has to be told.
    Due,
    /// It knows.
    Given,
}

impl Notice {
    /// The name used in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unneeded => "unneeded",
            Self::Due => "due",
            Self::Given => "given",
        }
    }

    /// Reads what [`Self::as_str`] wrote.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Unneeded, Self::Due, Self::Given].into_iter().find(|notice| notice.as_str() == name)
    }
}

impl Order {
    /// Its name at the platform.
    pub fn out_trade_no(&self) -> OutTradeNo {
        OutTradeNo::of(self.id)
    }
}
