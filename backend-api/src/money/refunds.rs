//! Money back: credits are taken first, then the platform is asked, then polled, and told by callback. A refund that the
//! platform will not do gives the credits again.

use tracing::{error, info, warn};
use uuid::Uuid;

use super::orders::{OrderError, Orders};
use super::rails::{RefundError, RefundSighting};
use super::refund_wish::{Plan, RefundRequest, RequestError, Wish, left_of};
use crate::clock::{millis, now};
use crate::db::ledger::{self, Outcome};
use crate::db::{self, Transaction, orders as rows};
use crate::domain::Millis;
use crate::domain::money::{
    Credits, Order, OrderId, OrderState, Posting, Refund, RefundId, RefundState, Signal, Step,
};
use crate::error_chain::chain;

impl Orders {
    /// Begins a refund and asks the platform for it; the background goes on where that ends. One refund of an order is
    /// under way at a time, and all of them together never exceed its price.
    ///
    /// # Errors
    /// See [`RequestError`]. A silent platform is no error.
    pub async fn refund(&self, request: &RefundRequest) -> Result<Refund, RequestError> {
        let id = match &request.key {
            Some(key) => RefundId::under(request.order, key),
            None => RefundId(Uuid::now_v7()),
        };
        let wish = Wish {
            id,
            order: request.order,
            amount: request.amount,
            is_named: request.key.is_some(),
            reason: &request.reason,
            by: Some(request.by),
            even_if_spent: request.even_if_spent,
        };
        let refund = self
            .database
            .retry(|| async {
                let tx = self.database.begin().await?;
                let refund = begin(&tx, &wish, self.first_push()).await?;
                self.database.commit(tx).await?;
                Ok::<_, RequestError>(refund)
            })
            .await?;
        if refund.state != RefundState::Requested {
            return Ok(refund);
        }
        match self.refunder().push(&refund).await {
            Ok(refund) => Ok(refund),
            Err(error) => {
                warn!(refund = %refund.id, error = %chain(&error), "refund waits for the background");
                Ok(refund)
            }
        }
    }

    /// Takes down that the platform gave an order's money back by itself, as Apple may (FACTS §4.5): its credits go,
    /// spent ones are written off. The caller has confirmed it by a query. A repeat changes nothing.
    ///
    /// # Errors
    /// When there is no such order or the database fails.
    pub async fn refunded_elsewhere(&self, order: OrderId) -> Result<(), RequestError> {
        let wish = Wish {
            id: RefundId(Uuid::now_v7()),
            order,
            amount: None,
            is_named: false,
            reason: "refunded by the platform",
            by: None,
            even_if_spent: true,
        };
        let begun = self
            .database
            .retry(|| async {
                let tx = self.database.begin().await?;
                let refund = begin(&tx, &wish, self.first_push()).await?;
                self.database.commit(tx).await?;
                Ok::<_, RequestError>(refund)
            })
            .await;
        let refund = match begun {
            Ok(refund) => refund,
            Err(RequestError::NotPaid(OrderState::Refunded)) => return Ok(()),
            Err(error) => return Err(error),
        };
        let word = RefundSighting { state: RefundState::Succeeded, amount: None };
        match self.refunder().take_down(refund.id, word).await {
            Ok(_) => Ok(()),
            Err(OrderError::Database(error)) => Err(error.into()),
            Err(_) => Err(RequestError::NotFound),
        }
    }

    /// When a request that may have been lost is repeated.
    fn first_push(&self) -> Millis {
        now() + millis(self.options.first_look)
    }

    /// Takes down what a platform says of a refund of ours, by itself or asked.
    ///
    /// # Errors
    /// [`OrderError::NotFound`] for a refund that is not ours, or when the database fails.
    pub async fn refund_told(&self, id: RefundId, word: RefundSighting) -> Result<Refund, OrderError> {
        self.refunder().take_down(id, word).await
    }
}

/// Records the refund and takes the credits back. The order is held before anything is read: of two wishes at once the
/// second waits there, and finds what the first one did.
async fn begin(tx: &Transaction, wish: &Wish<'_>, due_at: Millis) -> Result<Refund, RequestError> {
    let order = rows::hold_order_in(tx, wish.order).await?.ok_or(RequestError::NotFound)?;
    let amount = match wish.plan(&order, &rows::refunds_of_in(tx, order.id).await?)? {
        Plan::Earlier(refund) => return Ok(refund),
        Plan::New(amount) => amount,
    };
    let from = order.state;
    let Ok(Step::To(state)) = from.next(Signal::RefundWanted) else {
        return Err(RequestError::NotPaid(from));
    };
    let credits = if from == OrderState::Fulfilled { order.credits } else { Credits::ZERO };
    let order = Order { state, ..order };
    if !rows::move_order(tx, from, &order).await? {
        return Err(db::begin_again().into());
    }
    let left = ledger::balance_in(tx, order.user).await?.available;
    if left < credits && !wish.even_if_spent {
        return Err(RequestError::Spent { left }); // with which the transaction is dropped
    }
    let (at, reclaimed) = (now(), credits.at_most(left));
    let refund = Refund {
        id: wish.id,
        order: order.id,
        amount,
        credits,
        reclaimed,
        reason: wish.reason.to_owned(),
        state: RefundState::Requested,
        created_at: at,
        due_at: Some(due_at),
        tries: 0,
    };
    if !credits.is_zero() {
        match ledger::post(tx, &Posting::reclaim(wish.id, order.user, credits, reclaimed), at).await? {
            Outcome::Posted | Outcome::Already => {}
            Outcome::Short => return Err(db::begin_again().into()), // spent since the balance was read
        }
    }
    rows::insert_refund(tx, &refund, wish.by).await?;
    Ok(refund)
}

/// Carries refunds on.
pub(super) struct Refunder {
    pub(super) orders: Orders,
}

impl Refunder {
    /// Does what a refund needs next: asks for it, or asks about it.
    pub(super) async fn push(&self, refund: &Refund) -> Result<Refund, OrderError> {
        let orders = &self.orders;
        let database = &orders.database;
        let order =
            database.retry(|| database.find_order(refund.order)).await?.ok_or(OrderError::NotFound)?;
        let rail = orders.rail(order.rail)?;
        let word = match refund.state {
            RefundState::Requested => match rail.refund(&order, refund).await {
                Ok(word) => word,
                Err(RefundError::Later(cause)) => return Err(OrderError::Later(cause)),
                Err(RefundError::Refused(cause)) => {
                    error!(refund = %refund.id, error = %chain(&*cause), "platform refuses a refund");
                    RefundSighting { state: RefundState::Failed, amount: None }
                }
            },
            // Forgotten there: asked for again under the same name.
            _ => match rail.look_up_refund(&order, refund).await? {
                Some(word) => word,
                None => return Err(OrderError::Later("the platform does not know the refund".into())),
            },
        };
        self.take_down(refund.id, word).await
    }

    pub(super) async fn take_down(&self, id: RefundId, word: RefundSighting) -> Result<Refund, OrderError> {
        let database = &self.orders.database;
        let (refund, order, has_changed) = database
            .retry(|| async {
                let tx = database.begin().await?;
                let taken = take_down_in(&tx, id, word, millis(self.orders.options.refund_look)).await?;
                database.commit(tx).await?;
                Ok::<_, db::Error>(taken)
            })
            .await?
            .ok_or(OrderError::NotFound)?;
        if has_changed {
            self.orders.metrics.refund(order.rail, refund.state);
            info!(refund = %id, order = %order.id, state = refund.state.as_str(), "refund moved");
        }
        Ok(refund)
    }
}

type Taken = (Refund, Order, bool);

/// `None`: no such refund.
async fn take_down_in(
    tx: &Transaction,
    id: RefundId,
    word: RefundSighting,
    look_again: Millis,
) -> Result<Option<Taken>, db::Error> {
    let Some(refund) = rows::find_refund_in(tx, id).await? else { return Ok(None) };
    let what = "refund of an order that is gone".to_owned();
    let order =
        rows::find_order_in(tx, refund.order).await?.ok_or(db::Error::Corrupt { id: refund.id.0, what })?;
    if word.amount.is_some_and(|amount| amount != refund.amount) {
        error!(refund = %id, "platform refunds another amount");
        return Ok(Some((refund, order, false)));
    }
    let from = refund.state;
    if from.is_ended() || from == word.state || word.state == RefundState::Requested {
        return Ok(Some((refund, order, false)));
    }
    let at = now();
    let due_at = next_look(word.state, at, look_again);
    let refund = Refund { state: word.state, due_at, tries: 0, ..refund };
    if !rows::move_refund(tx, from, &refund, at).await? {
        return Err(db::begin_again());
    }
    let order = match refund.state {
        RefundState::Succeeded => succeed(tx, &refund, order, at).await?,
        RefundState::Failed => fail(tx, &refund, order, at).await?,
        RefundState::Requested | RefundState::Processing | RefundState::Abnormal => order,
    };
    Ok(Some((refund, order, true)))
}

async fn succeed(tx: &Transaction, refund: &Refund, order: Order, at: Millis) -> Result<Order, db::Error> {
    let _ = ledger::post(tx, &Posting::refund(refund.id, order.rail, refund.amount), at).await?;
    let left = left_of(order.price, &rows::refunds_of_in(tx, order.id).await?, |state| {
        state == RefundState::Succeeded // this one among them
    });
    match left.is_zero() {
        true => advance(tx, order, &[Signal::Refunded]).await,
        false => advance(tx, order, &[Signal::RefundedInPart, Signal::Given]).await,
    }
}

async fn fail(tx: &Transaction, refund: &Refund, order: Order, at: Millis) -> Result<Order, db::Error> {
    if !refund.credits.is_zero() {
        let posting = Posting::restore(refund.id, order.user, refund.credits, refund.reclaimed);
        let _ = ledger::post(tx, &posting, at).await?;
    }
    advance(tx, order, &[Signal::RefundFailed, Signal::Given]).await
}

async fn advance(tx: &Transaction, order: Order, signals: &[Signal]) -> Result<Order, db::Error> {
    let from = order.state;
    let state = signals.iter().fold(from, |state, &signal| match state.next(signal) {
        Ok(Step::To(next)) => next,
        Ok(Step::Stay) | Err(_) => state,
    });
    let order = Order { state, ..order };
    if state != from && !rows::move_order(tx, from, &order).await? {
        return Err(db::begin_again());
    }
    Ok(order)
}

/// How often one is asked about that waits for a person.
const ASK_ABNORMAL: Millis = 24 * 3_600_000;

fn next_look(state: RefundState, at: Millis, look_again: Millis) -> Option<Millis> {
    match state {
        RefundState::Requested | RefundState::Processing => Some(at + look_again),
        RefundState::Abnormal => Some(at + ASK_ABNORMAL),
        RefundState::Succeeded | RefundState::Failed => None,
    }
}
