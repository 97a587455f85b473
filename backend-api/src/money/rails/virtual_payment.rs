//! Virtual payment as a rail: credits are sold by it alone (FACTS §4). The client pays with data that we sign; nothing
//! is credited before the platform confirms the order when asked.

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::json;

use super::bill::{BillError, BillLine, BillRefund, Collected};
use super::{Buyer, Collector, Offer, OfferError, Payment, RailError, RefundError, RefundSighting, Sighting};
use crate::clock::now;
use crate::domain::OpenId;
use crate::domain::money::{Fen, Order, OutRefundNo, OutTradeNo, Refund, RefundState};
use crate::wechat::CallError;
use crate::wechat::xpay::{
    self, BillRow, DeliveredBy, OrderStatus, Purchase, RefundOrder, Virtual, VirtualError, VirtualOrder, What,
};

/// Why money goes back, and who asked for it, in the platform's numbers: "other" and "the merchant's support".
const REASON_OTHER: u8 = 5;
const ASKED_BY_SUPPORT: u8 = 1;
/// The platform finds a parameter wrong: of a query, that it knows no such order.
const UNKNOWN_PARAMETER: i64 = 268_490_002;

/// Virtual payment in one environment.
#[derive(Debug)]
pub struct VirtualPayment {
    xpay: Virtual,
}

impl VirtualPayment {
    /// A rail over the platform's virtual payment.
    pub fn new(xpay: Virtual) -> Self {
        Self { xpay }
    }

    async fn find(&self, order: &Order) -> Result<Option<VirtualOrder>, RailError> {
        let Some(payer) = &order.payer else {
            return Err(RailError::Refused("the payer was forgotten with the account".into()));
        };
        match self.xpay.query_order(payer, order.out_trade_no().as_str()).await {
            Ok(found) => Ok(Some(found)),
            Err(VirtualError::Platform(error)) if error.code() == Some(UNKNOWN_PARAMETER) => Ok(None),
            Err(error) => Err(rail_error(error)),
        }
    }
}

impl Collector for VirtualPayment {
    fn offer<'a>(&'a self, order: &'a Order, buyer: &'a Buyer) -> BoxFuture<'a, Result<Offer, OfferError>> {
        Box::pin(async move {
            let key = buyer.session_key.as_ref().ok_or(OfferError::LoginAgain)?;
            let name = order.out_trade_no();
            let purchase = Purchase {
                out_trade_no: name.as_str(),
                what: What::Goods { product: order.item.as_str(), price_fen: order.price.get() },
                quantity: 1,
                attach: "",
            };
            Ok(Offer { prepared: None, parameters: json!(self.xpay.sign_purchase(&purchase, key)) })
        })
    }

    fn look_up<'a>(&'a self, order: &'a Order) -> BoxFuture<'a, Result<Sighting, RailError>> {
        Box::pin(async move {
            match self.find(order).await? {
                Some(found) => Ok(sighting(order, &found)),
                None => Ok(Sighting::Absent),
            }
        })
    }

    fn close<'a>(&'a self, _: &'a Order) -> BoxFuture<'a, Result<bool, RailError>> {
        Box::pin(async { Ok(false) }) // the platform has no such call
    }

    fn tell_given<'a>(&'a self, order: &'a Order) -> BoxFuture<'a, Result<(), RailError>> {
        Box::pin(async move {
            let name = order.out_trade_no();
            match self.xpay.notify_provide_goods(DeliveredBy::OrderId(name.as_str())).await {
                Ok(()) | Err(VirtualError::AlreadyDone) => Ok(()),
                Err(error) => Err(rail_error(error)),
            }
        })
    }

    fn wants_notice(&self) -> bool {
        true
    }

    fn refund<'a>(
        &'a self,
        order: &'a Order,
        refund: &'a Refund,
    ) -> BoxFuture<'a, Result<RefundSighting, RefundError>> {
        Box::pin(async move {
            let found = match self.find(order).await {
                Ok(Some(found)) => found,
                Ok(None) => return Err(RefundError::Refused("the platform does not know the order".into())),
                Err(RailError::Later(cause)) => return Err(RefundError::Later(cause)),
                Err(RailError::Refused(cause)) => return Err(RefundError::Refused(cause)),
            };
            if found.status == OrderStatus::Refunded {
                return Ok(refund_sighting(&found));
            }
            match self.ask_back(order.payer.as_ref(), order, refund, &found).await {
                Ok(()) | Err(VirtualError::AlreadyDone) => {
                    Ok(RefundSighting { state: RefundState::Processing, amount: None })
                }
                Err(error @ VirtualError::Platform(CallError::Refused(_))) => {
                    Err(RefundError::Refused(error.into()))
                }
                Err(error) => Err(RefundError::Later(error.into())),
            }
        })
    }

    fn look_up_refund<'a>(
        &'a self,
        order: &'a Order,
        _: &'a Refund,
    ) -> BoxFuture<'a, Result<Option<RefundSighting>, RailError>> {
        Box::pin(async move { Ok(self.find(order).await?.map(|found| refund_sighting(&found))) })
    }

    fn bill(&self, day: Date) -> Option<BoxFuture<'_, Result<Vec<BillLine>, BillError>>> {
        let options = self.xpay.bills()?;
        Some(Box::pin(async move {
            let mut lines = Collected::new(options.max_rows);
            match self.xpay.bill(day, options, |row| lines.push(bill_line(row))).await {
                Ok(_) => lines.finish(),
                Err(xpay::BillError::File(error)) => Err(error.into()),
                Err(error) => Err(BillError::Later(error.into())),
            }
        }))
    }
}

impl VirtualPayment {
    async fn ask_back(
        &self,
        payer: Option<&OpenId>,
        order: &Order,
        refund: &Refund,
        found: &VirtualOrder,
    ) -> Result<(), VirtualError> {
        let openid = payer.ok_or(VirtualError::UserUnknown)?;
        let (name, refund_name) = (order.out_trade_no(), refund.out_refund_no());
        let asked = RefundOrder {
            openid,
            order_id: name.as_str(),
            refund_order_id: refund_name.as_str(),
            left_fen: found.left_fen.unwrap_or(order.price.get()),
            refund_fen: refund.amount.get(),
            reason: REASON_OTHER,
            requested_by: ASKED_BY_SUPPORT,
        };
        self.xpay.refund_order(&asked).await
    }
}

fn sighting(order: &Order, found: &VirtualOrder) -> Sighting {
    if found.order_id != order.out_trade_no().as_str() {
        return Sighting::Odd("another_order");
    }
    match found.status {
        OrderStatus::Initial | OrderStatus::Created => Sighting::Unpaid,
        OrderStatus::Closed => Sighting::Closed,
        OrderStatus::Refunded => Sighting::Refunded,
        OrderStatus::Paid | OrderStatus::Delivering | OrderStatus::Delivered | OrderStatus::RefundFailed => {
            payment(found)
        }
        OrderStatus::Other(_) => Sighting::Odd("strange_order_status"),
    }
}

fn payment(found: &VirtualOrder) -> Sighting {
    let id = found.wx_order_id.as_ref().or(found.wxpay_order_id.as_ref());
    let (Some(id), Some(amount)) = (id, Fen::new(found.order_fen)) else {
        return Sighting::Odd("paid_without_details");
    };
    Sighting::Paid(Payment {
        transaction_id: id.clone(),
        amount,
        payer: None, // the query was made in the payer's name
        paid_at: found.paid_at.map_or_else(now, Timestamp::as_millisecond),
        is_told: found.status == OrderStatus::Delivered,
    })
}

fn refund_sighting(found: &VirtualOrder) -> RefundSighting {
    let state = match found.status {
        OrderStatus::Refunded => RefundState::Succeeded,
        OrderStatus::RefundFailed => RefundState::Failed,
        _ => RefundState::Processing,
    };
    RefundSighting { state, amount: None }
}

fn bill_line(row: BillRow) -> BillLine {
    BillLine {
        order: OutTradeNo::order(&row.order_id),
        name: row.order_id,
        amount_fen: row.total_fen,
        fee_milli_fen: row.fee_milli_fen,
        refund: row.refund.map(|(name, amount_fen)| BillRefund {
            refund: OutRefundNo::refund(&name),
            name,
            amount_fen,
        }),
    }
}

fn rail_error(error: VirtualError) -> RailError {
    match error {
        error @ VirtualError::Platform(CallError::Refused(_)) => RailError::Refused(error.into()),
        error => RailError::Later(error.into()),
    }
}
