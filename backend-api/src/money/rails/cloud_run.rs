//! The simplified pay of Cloud Run as a rail: the platform's side-car holds the keys. Its callback is unsigned, so it is
//! only a reason to ask.

use futures_util::future::BoxFuture;

use super::{Buyer, Collector, Offer, OfferError, Payment, RailError, RefundError, RefundSighting, Sighting};
use crate::clock::now;
use crate::domain::money::{Fen, Order, Refund, RefundState};
use crate::wechat::CallError;
use crate::wechat::cloud_run_pay::{self, CloudRunPay, Queried, RefundOrder};

/// The side-car asks for an address of the payer; the payer's own is not known behind the platform.
const CLIENT_IP: &str = "127.0.0.1";

/// The simplified pay with one merchant.
#[derive(Debug)]
pub struct CloudRun {
    pay: CloudRunPay,
}

impl CloudRun {
    /// A rail over the side-car.
    pub fn new(pay: CloudRunPay) -> Self {
        Self { pay }
    }
}

impl Collector for CloudRun {
    fn offer<'a>(&'a self, order: &'a Order, buyer: &'a Buyer) -> BoxFuture<'a, Result<Offer, OfferError>> {
        Box::pin(async move {
            let name = order.out_trade_no();
            let made = cloud_run_pay::Order {
                out_trade_no: name.as_str(),
                description: &order.title,
                total_fen: order.price.get(),
                payer: order.payer.as_ref().unwrap_or(&buyer.openid),
                client_ip: CLIENT_IP,
            };
            match self.pay.order(&made).await {
                Ok(payment) => Ok(Offer { prepared: None, parameters: payment.0 }),
                Err(cloud_run_pay::Error::AlreadyPaid) => Err(OfferError::Paid),
                Err(error) if is_final(&error) => Err(OfferError::Refused(error.into())),
                Err(error) => Err(OfferError::Later(error.into())),
            }
        })
    }

    fn look_up<'a>(&'a self, order: &'a Order) -> BoxFuture<'a, Result<Sighting, RailError>> {
        Box::pin(async move {
            match self.pay.query(order.out_trade_no().as_str()).await {
                Ok(found) => Ok(sighting(order, found)),
                Err(cloud_run_pay::Error::NotFound) => Ok(Sighting::Absent),
                Err(error) => Err(rail_error(error)),
            }
        })
    }

    fn close<'a>(&'a self, order: &'a Order) -> BoxFuture<'a, Result<bool, RailError>> {
        Box::pin(async move {
            match self.pay.close(order.out_trade_no().as_str()).await {
                Ok(()) | Err(cloud_run_pay::Error::NotFound) => Ok(true),
                Err(error @ cloud_run_pay::Error::AlreadyPaid) => Err(RailError::Later(error.into())),
                Err(error) => Err(rail_error(error)),
            }
        })
    }

    fn tell_given<'a>(&'a self, _: &'a Order) -> BoxFuture<'a, Result<(), RailError>> {
        Box::pin(async { Ok(()) })
    }

    fn wants_notice(&self) -> bool {
        false
    }

    fn refund<'a>(
        &'a self,
        order: &'a Order,
        refund: &'a Refund,
    ) -> BoxFuture<'a, Result<RefundSighting, RefundError>> {
        Box::pin(async move {
            let (name, refund_name) = (order.out_trade_no(), refund.out_refund_no());
            let asked = RefundOrder {
                out_trade_no: name.as_str(),
                out_refund_no: refund_name.as_str(),
                total_fen: order.price.get(),
                refund_fen: refund.amount.get(),
                reason: &refund.reason,
            };
            match self.pay.refund(&asked).await {
                Ok(()) => Ok(RefundSighting { state: RefundState::Processing, amount: None }),
                Err(error) if is_final(&error) => Err(RefundError::Refused(error.into())),
                Err(error) => Err(RefundError::Later(error.into())),
            }
        })
    }

    fn look_up_refund<'a>(
        &'a self,
        _: &'a Order,
        refund: &'a Refund,
    ) -> BoxFuture<'a, Result<Option<RefundSighting>, RailError>> {
        Box::pin(async move {
            match self.pay.query_refund(refund.out_refund_no().as_str()).await {
                Ok(found) => {
                    let state = match found.state.as_str() {
                        "SUCCESS" => RefundState::Succeeded,
                        "REFUNDCLOSE" => RefundState::Failed,
                        "CHANGE" => RefundState::Abnormal,
                        _ => RefundState::Processing,
                    };
                    Ok(Some(RefundSighting { state, amount: found.refund_fen.and_then(Fen::new) }))
                }
                Err(cloud_run_pay::Error::NotFound) => Ok(None),
                Err(error) => Err(rail_error(error)),
            }
        })
    }
}

fn sighting(order: &Order, found: Queried) -> Sighting {
    if found.out_trade_no != order.out_trade_no().as_str() {
        return Sighting::Odd("another_order");
    }
    match found.trade_state.as_str() {
        "NOTPAY" | "USERPAYING" => Sighting::Unpaid,
        "CLOSED" | "REVOKED" => Sighting::Closed,
        "REFUND" => Sighting::Refunded,
        "SUCCESS" => match (found.transaction_id, found.total_fen.and_then(Fen::new)) {
            (Some(transaction_id), Some(amount)) => {
                Sighting::Paid(Payment { transaction_id, amount, payer: None, paid_at: now(), is_told: true })
            }
            _ => Sighting::Odd("paid_without_details"),
        },
        _ => Sighting::Odd("strange_trade_state"),
    }
}

fn is_final(error: &cloud_run_pay::Error) -> bool {
    use cloud_run_pay::Error::{Platform, Refused};
    matches!(error, Refused { code, .. } if code != "SYSTEMERROR")
        || matches!(error, Platform(CallError::Refused(_)))
}

fn rail_error(error: cloud_run_pay::Error) -> RailError {
    if is_final(&error) { RailError::Refused(error.into()) } else { RailError::Later(error.into()) }
}
