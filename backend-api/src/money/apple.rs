//! Apple asks, through WeChat, whether giving a person's money back would be right (FACTS §4.12). We say what became of
//! the goods; Apple decides.

use super::ledger::Ledger;
use super::orders::Orders;
use crate::db;
use crate::domain::OpenId;
use crate::domain::money::{Credits, Order, OrderId, OrderState, OutTradeNo, Rail};

/// What we know of the goods of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goods {
    /// They were not given.
    NotGiven,
    /// They were taken back, or are being taken back.
    Returned,
    /// They were given, and their owner still has them.
    Unused {
        /// All of them.
        given: Credits,
    },
    /// They were given, and some of them are spent or set aside for pictures that are being made.
    Used {
        /// All of them.
        given: Credits,
        /// Those that are gone.
        used: Credits,
    },
}

impl Goods {
    /// Whether we think that the money should go back: as for our own refunds, only what is not used.
    pub fn favours_refund(self) -> bool {
        !matches!(self, Self::Used { .. })
    }
}

impl Orders {
    /// What is known of the goods of an order of virtual payment, by our number or the platform's; `None`: it is not ours,
    /// or `asker`, where both are known, is not who paid it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn goods(
        &self,
        number: &str,
        asker: Option<&OpenId>,
    ) -> Result<Option<(OrderId, Goods)>, db::Error> {
        let Some(order) = self.named(number).await?.filter(|order| may_ask(order, asker)) else {
            return Ok(None);
        };
        let goods = match order.state {
            OrderState::Fulfilled => self.use_of(&order).await?,
            OrderState::Refunding | OrderState::Refunded => Goods::Returned,
            OrderState::Created
            | OrderState::Prepaid
            | OrderState::Paid
            | OrderState::Closed
            | OrderState::Unknown => Goods::NotGiven,
        };
        Ok(Some((order.id, goods)))
    }

    /// The documentation does not say whose number the question names. Apple has no word in what other rails sold.
    async fn named(&self, number: &str) -> Result<Option<Order>, db::Error> {
        let database = &self.database;
        let is_apples = |order: &Order| order.rail == Rail::Virtual;
        if let Some(id) = OutTradeNo::order(number)
            && let Some(order) = database.retry(|| database.find_order(id)).await?.filter(is_apples)
        {
            return Ok(Some(order));
        }
        Ok(database.retry(|| database.order_paid_by(number)).await?.filter(is_apples))
    }

    /// Credits are alike: what a person has left counts as the order's.
    async fn use_of(&self, order: &Order) -> Result<Goods, db::Error> {
        let left = Ledger::new(self.database.clone()).balance(order.user).await?.available;
        let (given, used) = (order.credits, order.credits.without(order.credits.at_most(left)));
        Ok(if used.is_zero() { Goods::Unused { given } } else { Goods::Used { given, used } })
    }
}

/// The payer of somebody who left is forgotten, and the question may come without an asker.
fn may_ask(order: &Order, asker: Option<&OpenId>) -> bool {
    let asker = asker.filter(|asker| !asker.as_str().is_empty());
    order.payer.as_ref().zip(asker).is_none_or(|(payer, asker)| payer == asker)
}
