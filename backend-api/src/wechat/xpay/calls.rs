//! Calls to `/xpay/…` (FACTS 4.11).

use jiff::Timestamp;
use jiff::civil::Date;
use reqwest::Url;
use secrecy::SecretString;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::{Virtual, VirtualError, pay_signature, user_signature};
use crate::domain::OpenId;
use crate::wechat::lenient;
use crate::wechat::platform::Call;

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderStatus {
    /// Begun.
    Initial,
    /// Made, not paid.
    Created,
    /// Paid, to be delivered.
    Paid,
    /// Being delivered.
    Delivering,
    /// Delivered.
    Delivered,
    /// The money went back.
    Refunded,
    /// Closed; it will not be paid.
    Closed,
    /// The money should have gone back and did not.
    RefundFailed,
    /// Something else, as the platform counts it.
    Other(i64),
}

impl From<i64> for OrderStatus {
    fn from(number: i64) -> Self {
        match number {
            0 => Self::Initial,
            1 => Self::Created,
            2 => Self::Paid,
            3 => Self::Delivering,
            4 => Self::Delivered,
            5 => Self::Refunded,
            6 => Self::Closed,
            7 => Self::RefundFailed,
            other => Self::Other(other),
        }
    }
}

impl OrderStatus {
    /// Whether the person has paid and the money is still ours.
    pub fn is_paid(self) -> bool {
        matches!(self, Self::Paid | Self::Delivering | Self::Delivered)
    }
}

/// An order as the platform has it.
#[derive(Debug, Clone, Deserialize)]
pub struct VirtualOrder {
    /// Our number.
    pub order_id: String,
    /// The platform's number.
    #[serde(default, deserialize_with = "lenient::optional_text")]
    pub wx_order_id: Option<String>,
    /// The payment's number, where there is one.
    #[serde(default, deserialize_with = "lenient::optional_text")]
    pub wxpay_order_id: Option<String>,
    /// Where it stands.
    #[serde(deserialize_with = "status")]
    pub status: OrderStatus,
    /// The price.
    #[serde(rename = "order_fee", deserialize_with = "lenient::integer")]
    pub order_fen: i64,
    /// What was paid of it.
    #[serde(rename = "paid_fee", default, deserialize_with = "lenient::optional_integer")]
    pub paid_fen: Option<i64>,
    /// What can still go back.
    #[serde(rename = "left_fee", default, deserialize_with = "lenient::optional_integer")]
    pub left_fen: Option<i64>,
    /// When it was paid.
    #[serde(rename = "paid_time", default, deserialize_with = "seconds")]
    pub paid_at: Option<Timestamp>,
    /// 0 or 1 as in [`super::Environment::number`] (the numbers of this field are from memory: 1 and 2 were seen, too).
    #[serde(default, deserialize_with = "lenient::optional_integer")]
    pub env_type: Option<i64>,
}

fn status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<OrderStatus, D::Error> {
    lenient::integer(deserializer).map(OrderStatus::from)
}

/// Seconds since the epoch; 0 is never.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let seconds = lenient::optional_integer(deserializer)?;
    Ok(seconds.filter(|seconds| *seconds != 0).and_then(|seconds| Timestamp::from_second(seconds).ok()))
}

/// What a person has of the app's own currency.
#[derive(Debug, Clone, Deserialize)]
pub struct Balance {
    /// All of it.
    #[serde(deserialize_with = "lenient::integer")]
    pub balance: i64,
    /// What of it was a present.
    #[serde(default, deserialize_with = "lenient::optional_integer")]
    pub present_balance: Option<i64>,
}

/// A refund as it is asked for; a repeat uses the same number. Orders of iOS cannot be refunded: Apple decides.
#[derive(Debug, Clone)]
pub struct RefundOrder<'a> {
    /// Whose order.
    pub openid: &'a OpenId,
    /// Our number of the order.
    pub order_id: &'a str,
    /// Our number of the refund: 8–32 characters.
    pub refund_order_id: &'a str,
    /// What can still go back, as [`VirtualOrder::left_fen`] says.
    pub left_fen: i64,
    /// What goes back.
    pub refund_fen: i64,
    /// Why, by the platform's numbers: 0 none, 1 product, 2 after-sales, 3 wish, 4 price, 5 other (from memory).
    pub reason: u8,
    /// Who asked, by the platform's numbers: 1 support, 2 the person, 3 other (from memory).
    pub requested_by: u8,
}

/// Which number names an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveredBy<'a> {
    /// Ours.
    OrderId(&'a str),
    /// The platform's.
    WxOrderId(&'a str),
}

impl Virtual {
    /// An order by our number. The event of a payment counts only when this agrees.
    ///
    /// # Errors
    /// See [`VirtualError`].
    pub async fn query_order(&self, openid: &OpenId, order_id: &str) -> Result<VirtualOrder, VirtualError> {
        #[derive(Deserialize)]
        struct Answer {
            order: VirtualOrder,
        }
        let body = json!({ "openid": openid, "env": self.env(), "order_id": order_id });
        Ok(self.call::<Answer>("/xpay/query_order", &body, None).await?.order)
    }

    /// Says that an order was delivered, when the event could not be answered.
    ///
    /// # Errors
    /// [`VirtualError::AlreadyDone`] is as good as done; see [`VirtualError`].
    pub async fn notify_provide_goods(&self, order: DeliveredBy<'_>) -> Result<(), VirtualError> {
        let body = match order {
            DeliveredBy::OrderId(id) => json!({ "order_id": id, "env": self.env() }),
            DeliveredBy::WxOrderId(id) => json!({ "wx_order_id": id, "env": self.env() }),
        };
        self.call::<IgnoredAny>("/xpay/notify_provide_goods", &body, None).await.map(drop)
    }

    /// Asks for a refund; how it ends is told by an event or [`Self::query_order`].
    ///
    /// # Errors
    /// [`VirtualError::AlreadyDone`] is as good as done; see [`VirtualError`].
    pub async fn refund_order(&self, refund: &RefundOrder<'_>) -> Result<(), VirtualError> {
        let body = json!({
            "openid": refund.openid, "env": self.env(), "order_id": refund.order_id,
            "refund_order_id": refund.refund_order_id,
            "left_fee": refund.left_fen, "refund_fee": refund.refund_fen, "biz_meta": "",
            // both are text on the wire
            "refund_reason": refund.reason.to_string(), "req_from": refund.requested_by.to_string(),
        });
        self.call::<IgnoredAny>("/xpay/refund_order", &body, None).await.map(drop)
    }

    /// What a person has of the app's own currency; needs a current session key.
    ///
    /// # Errors
    /// [`VirtualError::LoginAgain`] when the key is old; see [`VirtualError`].
    pub async fn query_user_balance(
        &self,
        openid: &OpenId,
        user_ip: &str,
        session_key: &SecretString,
    ) -> Result<Balance, VirtualError> {
        let body = json!({ "openid": openid, "env": self.env(), "user_ip": user_ip });
        self.call("/xpay/query_user_balance", &body, Some(session_key)).await
    }

    /// Where the bill of these days lies.
    ///
    /// # Errors
    /// [`VirtualError::NotReady`] while it is being made, which the platform tells by a code or by an empty address; see
    /// [`VirtualError`].
    pub async fn download_bill(&self, first: Date, last: Date) -> Result<Url, VirtualError> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default, deserialize_with = "lenient::optional_url")]
            url: Option<Url>,
        }
        // yyyymmdd as a number
        let day = |date: Date| {
            i32::from(date.year()) * 10_000 + i32::from(date.month()) * 100 + i32::from(date.day())
        };
        let body = json!({ "begin_ds": day(first), "end_ds": day(last) });
        let answer = self.call::<Answer>("/xpay/download_bill", &body, None).await?;
        answer.url.ok_or(VirtualError::NotReady)
    }

    fn env(&self) -> u8 {
        self.options.environment.number()
    }

    /// Signs the very bytes that are sent.
    async fn call<T: DeserializeOwned>(
        &self,
        path: &'static str,
        body: &Value,
        session_key: Option<&SecretString>,
    ) -> Result<T, VirtualError> {
        let body = body.to_string().into_bytes();
        let pay_sig = pay_signature(&self.options.app_key, path, &body);
        let signature = session_key.map(|key| user_signature(key, &body));
        let mut call = Call::post(path, body).with("pay_sig", pay_sig);
        if let Some(signature) = signature {
            call = call.with("signature", signature);
        }
        Ok(self.platform.call(&call).await?)
    }
}
