//! Money given back (FACTS 3.6, 3.7).

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::call::Call;
use super::{Merchant, PayError};

/// A refund as it is asked for. A repeat uses the same number and says the same.
#[derive(Debug, Clone)]
pub struct RefundRequest<'a> {
    /// Our number of the order.
    pub out_trade_no: &'a str,
    /// Our number of the refund.
    pub out_refund_no: &'a str,
    /// What is given back.
    pub refund_fen: i64,
    /// The price of the order.
    pub total_fen: i64,
    /// What the payer reads.
    pub reason: Option<&'a str>,
}

/// Where a refund stands. Being asked for is not being paid.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum RefundState {
    /// The payer has the money.
    Success,
    /// It will not be done.
    Closed,
    /// Under way.
    Processing,
    /// The payer's account cannot be reached: an operator chooses another way in the merchant console.
    Abnormal,
    /// Something else, as the platform says it.
    Other(String),
}

impl From<String> for RefundState {
    fn from(word: String) -> Self {
        match word.as_str() {
            "SUCCESS" => Self::Success,
            "CLOSED" => Self::Closed,
            "PROCESSING" => Self::Processing,
            "ABNORMAL" => Self::Abnormal,
            _ => Self::Other(word),
        }
    }
}

/// A refund as the platform has it.
#[derive(Debug, Clone, Deserialize)]
pub struct Refund {
    /// The platform's number.
    pub refund_id: String,
    /// Our number.
    pub out_refund_no: String,
    /// The platform's number of the order.
    pub transaction_id: String,
    /// Our number of the order.
    pub out_trade_no: String,
    /// Where it stands.
    #[serde(rename = "status")]
    pub state: RefundState,
    /// When the payer had the money.
    #[serde(rename = "success_time", default)]
    pub done_at: Option<Timestamp>,
    /// How much.
    pub amount: RefundAmount,
}

/// What a callback says of a refund: the same in other words.
#[derive(Debug, Clone, Deserialize)]
pub struct RefundNotice {
    /// Whose.
    #[serde(rename = "mchid")]
    pub merchant_id: String,
    /// The platform's number.
    pub refund_id: String,
    /// Our number.
    pub out_refund_no: String,
    /// The platform's number of the order.
    pub transaction_id: String,
    /// Our number of the order.
    pub out_trade_no: String,
    /// Where it stands.
    #[serde(rename = "refund_status")]
    pub state: RefundState,
    /// When the payer had the money.
    #[serde(rename = "success_time", default)]
    pub done_at: Option<Timestamp>,
    /// How much.
    pub amount: RefundAmount,
}

/// Fen.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RefundAmount {
    /// The price of the order.
    #[serde(rename = "total")]
    pub total_fen: i64,
    /// What is given back.
    #[serde(rename = "refund")]
    pub refund_fen: i64,
    /// What the payer gets of it.
    #[serde(rename = "payer_refund", default)]
    pub payer_refund_fen: Option<i64>,
}

impl Merchant {
    /// Asks for a refund; how it ends is told by a callback or [`Self::query_refund`].
    ///
    /// # Errors
    /// [`PayError::NotEnough`] if the account holds too little: later, with the same number; see [`PayError`].
    pub async fn refund(&self, request: &RefundRequest<'_>) -> Result<Refund, PayError> {
        let mut body = json!({
            "out_trade_no": request.out_trade_no, "out_refund_no": request.out_refund_no,
            "notify_url": self.inner.options.refund_notify_url.as_str(),
            "amount": { "refund": request.refund_fen, "total": request.total_fen, "currency": "CNY" },
        });
        if let Some(reason) = request.reason {
            body["reason"] = reason.into();
        }
        self.call(&Call::post(&["v3", "refund", "domestic", "refunds"], &body)).await
    }

    /// A refund by our number.
    ///
    /// # Errors
    /// [`PayError::NotFound`] if it was never asked for; see [`PayError`].
    pub async fn query_refund(&self, out_refund_no: &str) -> Result<Refund, PayError> {
        self.call(&Call::get(&["v3", "refund", "domestic", "refunds", out_refund_no])).await
    }
}
