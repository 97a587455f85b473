//! What a buyer can do: order, look, cancel. Every answer about payment is the platform's.

use std::time::Duration;

use serde_json::Value;
use tracing::{info, warn};
use uuid::Uuid;

use super::rails::{Buyer, Collector, OfferError, RailError, Rails, Sighting};
use super::receive::{Receipt, ReceiveError, Receiver};
use super::{Metrics, refunds};
use crate::clock::{millis, now};
use crate::db::orders::{self as rows, Recorded};
use crate::db::{self, Database};
use crate::domain::money::{Item, ItemId, Notice, Order, OrderId, OrderState, Rail, Shop, Signal, Step};
use crate::domain::{Millis, UserId};
use crate::error_chain::{BoxError, chain};

/// Bounds of orders.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long an order may be paid.
    pub lifetime: Duration,
    /// Orders that a user may have open at once.
    pub max_open: u64,
    /// A reader's wish asks the platform about an order at most this often.
    pub look_every: Duration,
    /// When the background first looks at an order or refund whose platform stays silent.
    pub first_look: Duration,
    /// How often it asks about a refund under way; banks take minutes to days.
    pub refund_look: Duration,
}

/// The orders of all users.
#[derive(Debug, Clone)]
pub struct Orders {
    pub(super) database: Database,
    pub(super) rails: Rails,
    pub(super) metrics: Metrics,
    shop: Shop,
    pub(super) options: Options,
}

/// An order and how to pay it.
#[derive(Debug)]
pub struct Placed {
    /// The order.
    pub order: Order,
    /// For the client's payment call; `None` when there is nothing to pay (any more).
    pub parameters: Option<Value>,
}

/// Why an order was not placed or changed.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// The shop has no such item.
    #[error("there is no such item")]
    NoSuchItem,
    /// There is no such order, or it is somebody else's.
    #[error("there is no such order")]
    NotFound,
    /// The key was used for something else.
    #[error("the idempotency key was used for another item")]
    KeyReused,
    /// Pay or cancel one first.
    #[error("too many orders are open")]
    TooManyOpen,
    /// Nobody collects money for such items here.
    #[error("rail {} is not configured", .0.as_str())]
    NotConfigured(Rail),
    /// It was paid.
    #[error("the order was paid")]
    Paid,
    /// It cannot be paid any more.
    #[error("the order is closed")]
    Closed,
    /// The user's login is too old to sign for them.
    #[error("the user has to log in again")]
    LoginAgain,
    /// The platform will not do that.
    #[error("the platform refuses")]
    Refused(#[source] BoxError),
    /// No answer from the platform: repeat, with the same key.
    #[error("the platform gave no answer")]
    Later(#[source] BoxError),
    /// The database failed: repeat, with the same key.
    #[error(transparent)]
    Database(#[from] db::Error),
}

impl From<ReceiveError> for OrderError {
    fn from(error: ReceiveError) -> Self {
        match error {
            ReceiveError::Unknown(_) => Self::NotFound,
            ReceiveError::Database(error) => Self::Database(error),
        }
    }
}

impl From<RailError> for OrderError {
    fn from(error: RailError) -> Self {
        match error {
            RailError::Later(cause) => Self::Later(cause),
            RailError::Refused(cause) => Self::Refused(cause),
        }
    }
}

impl Orders {
    /// Orders kept in `database`, for what `shop` sells, paid over `rails`.
    pub fn new(database: Database, shop: Shop, rails: Rails, options: Options, metrics: Metrics) -> Self {
        Self { database, rails, metrics, shop, options }
    }

    /// What can be bought here: items whose rail is configured.
    pub fn items(&self) -> impl Iterator<Item = &Item> {
        self.shop.items().filter(|item| self.rails.find(item.rail()).is_some())
    }

    /// The item of that id, if it can be bought here.
    pub fn item(&self, id: &ItemId) -> Option<&Item> {
        self.shop.find(id).filter(|item| self.rails.find(item.rail()).is_some())
    }

    /// Orders `item`, or finds what the user ordered under `key`, and tells how to pay it.
    ///
    /// # Errors
    /// See [`OrderError`].
    pub async fn place(
        &self,
        user: UserId,
        buyer: &Buyer,
        item: &ItemId,
        key: Option<&str>,
    ) -> Result<Placed, OrderError> {
        let item = self.shop.find(item).ok_or(OrderError::NoSuchItem)?;
        let rail = self.rail(item.rail())?;
        if item.rail() == Rail::Virtual && buyer.session_key.is_none() {
            return Err(OrderError::LoginAgain);
        }
        let order = self.record(user, buyer, item, key).await?;
        self.offer(rail, order, buyer).await
    }

    /// The user's order, after a look at the platform if it may have been paid.
    ///
    /// # Errors
    /// [`OrderError::NotFound`], or when the database fails. A silent platform is no error.
    pub async fn read(&self, user: UserId, id: OrderId) -> Result<Order, OrderError> {
        let order = self.find(user, id).await?;
        let at = now();
        let since = at - millis(self.options.look_every);
        let database = &self.database;
        if !order.state.is_open() || !database.retry(|| database.claim_look(id, at, since)).await? {
            return Ok(order);
        }
        match self.look(&order).await {
            Ok(receipt) => Ok(receipt.into_order()),
            Err(error) => {
                warn!(order = %id, error = %chain(&error), "order cannot be looked up");
                Ok(order)
            }
        }
    }

    /// Up to `limit` orders of the user as we know them, newest first, older than `before`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list(
        &self,
        user: UserId,
        before: Option<OrderId>,
        limit: u64,
    ) -> Result<Vec<Order>, db::Error> {
        self.database.retry(|| self.database.orders_of(user, before, limit)).await
    }

    /// Closes the user's order at the platform. A repeat is harmless.
    ///
    /// # Errors
    /// [`OrderError::Paid`] when the payer was faster; then it was given.
    pub async fn cancel(&self, user: UserId, id: OrderId) -> Result<Order, OrderError> {
        let order = self.find(user, id).await?;
        let order = if order.state.is_open() { self.look(&order).await?.into_order() } else { order };
        match order.state {
            OrderState::Closed => Ok(order),
            state if state.was_paid() => Err(OrderError::Paid),
            _ => self.close(&order).await,
        }
    }

    /// Takes down what a platform said by itself: a callback whose signature was checked, an event that was confirmed.
    ///
    /// # Errors
    /// See [`ReceiveError`].
    pub async fn told(&self, id: OrderId, word: &Sighting) -> Result<Receipt, ReceiveError> {
        self.receiver().take_down(id, word).await
    }

    /// Asks the platform about an order and takes its answer down.
    ///
    /// # Errors
    /// When there is no such order, the platform does not answer, or the database fails.
    pub async fn ask(&self, id: OrderId) -> Result<Order, OrderError> {
        let order =
            self.database.retry(|| self.database.find_order(id)).await?.ok_or(OrderError::NotFound)?;
        Ok(self.look(&order).await?.into_order())
    }

    pub(super) fn receiver(&self) -> Receiver {
        let (database, rails) = (self.database.clone(), self.rails.clone());
        let notice_after = millis(self.options.first_look);
        Receiver { database, rails, metrics: self.metrics.clone(), notice_after }
    }

    pub(super) fn rail(&self, rail: Rail) -> Result<&dyn Collector, OrderError> {
        self.rails.find(rail).ok_or(OrderError::NotConfigured(rail))
    }

    pub(super) async fn look(&self, order: &Order) -> Result<Receipt, OrderError> {
        let word = self.rail(order.rail)?.look_up(order).await?;
        // An order whose offer was lost on its way may still reach the platform: that it is absent proves nothing yet.
        if matches!(word, Sighting::Absent) && now() < order.expires_at {
            return Ok(Receipt::Same(order.clone()));
        }
        Ok(self.receiver().take_down(order.id, &word).await?)
    }

    /// Closes an order that the platform says is unpaid.
    pub(super) async fn close(&self, order: &Order) -> Result<Order, OrderError> {
        self.rail(order.rail)?.close(order).await?;
        Ok(self.receiver().take_down(order.id, &Sighting::Closed).await?.into_order())
    }

    async fn find(&self, user: UserId, id: OrderId) -> Result<Order, OrderError> {
        let order = self.database.retry(|| self.database.find_order(id)).await?;
        order.filter(|order| order.user == user).ok_or(OrderError::NotFound)
    }

    async fn record(
        &self,
        user: UserId,
        buyer: &Buyer,
        item: &Item,
        key: Option<&str>,
    ) -> Result<Order, OrderError> {
        let at = now();
        let order = Order {
            id: OrderId(Uuid::now_v7()),
            user,
            rail: item.rail(),
            item: item.id.clone(),
            title: item.title.clone(),
            price: item.price,
            credits: item.credits,
            state: OrderState::Created,
            transaction_id: None,
            trouble: None,
            created_at: at,
            expires_at: at + millis(self.options.lifetime),
            paid_at: None,
            payer: Some(buyer.openid.clone()),
            prepared: None,
            notice: Notice::Unneeded,
            due_at: Some(at + millis(self.options.first_look)),
            tries: 0,
        };
        let open = self.database.retry(|| self.database.open_orders_of(user, at - DAY)).await?;
        let recorded = if open >= self.options.max_open {
            let found = match key {
                Some(key) => self.database.retry(|| self.database.order_under(user, key)).await?,
                None => None,
            };
            Recorded::Earlier(Box::new(found.ok_or(OrderError::TooManyOpen)?))
        } else {
            self.database.retry(|| self.database.record_order(&order, key)).await?
        };
        match recorded {
            Recorded::New => Ok(order),
            Recorded::Earlier(earlier) if earlier.item == item.id => Ok(*earlier),
            Recorded::Earlier(_) => Err(OrderError::KeyReused),
        }
    }

    async fn offer(&self, rail: &dyn Collector, order: Order, buyer: &Buyer) -> Result<Placed, OrderError> {
        if !order.state.is_open() {
            return Ok(Placed { order, parameters: None });
        }
        match rail.offer(&order, buyer).await {
            Ok(offer) => {
                let order = self.prepared(Order { prepared: offer.prepared, ..order }).await?;
                let parameters = order.state.is_open().then_some(offer.parameters);
                Ok(Placed { order, parameters })
            }
            Err(OfferError::Paid) => {
                let order = self.look(&order).await?.into_order();
                Ok(Placed { order, parameters: None })
            }
            Err(OfferError::Closed) => {
                self.receiver().take_down(order.id, &Sighting::Closed).await?;
                Err(OrderError::Closed)
            }
            Err(OfferError::LoginAgain) => Err(OrderError::LoginAgain),
            Err(OfferError::Later(cause)) => Err(OrderError::Later(cause)),
            Err(OfferError::Refused(cause)) => {
                self.receiver().take_down(order.id, &Sighting::Closed).await?;
                Err(OrderError::Refused(cause))
            }
        }
    }

    /// The platform knows it now. A callback may have been faster.
    async fn prepared(&self, order: Order) -> Result<Order, OrderError> {
        let from = order.state;
        let state = match from.next(Signal::Prepared) {
            Ok(Step::To(state)) => state,
            Ok(Step::Stay) | Err(_) => from,
        };
        let order = Order { state, due_at: Some(now() + millis(self.options.first_look)), ..order };
        let is_stored = self
            .database
            .retry(|| async {
                let tx = self.database.begin().await?;
                let is_stored = rows::move_order(&tx, from, &order).await?;
                self.database.commit(tx).await?;
                Ok::<_, db::Error>(is_stored)
            })
            .await?;
        if is_stored {
            info!(order = %order.id, rail = order.rail.as_str(), "order waits for its payer");
            return Ok(order);
        }
        self.database.retry(|| self.database.find_order(order.id)).await?.ok_or(OrderError::NotFound)
    }

    /// What can be done with refunds.
    pub(super) fn refunder(&self) -> refunds::Refunder {
        refunds::Refunder { orders: self.clone() }
    }
}

/// Older open orders do not count against a user.
const DAY: Millis = 86_400_000;
