//! A platform's word about an order becomes truth here: checked against what we sold, then payment, goods and the order's
//! new state in one transaction. Whoever brings the word (callback, event, query), and however often.

use tracing::{error, info};

use super::rails::{Payment, Sighting};
use super::{Metrics, Rails};
use crate::clock::now;
use crate::db::ledger::{self, Outcome};
use crate::db::{self, Database, Transaction, Transient, orders as rows};
use crate::domain::Millis;
use crate::domain::money::{IllegalStep, Notice, Order, OrderId, OrderState, Posting, Rail, Signal, Step};

/// How long after its end an order of virtual payment is looked at once more.
const LAST_LOOK: Millis = 24 * 3_600_000;

/// What became of an order whose platform spoke.
#[derive(Debug)]
pub enum Receipt {
    /// It changed.
    Changed(Order),
    /// It knew.
    Same(Order),
}

impl Receipt {
    /// The order as it is now.
    pub fn into_order(self) -> Order {
        match self {
            Self::Changed(order) | Self::Same(order) => order,
        }
    }
}

/// Why the platform's word could not be taken down.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// We never sold that.
    #[error("there is no order {0}")]
    Unknown(OrderId),
    /// It was not taken down, or it is not known; the platform shall say it again.
    #[error(transparent)]
    Database(#[from] db::Error),
}

impl Transient for ReceiveError {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Database(error) if error.is_transient())
    }
}

/// Takes down what platforms say.
#[derive(Debug, Clone)]
pub(super) struct Receiver {
    pub(super) database: Database,
    pub(super) rails: Rails,
    pub(super) metrics: Metrics,
    /// The platform's own word is given this long to tell it that goods were given.
    pub(super) notice_after: Millis,
}

impl Receiver {
    /// Takes down one word about one order. Safe to repeat, at any time, by anybody at once.
    pub(super) async fn take_down(&self, id: OrderId, word: &Sighting) -> Result<Receipt, ReceiveError> {
        let receipt = self
            .database
            .retry(|| async {
                let tx = self.database.begin().await?;
                let receipt = self.take_down_in(&tx, id, word).await?;
                self.database.commit(tx).await?;
                Ok::<_, ReceiveError>(receipt)
            })
            .await?;
        self.tell(word, &receipt);
        Ok(receipt)
    }

    async fn take_down_in(
        &self,
        tx: &Transaction,
        id: OrderId,
        word: &Sighting,
    ) -> Result<Receipt, ReceiveError> {
        let order = rows::find_order_in(tx, id).await?.ok_or(ReceiveError::Unknown(id))?;
        match word {
            Sighting::Unpaid => Ok(Receipt::Same(order)),
            Sighting::Absent | Sighting::Closed => step(tx, order, Signal::Closed, close).await,
            Sighting::Paid(payment) => match self.doubt(tx, &order, payment).await? {
                None => self.pay(tx, order, payment).await,
                Some(trouble) => contradict(tx, order, trouble).await,
            },
            // Of ours, the refund itself tells. Of somebody else's, a person has to.
            Sighting::Refunded if order.state.was_paid() => Ok(Receipt::Same(order)),
            Sighting::Refunded => contradict(tx, order, "refunded_before_it_was_paid").await,
            Sighting::Odd(trouble) => contradict(tx, order, trouble).await,
        }
    }

    /// What about a payment does not fit the order, by a constant name.
    async fn doubt(
        &self,
        tx: &Transaction,
        order: &Order,
        payment: &Payment,
    ) -> Result<Option<&'static str>, db::Error> {
        let is_other =
            |known: &Option<String>| known.as_ref().is_some_and(|known| *known != payment.transaction_id);
        let differs =
            order.payer.as_ref().zip(payment.payer.as_ref()).is_some_and(|(ours, theirs)| ours != theirs);
        Ok(if payment.amount != order.price {
            Some("another_amount")
        } else if differs {
            Some("another_payer")
        } else if is_other(&order.transaction_id) {
            Some("another_transaction")
        } else if rows::is_paid_by_another(tx, &payment.transaction_id, order.id).await? {
            Some("transaction_of_another_order")
        } else {
            None
        })
    }

    /// Payment, goods and state in one.
    async fn pay(&self, tx: &Transaction, order: Order, payment: &Payment) -> Result<Receipt, ReceiveError> {
        let at = now();
        let from = order.state;
        // Paid and given in this very transaction.
        let Ok(Step::To(state)) = from.next(Signal::Paid).and_then(|step| match step {
            Step::To(paid) => paid.next(Signal::Given),
            Step::Stay => Ok(Step::Stay),
        }) else {
            return Ok(Receipt::Same(order));
        };
        let wants_notice = self.rails.find(order.rail).is_some_and(|rail| rail.wants_notice());
        let notice = match wants_notice {
            true if !payment.is_told => Notice::Due,
            true => Notice::Given,
            false => Notice::Unneeded,
        };
        let paid = Order {
            state,
            transaction_id: Some(payment.transaction_id.clone()),
            paid_at: Some(payment.paid_at),
            trouble: None,
            notice,
            due_at: (notice == Notice::Due).then_some(at + self.notice_after),
            tries: 0,
            ..order
        };
        if !rows::move_order(tx, from, &paid).await? {
            return Err(db::begin_again().into());
        }
        post(tx, &Posting::payment(paid.id, paid.rail, paid.price), at).await?;
        give(tx, &paid, at).await?;
        Ok(Receipt::Changed(paid))
    }

    fn tell(&self, word: &Sighting, receipt: &Receipt) {
        match (word, receipt) {
            (Sighting::Paid(_), Receipt::Changed(order)) if order.state.was_paid() => {
                self.metrics.payment(order.rail);
                info!(order = %order.id, rail = order.rail.as_str(), "order was paid and given");
            }
            (_, Receipt::Changed(order)) if order.state == OrderState::Unknown => {
                self.metrics.contradiction(order.rail);
                error!(order = %order.id, trouble = order.trouble.as_deref(), "platform contradicts an order");
            }
            (_, Receipt::Changed(order)) => {
                info!(order = %order.id, state = order.state.as_str(), "order changed");
            }
            (Sighting::Paid(_) | Sighting::Refunded | Sighting::Odd(_), Receipt::Same(order))
                if order.state == OrderState::Unknown =>
            {
                self.metrics.contradiction(order.rail);
            }
            (_, Receipt::Same(_)) => {}
        }
    }
}

/// What was bought goes into the books.
pub(super) async fn give(tx: &Transaction, order: &Order, at: Millis) -> Result<(), db::Error> {
    if order.credits.is_zero() {
        return Ok(()); // a service: that the order is fulfilled is all there is to give
    }
    post(tx, &Posting::purchase(order.id, order.user, order.credits), at).await
}

/// A posting that only ever adds to a user.
async fn post(tx: &Transaction, posting: &Posting, at: Millis) -> Result<(), db::Error> {
    match ledger::post(tx, posting, at).await? {
        Outcome::Posted | Outcome::Already => Ok(()),
        Outcome::Short => Err(db::begin_again()), // cannot be: nothing is taken
    }
}

/// Moves the order by `signal`; a repeat or a word that cannot be true any more changes nothing.
async fn step(
    tx: &Transaction,
    order: Order,
    signal: Signal,
    change: impl FnOnce(Order) -> Order,
) -> Result<Receipt, ReceiveError> {
    let from = order.state;
    match from.next(signal) {
        Ok(Step::To(state)) => {
            let moved = Order { state, ..change(order) };
            match rows::move_order(tx, from, &moved).await? {
                true => Ok(Receipt::Changed(moved)),
                false => Err(db::begin_again().into()),
            }
        }
        Ok(Step::Stay) | Err(IllegalStep { .. }) => Ok(Receipt::Same(order)),
    }
}

/// Virtual payment knows no closing: what was signed before may still be paid, so there is a last look.
fn close(order: Order) -> Order {
    let due_at = (order.rail == Rail::Virtual).then(|| order.expires_at.max(now()) + LAST_LOOK);
    Order { due_at, tries: 0, ..order }
}

/// An order that was paid keeps its state: what was given stays given until a person decides.
async fn contradict(tx: &Transaction, order: Order, trouble: &'static str) -> Result<Receipt, ReceiveError> {
    if order.state.was_paid() || order.state == OrderState::Closed {
        error!(order = %order.id, trouble, "platform contradicts an order that is done");
        return Ok(Receipt::Same(order));
    }
    step(tx, order, Signal::Contradicted, |order| Order { trouble: Some(trouble.to_owned()), ..order }).await
}
