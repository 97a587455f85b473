//! WeChat Pay v3 as a rail.

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::json;

use super::bill::{BillError, BillLine, BillRefund, Collected};
use super::{Buyer, Collector, Offer, OfferError, Payment, RailError, RefundError, RefundSighting, Sighting};
use crate::clock::now;
use crate::domain::Millis;
use crate::domain::money::{Fen, Order, OutRefundNo, OutTradeNo, Prepared, Refund, RefundId, RefundState};
use crate::wechat::pay::bill::TradeRow;
use crate::wechat::pay::{
    self, Merchant, PayError, Prepay, RefundNotice, RefundRequest, TradeState, Transaction,
};
use crate::wechat::platform::{Logistics, OrderKey, Shipping, ShippingError};
use crate::wechat::{CallError, Platform};

/// A `prepay_id` is good for two hours (FACTS §3.4); the payer needs some of them.
const PREPARED_FOR: Millis = 100 * 60_000;

/// WeChat Pay v3 with one merchant.
#[derive(Debug)]
pub struct WechatPay {
    merchant: Merchant,
    /// Tells the platform of services that were given, where the mini program's category asks for it.
    shipping: Option<Platform>,
    max_bill_rows: usize,
}

impl WechatPay {
    /// A rail over `merchant`; with `shipping`, the platform is told what was given (FACTS §3.9).
    pub fn new(merchant: Merchant, shipping: Option<Platform>, max_bill_rows: usize) -> Self {
        Self { merchant, shipping, max_bill_rows }
    }

    /// What a transaction says of an order, if it is of our app and merchant.
    pub fn sighting(merchant: &Merchant, transaction: &Transaction) -> Sighting {
        let is_ours =
            transaction.merchant_id == merchant.merchant_id() && transaction.app_id == merchant.app_id();
        match &transaction.state {
            _ if !is_ours => Sighting::Odd("another_merchant"),
            TradeState::NotPaid | TradeState::Paying => Sighting::Unpaid,
            TradeState::Closed => Sighting::Closed,
            TradeState::Refund => Sighting::Refunded,
            TradeState::Success => payment(transaction),
            TradeState::Other(_) => Sighting::Odd("strange_trade_state"),
        }
    }

    /// What a callback says of a refund, if it is of our merchant.
    pub fn refund_sighting(merchant: &Merchant, notice: &RefundNotice) -> Option<(RefundId, RefundSighting)> {
        let id = OutRefundNo::refund(&notice.out_refund_no)?;
        let is_ours = notice.merchant_id == merchant.merchant_id();
        is_ours.then(|| (id, refund(&notice.state, notice.amount.refund_fen)))
    }

    async fn prepay(&self, order: &Order, buyer: &Buyer) -> Result<Prepared, OfferError> {
        if let Some(prepared) = &order.prepared
            && now() < prepared.at + PREPARED_FOR
        {
            return Ok(prepared.clone());
        }
        // A repeat has to say the very same: all of it is the order's own.
        let name = order.out_trade_no();
        let prepay = Prepay {
            out_trade_no: name.as_str(),
            description: &order.title,
            total_fen: order.price.get(),
            payer: order.payer.as_ref().unwrap_or(&buyer.openid),
            attach: None,
            expires_at: Timestamp::from_millisecond(order.expires_at).ok(),
        };
        let prepay_id = self.merchant.prepay(&prepay).await.map_err(offer_error)?;
        Ok(Prepared { prepay_id, at: now() })
    }
}

impl Collector for WechatPay {
    fn offer<'a>(&'a self, order: &'a Order, buyer: &'a Buyer) -> BoxFuture<'a, Result<Offer, OfferError>> {
        Box::pin(async move {
            let prepared = self.prepay(order, buyer).await?;
            let parameters = json!(self.merchant.pay_params(&prepared.prepay_id));
            Ok(Offer { prepared: Some(prepared), parameters })
        })
    }

    fn look_up<'a>(&'a self, order: &'a Order) -> BoxFuture<'a, Result<Sighting, RailError>> {
        Box::pin(async move {
            match self.merchant.query(order.out_trade_no().as_str()).await {
                Ok(found) if found.out_trade_no == order.out_trade_no().as_str() => {
                    Ok(Self::sighting(&self.merchant, &found))
                }
                Ok(_) => Ok(Sighting::Odd("another_order")),
                Err(PayError::NotFound(_)) => Ok(Sighting::Absent),
                Err(PayError::Paying(_)) => Ok(Sighting::Unpaid),
                Err(error) => Err(rail_error(error)),
            }
        })
    }

    fn close<'a>(&'a self, order: &'a Order) -> BoxFuture<'a, Result<bool, RailError>> {
        Box::pin(async move {
            match self.merchant.close(order.out_trade_no().as_str()).await {
                Ok(()) | Err(PayError::Closed(_) | PayError::NotFound(_)) => Ok(true),
                // Paid this moment: the next look finds it.
                Err(error @ (PayError::AlreadyUsed(_) | PayError::Refused(_))) => {
                    Err(RailError::Later(error.into()))
                }
                Err(error) => Err(rail_error(error)),
            }
        })
    }

    fn tell_given<'a>(&'a self, order: &'a Order) -> BoxFuture<'a, Result<(), RailError>> {
        Box::pin(async move {
            let (Some(platform), Some(payer), Some(transaction)) =
                (&self.shipping, &order.payer, &order.transaction_id)
            else {
                return Ok(());
            };
            let shipping = Shipping {
                order: OrderKey::Transaction(transaction),
                payer,
                logistics: Logistics::Virtual,
                item: &order.title,
                shipped_at: Timestamp::now(),
            };
            match platform.upload_shipping(&shipping).await {
                Ok(()) => Ok(()),
                Err(ShippingError::Platform(CallError::Refused(refusal))) => {
                    Err(RailError::Refused(CallError::Refused(refusal).into()))
                }
                Err(error) => Err(RailError::Later(error.into())),
            }
        })
    }

    fn wants_notice(&self) -> bool {
        self.shipping.is_some()
    }

    fn refund<'a>(
        &'a self,
        order: &'a Order,
        back: &'a Refund,
    ) -> BoxFuture<'a, Result<RefundSighting, RefundError>> {
        Box::pin(async move {
            let (name, refund_name) = (order.out_trade_no(), back.out_refund_no());
            let request = RefundRequest {
                out_trade_no: name.as_str(),
                out_refund_no: refund_name.as_str(),
                refund_fen: back.amount.get(),
                total_fen: order.price.get(),
                reason: Some(back.reason.as_str()).filter(|reason| !reason.is_empty()),
            };
            match self.merchant.refund(&request).await {
                Ok(found) => Ok(refund(&found.state, found.amount.refund_fen)),
                Err(error) if is_final(&error) => Err(RefundError::Refused(error.into())),
                Err(error) => Err(RefundError::Later(error.into())),
            }
        })
    }

    fn look_up_refund<'a>(
        &'a self,
        _: &'a Order,
        back: &'a Refund,
    ) -> BoxFuture<'a, Result<Option<RefundSighting>, RailError>> {
        Box::pin(async move {
            match self.merchant.query_refund(back.out_refund_no().as_str()).await {
                Ok(found) => Ok(Some(refund(&found.state, found.amount.refund_fen))),
                Err(PayError::NotFound(_)) => Ok(None),
                Err(error) => Err(rail_error(error)),
            }
        })
    }

    fn bill(&self, day: Date) -> Option<BoxFuture<'_, Result<Vec<BillLine>, BillError>>> {
        Some(Box::pin(async move {
            let mut lines = Collected::new(self.max_bill_rows);
            let outcome = self.merchant.trade_bill(day, |row| lines.push(bill_line(row))).await;
            match outcome {
                Ok(_) => lines.finish(),
                Err(pay::BillError::Absent) => Ok(Vec::new()),
                Err(pay::BillError::File(error)) => Err(error.into()),
                Err(error) => Err(BillError::Later(error.into())),
            }
        }))
    }
}

fn payment(transaction: &Transaction) -> Sighting {
    let amount = transaction.amount.as_ref();
    if amount.and_then(|amount| amount.currency.as_deref()).is_some_and(|currency| currency != "CNY") {
        return Sighting::Odd("another_currency");
    }
    let amount = amount.and_then(|amount| Fen::new(amount.total_fen));
    let (Some(amount), Some(id)) = (amount, &transaction.transaction_id) else {
        return Sighting::Odd("paid_without_details");
    };
    Sighting::Paid(Payment {
        transaction_id: id.clone(),
        amount,
        payer: transaction.payer_openid().cloned(),
        paid_at: transaction.paid_at.map_or_else(now, Timestamp::as_millisecond),
        is_told: false,
    })
}

fn refund(state: &pay::RefundState, fen: i64) -> RefundSighting {
    let state = match state {
        pay::RefundState::Success => RefundState::Succeeded,
        pay::RefundState::Closed => RefundState::Failed,
        pay::RefundState::Abnormal => RefundState::Abnormal,
        // A word we do not know is not the end.
        pay::RefundState::Processing | pay::RefundState::Other(_) => RefundState::Processing,
    };
    RefundSighting { state, amount: Fen::new(fen) }
}

fn bill_line(row: TradeRow) -> BillLine {
    BillLine {
        order: OutTradeNo::order(&row.out_trade_no),
        name: row.out_trade_no,
        amount_fen: row.total_fen,
        fee_milli_fen: row.fee_milli_fen,
        refund: row.refund.map(|part| BillRefund {
            refund: OutRefundNo::refund(&part.out_refund_no),
            name: part.out_refund_no,
            amount_fen: part.refund_fen,
        }),
    }
}

fn offer_error(error: PayError) -> OfferError {
    match error {
        PayError::AlreadyUsed(_) => OfferError::Paid,
        PayError::Closed(_) => OfferError::Closed,
        error @ (PayError::Invalid(_) | PayError::Refused(_)) => OfferError::Refused(error.into()),
        error => OfferError::Later(error.into()),
    }
}

fn rail_error(error: PayError) -> RailError {
    match error {
        error @ (PayError::Invalid(_) | PayError::Refused(_)) => RailError::Refused(error.into()),
        error => RailError::Later(error.into()),
    }
}

/// A refund that is too old, too large or of an order that is not there will never be done (FACTS §3.7).
fn is_final(error: &PayError) -> bool {
    matches!(error, PayError::Invalid(_) | PayError::NotFound(_) | PayError::Refused(_))
}
