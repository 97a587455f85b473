//! What platforms tell us unasked. A word that is signed counts; any other is only a reason to ask.

use tracing::warn;

use super::orders::{OrderError, Orders};
use super::rails::{Sighting, WechatPay};
use super::receive::ReceiveError;
use crate::domain::money::{Order, OrderId, OrderState, OutTradeNo};
use crate::wechat::events::{Delivery, RefundEnded};
use crate::wechat::pay::{CallbackEvent, Merchant, RefundNotice, Transaction};

/// Why a platform's word was not taken: it shall say it again.
#[derive(Debug, thiserror::Error)]
pub enum ToldError {
    /// It names nothing of ours.
    #[error("the platform names nothing of ours")]
    Unknown,
    /// Asked, the platform does not confirm it (yet), or does not answer.
    #[error("the platform does not confirm it")]
    Unconfirmed(#[source] OrderError),
    /// It says otherwise when it is asked.
    #[error("the platform says otherwise when it is asked")]
    NotSo,
    /// It was not taken down, or it is not known.
    #[error(transparent)]
    Database(#[from] crate::db::Error),
}

impl From<OrderError> for ToldError {
    fn from(error: OrderError) -> Self {
        match error {
            OrderError::NotFound => Self::Unknown,
            OrderError::Database(error) => Self::Database(error),
            error => Self::Unconfirmed(error),
        }
    }
}

impl From<ReceiveError> for ToldError {
    fn from(error: ReceiveError) -> Self {
        OrderError::from(error).into()
    }
}

impl Orders {
    /// Takes down a callback of WeChat Pay v3 whose signature was checked.
    ///
    /// # Errors
    /// See [`ToldError`].
    pub async fn called_back(&self, merchant: &Merchant, event: &CallbackEvent) -> Result<(), ToldError> {
        match event {
            CallbackEvent::Payment(transaction) => self.payment_told(merchant, transaction).await,
            CallbackEvent::Refund(notice) => self.refund_notice(merchant, notice).await,
            CallbackEvent::Other(_) => {
                warn!("callback of an unknown type");
                Ok(())
            }
        }
    }

    async fn payment_told(&self, merchant: &Merchant, transaction: &Transaction) -> Result<(), ToldError> {
        let order = OutTradeNo::order(&transaction.out_trade_no).ok_or(ToldError::Unknown)?;
        let word = WechatPay::sighting(merchant, transaction);
        self.told(order, &word).await?;
        Ok(())
    }

    async fn refund_notice(&self, merchant: &Merchant, notice: &RefundNotice) -> Result<(), ToldError> {
        let (id, word) = WechatPay::refund_sighting(merchant, notice).ok_or(ToldError::Unknown)?;
        self.refund_told(id, word).await?;
        Ok(())
    }

    /// Asks about the order that an unsigned callback names, and takes the answer down.
    ///
    /// # Errors
    /// See [`ToldError`].
    pub async fn hinted(&self, out_trade_no: &str) -> Result<(), ToldError> {
        self.confirmed(out_trade_no).await?;
        Ok(())
    }

    /// Somebody paid for virtual goods, says an event. Good when the platform confirms it and the goods are given: then
    /// the event may be answered as delivered.
    ///
    /// # Errors
    /// See [`ToldError`].
    pub async fn delivery_wanted(&self, delivery: &Delivery) -> Result<(), ToldError> {
        let order = self.confirmed(&delivery.out_trade_no).await?;
        match order.state {
            OrderState::Fulfilled | OrderState::Refunding | OrderState::Refunded => Ok(()),
            _ => Err(ToldError::NotSo),
        }
    }

    /// Money of virtual goods went back, says an event: by our wish or, on iOS, by Apple's.
    ///
    /// # Errors
    /// See [`ToldError`].
    pub async fn refund_ended(&self, ended: &RefundEnded) -> Result<(), ToldError> {
        let name = ended.order_id.as_deref().ok_or(ToldError::Unknown)?;
        let id = OutTradeNo::order(name).ok_or(ToldError::Unknown)?;
        let order = self.find_any(id).await?;
        let Some(refund) = self
            .database
            .retry(|| self.database.refunds_of(id))
            .await?
            .into_iter()
            .find(|refund| !refund.state.is_ended())
        else {
            return self.refunded_unasked(&order).await;
        };
        self.refunder().push(&refund).await?;
        Ok(())
    }

    async fn refunded_unasked(&self, order: &Order) -> Result<(), ToldError> {
        let word = self.rail(order.rail)?.look_up(order).await.map_err(OrderError::from)?;
        match word {
            Sighting::Refunded if order.state.was_paid() => {
                self.refunded_elsewhere(order.id).await.map_err(|error| match error {
                    super::RequestError::Database(error) => ToldError::Database(error),
                    _ => ToldError::NotSo,
                })
            }
            word => {
                self.told(order.id, &word).await?;
                Ok(())
            }
        }
    }

    async fn confirmed(&self, out_trade_no: &str) -> Result<Order, ToldError> {
        let id = OutTradeNo::order(out_trade_no).ok_or(ToldError::Unknown)?;
        Ok(self.ask(id).await?)
    }

    async fn find_any(&self, id: OrderId) -> Result<Order, OrderError> {
        self.database.retry(|| self.database.find_order(id)).await?.ok_or(OrderError::NotFound)
    }
}
