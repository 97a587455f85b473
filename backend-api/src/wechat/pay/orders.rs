//! Orders: made, asked about, closed (FACTS 3.4, 3.5, 3.7).

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::call::Call;
use super::sign::{ClientParameters, Stamp, client_parameters};
use super::{Merchant, PayError, beijing};
use crate::domain::OpenId;

const CURRENCY: &str = "CNY";

/// An order as it is made. A repeat has to say the very same, or it is refused.
#[derive(Debug, Clone)]
pub struct Prepay<'a> {
    /// Ours: 6–32 of `[0-9A-Za-z_\-|*]`, unique for the merchant.
    pub out_trade_no: &'a str,
    /// What the payer sees, up to 127 characters.
    pub description: &'a str,
    /// More than 0.
    pub total_fen: i64,
    /// Who pays, under our app.
    pub payer: &'a OpenId,
    /// Comes back with every word about the order; up to 128 bytes.
    pub attach: Option<&'a str>,
    /// After this it cannot be paid.
    pub expires_at: Option<Timestamp>,
}

impl Prepay<'_> {
    fn body(&self, merchant: &Merchant) -> Value {
        let options = &merchant.inner.options;
        let mut body = json!({
            "appid": options.app_id, "mchid": options.merchant_id,
            "description": self.description, "out_trade_no": self.out_trade_no,
            "notify_url": options.notify_url.as_str(),
            "amount": { "total": self.total_fen, "currency": CURRENCY },
            "payer": { "openid": self.payer },
        });
        if let Some(attach) = self.attach {
            body["attach"] = attach.into();
        }
        if let Some(at) = self.expires_at {
            body["time_expire"] = beijing(at).into();
        }
        body
    }
}

/// Where an order stands.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum TradeState {
    /// Made, not paid.
    NotPaid,
    /// Paid.
    Success,
    /// Closed; it will not be paid.
    Closed,
    /// Paid, and refunded in whole or part.
    Refund,
    /// The payer is at it.
    Paying,
    /// Something else, as the platform says it.
    Other(String),
}

impl From<String> for TradeState {
    fn from(word: String) -> Self {
        match word.as_str() {
            "NOTPAY" => Self::NotPaid,
            "SUCCESS" => Self::Success,
            "CLOSED" => Self::Closed,
            "REFUND" => Self::Refund,
            "USERPAYING" => Self::Paying,
            _ => Self::Other(word),
        }
    }
}

/// An order as the platform has it.
#[derive(Debug, Clone, Deserialize)]
pub struct Transaction {
    /// In which app.
    #[serde(rename = "appid", default)]
    pub app_id: String,
    /// Whose.
    #[serde(rename = "mchid")]
    pub merchant_id: String,
    /// Our number.
    pub out_trade_no: String,
    /// The platform's number, of orders that were paid.
    #[serde(default)]
    pub transaction_id: Option<String>,
    /// Where it stands.
    #[serde(rename = "trade_state")]
    pub state: TradeState,
    /// When it was paid.
    #[serde(rename = "success_time", default)]
    pub paid_at: Option<Timestamp>,
    /// What we attached.
    #[serde(default)]
    pub attach: Option<String>,
    /// Who paid.
    #[serde(default)]
    pub payer: Option<Payer>,
    /// How much.
    #[serde(default)]
    pub amount: Option<TransactionAmount>,
}

impl Transaction {
    /// Who paid, if it was paid.
    pub fn payer_openid(&self) -> Option<&OpenId> {
        self.payer.as_ref()?.openid.as_ref()
    }
}

/// Who paid.
#[derive(Debug, Clone, Deserialize)]
pub struct Payer {
    /// Under our app.
    #[serde(default)]
    pub openid: Option<OpenId>,
}

/// Fen, of which the payer may have paid less: the platform's own coupons make up the difference.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TransactionAmount {
    /// The price of the order.
    #[serde(rename = "total")]
    pub total_fen: i64,
    /// What the payer paid of it.
    #[serde(rename = "payer_total", default)]
    pub payer_total_fen: Option<i64>,
    /// `CNY`.
    #[serde(default)]
    pub currency: Option<String>,
}

impl Merchant {
    /// Makes an order; gives its `prepay_id`, which counts for two hours. Then call again, saying the very same.
    ///
    /// # Errors
    /// See [`PayError`].
    pub async fn prepay(&self, order: &Prepay<'_>) -> Result<String, PayError> {
        #[derive(Deserialize)]
        struct Answer {
            prepay_id: String,
        }
        let call = Call::post(&["v3", "pay", "transactions", "jsapi"], &order.body(self));
        Ok(self.call::<Answer>(&call).await?.prepay_id)
    }

    /// What the mini program needs to have the order paid now.
    pub fn pay_params(&self, prepay_id: &str) -> ClientParameters {
        client_parameters(self.app_id(), prepay_id, &self.inner.key, &Stamp::now())
    }

    /// An order by our number.
    ///
    /// # Errors
    /// [`PayError::NotFound`] if it was never made; see [`PayError`].
    pub async fn query(&self, out_trade_no: &str) -> Result<Transaction, PayError> {
        let path = ["v3", "pay", "transactions", "out-trade-no", out_trade_no];
        self.call(&Call::get(&path).with("mchid", self.merchant_id())).await
    }

    /// An order by the platform's number, which only paid ones have.
    ///
    /// # Errors
    /// As for [`Self::query`].
    pub async fn query_transaction(&self, transaction_id: &str) -> Result<Transaction, PayError> {
        let path = ["v3", "pay", "transactions", "id", transaction_id];
        self.call(&Call::get(&path).with("mchid", self.merchant_id())).await
    }

    /// Closes an order that is not paid, five minutes after it was made or later. Repeating it is harmless.
    ///
    /// # Errors
    /// [`PayError::AlreadyUsed`] if it was paid; see [`PayError`].
    pub async fn close(&self, out_trade_no: &str) -> Result<(), PayError> {
        let path = ["v3", "pay", "transactions", "out-trade-no", out_trade_no, "close"];
        self.command(&Call::post(&path, &json!({ "mchid": self.merchant_id() }))).await
    }
}
