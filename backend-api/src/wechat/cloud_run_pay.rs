//! The simplified pay of Cloud Run (FACTS §5): the platform's side-car holds the keys, and wraps the older v2 interface.
//! Only inside the container, with the merchant bound in the console. Its callbacks are not signed, so they only say
//! that it is time to ask.

use std::fmt;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::lenient;
use super::platform::Call;
use super::{CallError, Platform, Refusal, TransportError};
use crate::domain::OpenId;

/// Callbacks go to the container, not to a function (from FACTS §5: 1 is a function).
const CALLBACK_TO_CONTAINER: u8 = 2;
const SUCCESS: &str = "SUCCESS";

/// Whose account, and where callbacks go.
#[derive(Debug, Clone)]
pub struct Options {
    /// The merchant that is bound in the console.
    pub merchant_id: String,
    /// The cloud environment's id.
    pub env: String,
    /// The service that gets callbacks …
    pub service: String,
    /// … and the path there.
    pub callback_path: String,
}

/// Speaks `/_/pay/…`.
#[derive(Debug, Clone)]
pub struct CloudRunPay {
    platform: Platform,
    options: Options,
}

/// Why a call has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// There is no side-car: not inside the container, or the open interface service is off.
    #[error("there is no side-car that could pay")]
    NotInside,
    /// The side-car or what is behind it.
    #[error(transparent)]
    Platform(#[from] CallError),
    /// The order is paid already: query.
    #[error("the order is paid already")]
    AlreadyPaid,
    /// There is no such order.
    #[error("there is no such order")]
    NotFound,
    /// The payment system's no, in its own words.
    #[error("the payment system refuses: {message} ({code})")]
    Refused {
        /// `err_code`, or `return_code` if there is none.
        code: String,
        /// For operators.
        message: String,
    },
}

impl From<TransportError> for Error {
    fn from(error: TransportError) -> Self {
        Self::Platform(error.into())
    }
}

/// An order as it is made.
#[derive(Debug, Clone)]
pub struct Order<'a> {
    /// Ours.
    pub out_trade_no: &'a str,
    /// What the payer sees.
    pub description: &'a str,
    /// More than 0.
    pub total_fen: i64,
    /// Who pays.
    pub payer: &'a OpenId,
    /// The payer's address, as the platform's headers have it.
    pub client_ip: &'a str,
}

/// What the mini program hands to `wx.requestPayment`; passed on as it came.
#[derive(Clone, PartialEq)]
pub struct Payment(pub Value);

impl fmt::Debug for Payment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Payment(…)")
    }
}

/// An order as the payment system has it.
#[derive(Debug, Clone, Deserialize)]
pub struct Queried {
    /// `SUCCESS`, `NOTPAY`, `CLOSED`, `REFUND` and so on.
    #[serde(default, deserialize_with = "lenient::text")]
    pub trade_state: String,
    /// Its number, of paid ones.
    #[serde(default, deserialize_with = "lenient::optional_text")]
    pub transaction_id: Option<String>,
    /// Our number.
    #[serde(default, deserialize_with = "lenient::text")]
    pub out_trade_no: String,
    /// The price.
    #[serde(rename = "total_fee", default, deserialize_with = "lenient::optional_integer")]
    pub total_fen: Option<i64>,
    /// `yyyyMMddHHmmss` in Beijing.
    #[serde(default, deserialize_with = "lenient::optional_text")]
    pub time_end: Option<String>,
}

/// A refund as it is asked for; a repeat uses the same number.
#[derive(Debug, Clone)]
pub struct RefundOrder<'a> {
    /// Our number of the order.
    pub out_trade_no: &'a str,
    /// Our number of the refund.
    pub out_refund_no: &'a str,
    /// The price of the order.
    pub total_fen: i64,
    /// What is given back.
    pub refund_fen: i64,
    /// What the payer reads.
    pub reason: &'a str,
}

/// A refund as the payment system has it.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "RefundFields")]
pub struct QueriedRefund {
    /// `SUCCESS`, `REFUNDCLOSE`, `PROCESSING`, `CHANGE` and so on.
    pub state: String,
    /// The payment system's number.
    pub refund_id: Option<String>,
    /// What is given back.
    pub refund_fen: Option<i64>,
}

/// The v2 interface numbers the fields of several refunds; whether its wrapper does is not documented.
#[derive(Deserialize)]
struct RefundFields {
    #[serde(default, deserialize_with = "lenient::optional_text")]
    refund_status: Option<String>,
    #[serde(default, deserialize_with = "lenient::optional_text")]
    refund_status_0: Option<String>,
    #[serde(default, deserialize_with = "lenient::optional_text")]
    refund_id: Option<String>,
    #[serde(default, deserialize_with = "lenient::optional_text")]
    refund_id_0: Option<String>,
    #[serde(default, deserialize_with = "lenient::optional_integer")]
    refund_fee: Option<i64>,
    #[serde(default, deserialize_with = "lenient::optional_integer")]
    refund_fee_0: Option<i64>,
}

impl From<RefundFields> for QueriedRefund {
    fn from(fields: RefundFields) -> Self {
        Self {
            state: fields.refund_status_0.or(fields.refund_status).unwrap_or_default(),
            refund_id: fields.refund_id_0.or(fields.refund_id),
            refund_fen: fields.refund_fee_0.or(fields.refund_fee),
        }
    }
}

/// A callback: unsigned, so nothing but a reason to query the order it names.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hint {
    /// The order that may have changed.
    pub out_trade_no: String,
}

impl Hint {
    /// Reads a callback's body.
    ///
    /// # Errors
    /// When it names no order.
    pub fn read(body: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(body)
    }

    /// What a callback is answered with; anything else has it repeated for two days.
    pub const ANSWER: &str = r#"{"errcode":0,"errmsg":""}"#;
}

impl CloudRunPay {
    /// Over the platform's side-car.
    ///
    /// # Errors
    /// [`Error::NotInside`] where there is none.
    pub fn new(platform: Platform, options: Options) -> Result<Self, Error> {
        match platform.is_inside_container() {
            true => Ok(Self { platform, options }),
            false => Err(Error::NotInside),
        }
    }

    /// Makes an order.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn order(&self, order: &Order<'_>) -> Result<Payment, Error> {
        #[derive(Deserialize)]
        struct Made {
            payment: Value,
        }
        let mut body = self.about(order.out_trade_no);
        body["body"] = order.description.into();
        body["openid"] = json!(order.payer);
        body["spbill_create_ip"] = order.client_ip.into();
        body["total_fee"] = order.total_fen.into();
        self.call_back(&mut body);
        Ok(Payment(self.call::<Made>("/_/pay/unifiedOrder", &body).await?.payment))
    }

    /// An order by our number.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn query(&self, out_trade_no: &str) -> Result<Queried, Error> {
        self.call("/_/pay/queryorder", &self.about(out_trade_no)).await
    }

    /// Closes an order that is not paid.
    ///
    /// # Errors
    /// [`Error::AlreadyPaid`] if it was paid; see [`Error`].
    pub async fn close(&self, out_trade_no: &str) -> Result<(), Error> {
        self.call::<Value>("/_/pay/closeorder", &self.about(out_trade_no)).await.map(drop)
    }

    /// Asks for a refund.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn refund(&self, refund: &RefundOrder<'_>) -> Result<(), Error> {
        let mut body = self.about(refund.out_trade_no);
        body["out_refund_no"] = refund.out_refund_no.into();
        body["total_fee"] = refund.total_fen.into();
        body["refund_fee"] = refund.refund_fen.into();
        body["refund_desc"] = refund.reason.into();
        self.call_back(&mut body);
        self.call::<Value>("/_/pay/refund", &body).await.map(drop)
    }

    /// A refund by our number.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn query_refund(&self, out_refund_no: &str) -> Result<QueriedRefund, Error> {
        let body = json!({ "out_refund_no": out_refund_no, "sub_mch_id": self.options.merchant_id });
        self.call("/_/pay/queryrefund", &body).await
    }

    fn about(&self, out_trade_no: &str) -> Value {
        json!({ "out_trade_no": out_trade_no, "sub_mch_id": self.options.merchant_id })
    }

    fn call_back(&self, body: &mut Value) {
        body["env_id"] = self.options.env.as_str().into();
        body["callback_type"] = CALLBACK_TO_CONTAINER.into();
        body["container"] = json!({ "service": self.options.service, "path": self.options.callback_path });
    }

    /// Three levels have to say yes: the side-car, the connection, the business.
    async fn call<T: DeserializeOwned>(&self, path: &'static str, body: &Value) -> Result<T, Error> {
        #[derive(Deserialize)]
        struct Answer {
            respdata: Value,
        }
        #[derive(Deserialize)]
        struct Levels {
            #[serde(default, deserialize_with = "lenient::text")]
            return_code: String,
            #[serde(default, deserialize_with = "lenient::text")]
            return_msg: String,
            #[serde(default, deserialize_with = "lenient::text")]
            result_code: String,
            #[serde(default, deserialize_with = "lenient::text")]
            err_code: String,
            #[serde(default, deserialize_with = "lenient::text")]
            err_code_des: String,
        }
        let Answer { respdata } = self.platform.call(&Call::post_json(path, body)).await?;
        let levels = Levels::deserialize(&respdata).map_err(TransportError::from)?;
        if levels.return_code != SUCCESS {
            return Err(refused(&levels.return_code, &levels.return_msg));
        }
        if levels.result_code != SUCCESS {
            return Err(refused(&levels.err_code, &levels.err_code_des));
        }
        Ok(T::deserialize(respdata).map_err(TransportError::from)?)
    }
}

fn refused(code: &str, message: &str) -> Error {
    match code {
        "ORDERPAID" => Error::AlreadyPaid,
        "ORDERNOTEXIST" | "REFUNDNOTEXIST" => Error::NotFound,
        _ => {
            let Refusal { message, .. } = Refusal::new(0, message);
            Error::Refused { code: code.chars().take(64).collect(), message }
        }
    }
}
