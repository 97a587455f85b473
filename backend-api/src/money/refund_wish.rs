//! What somebody wants back of an order, and whether it can be: all of it, or of a service a part.

use crate::db::{self, Transient};
use crate::domain::UserId;
use crate::domain::money::{Credits, Fen, Order, OrderId, OrderState, Rail, Refund, RefundId, RefundState};

/// What an administrator wants.
#[derive(Debug, Clone)]
pub struct RefundRequest {
    /// Of which order.
    pub order: OrderId,
    /// How much; `None`: all that has not gone back. Only services are refunded in parts.
    pub amount: Option<Fen>,
    /// Their name of this refund: a repeat of the same wish gives the same. Without it a repeat gives the one there is.
    pub key: Option<String>,
    /// What the payer reads; at most 80 characters.
    pub reason: String,
    /// Also when credits of the order are spent already: those are written off.
    pub even_if_spent: bool,
    /// Who wants it.
    pub by: UserId,
}

/// Why a refund was not begun.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// There is no such order.
    #[error("there is no such order")]
    NotFound,
    /// It was never paid, or it is closed.
    #[error("an order that is {0} cannot be refunded")]
    NotPaid(OrderState),
    /// The key named a refund of another amount before.
    #[error("this key named another refund before")]
    KeyReused,
    /// Another refund of the order is on its way.
    #[error("another refund of the order is on its way")]
    Open,
    /// More than is left of the price.
    #[error("only {left} fen of the price can go back")]
    TooLarge {
        /// What has not gone back yet.
        left: Fen,
    },
    /// Credits are refunded as a whole.
    #[error("an order of credits is refunded as a whole")]
    Indivisible,
    /// Credits of it are spent.
    #[error("only {left} of the order's credits are left")]
    Spent {
        /// What the user still has.
        left: Credits,
    },
    /// It is not known whether it was begun; a repeat is safe.
    #[error(transparent)]
    Database(#[from] db::Error),
}

impl Transient for RequestError {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Database(error) if error.is_transient())
    }
}

/// A refund that shall begin.
pub(super) struct Wish<'a> {
    pub(super) id: RefundId,
    pub(super) order: OrderId,
    /// `None`: all that is left.
    pub(super) amount: Option<Fen>,
    /// Whether the id follows from the caller's key.
    pub(super) is_named: bool,
    pub(super) reason: &'a str,
    pub(super) by: Option<UserId>,
    pub(super) even_if_spent: bool,
}

/// What becomes of a wish.
pub(super) enum Plan {
    /// It was made before.
    Earlier(Refund),
    /// A refund of this much.
    New(Fen),
}

impl Wish<'_> {
    /// What becomes of it, given every refund that the order had, newest first.
    pub(super) fn plan(&self, order: &Order, refunds: &[Refund]) -> Result<Plan, RequestError> {
        if let Some(place) = refunds.iter().position(|refund| refund.id == self.id) {
            let earlier = &refunds[place];
            // Without an amount it is all that was left when that one began.
            let wanted =
                self.amount.unwrap_or_else(|| left_of(order.price, &refunds[place + 1..], has_succeeded));
            let is_same = wanted == earlier.amount;
            return if is_same { Ok(Plan::Earlier(earlier.clone())) } else { Err(RequestError::KeyReused) };
        }
        let left = left_of(order.price, refunds, has_succeeded);
        if let Some(open) = refunds.iter().find(|refund| !refund.state.is_ended()) {
            let is_same = !self.is_named && self.amount.is_none() && open.amount == left;
            return if is_same { Ok(Plan::Earlier(open.clone())) } else { Err(RequestError::Open) };
        }
        let done = refunds.iter().find(|refund| refund.state == RefundState::Succeeded);
        if let Some(done) = done
            && left.is_zero()
            && !self.is_named
            && self.amount.is_none()
        {
            return Ok(Plan::Earlier(done.clone()));
        }
        let amount = self.amount.unwrap_or(left);
        if amount > left || amount.is_zero() {
            return Err(RequestError::TooLarge { left });
        }
        // Which of the credits a part of the price bought cannot be said.
        let can_be_divided = order.rail == Rail::WechatPay && order.credits.is_zero();
        if amount != order.price && !can_be_divided {
            return Err(RequestError::Indivisible);
        }
        Ok(Plan::New(amount))
    }
}

fn has_succeeded(state: RefundState) -> bool {
    state == RefundState::Succeeded
}

/// What is left of a price after the refunds whose state counts.
pub(super) fn left_of(price: Fen, refunds: &[Refund], counts: impl Fn(RefundState) -> bool) -> Fen {
    let given = refunds.iter().filter(|refund| counts(refund.state));
    given.fold(price, |left, refund| left.without(refund.amount))
}
