//! Telling the platform that an order was fulfilled, without which it keeps the money of some categories (FACTS 3.9).

use jiff::Timestamp;
use jiff::tz::{self, TimeZone};
use serde_json::{Value, json};

use super::{Call, Platform};
use crate::domain::OpenId;
use crate::wechat::CallError;

/// All of it at once, not in parts.
const DELIVERY_WHOLE: u8 = 1;

/// How an order reaches its buyer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Logistics {
    /// By courier.
    Express = 1,
    /// Within the city.
    SameCity = 2,
    /// Nothing is carried: a service, or virtual goods.
    Virtual = 3,
    /// The buyer comes.
    PickUp = 4,
}

/// Which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderKey<'a> {
    /// By the platform's number.
    Transaction(&'a str),
    /// By ours.
    OutTradeNo {
        /// Whose number it is.
        merchant: &'a str,
        /// The number.
        number: &'a str,
    },
}

impl OrderKey<'_> {
    fn json(self) -> Value {
        match self {
            Self::OutTradeNo { merchant, number } => {
                json!({ "order_number_type": 1, "mchid": merchant, "out_trade_no": number })
            }
            Self::Transaction(number) => json!({ "order_number_type": 2, "transaction_id": number }),
        }
    }
}

/// What is told.
#[derive(Debug, Clone)]
pub struct Shipping<'a> {
    /// Which order.
    pub order: OrderKey<'a>,
    /// Who paid it.
    pub payer: &'a OpenId,
    /// How it reached them.
    pub logistics: Logistics,
    /// What it was, in a few words.
    pub item: &'a str,
    /// When.
    pub shipped_at: Timestamp,
}

/// Why the platform did not note it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ShippingError {
    /// It does not know the order (yet): later, then a person should look.
    #[error("the platform does not know the order")]
    OrderUnknown,
    /// Not about this order.
    #[error(transparent)]
    Platform(CallError),
}

impl From<CallError> for ShippingError {
    fn from(error: CallError) -> Self {
        match error.code() {
            Some(10060004) => Self::OrderUnknown,
            _ => Self::Platform(error),
        }
    }
}

impl Platform {
    /// Tells that an order was fulfilled; the platform lets it be corrected once.
    ///
    /// # Errors
    /// See [`ShippingError`].
    pub async fn upload_shipping(&self, shipping: &Shipping<'_>) -> Result<(), ShippingError> {
        let at = shipping.shipped_at.to_zoned(TimeZone::fixed(tz::offset(8)));
        let call = Call::post_json(
            "/wxa/sec/order/upload_shipping_info",
            &json!({
                "order_key": shipping.order.json(),
                "logistics_type": shipping.logistics as u8,
                "delivery_mode": DELIVERY_WHOLE,
                "shipping_list": [{ "item_desc": shipping.item }],
                "upload_time": at.strftime("%Y-%m-%dT%H:%M:%S.%3f%:z").to_string(),
                "payer": { "openid": shipping.payer },
            }),
        );
        self.call::<serde::de::IgnoredAny>(&call).await?;
        Ok(())
    }
}
