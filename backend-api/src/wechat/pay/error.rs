//! What can go wrong with a call to WeChat Pay, split by what the caller does next (FACTS 3.8).

use std::fmt;

use reqwest::StatusCode;
use serde::Deserialize;

use super::Unverified;
use crate::wechat::TransportError;

/// Characters of a code and of a message that we pass on.
const CODE_MAX: usize = 64;
const MESSAGE_MAX: usize = 256;

/// The platform's own words for a refusal. They are not signed, so they may end a try but never prove a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayRefusal {
    /// As it came, such as `PARAM_ERROR`.
    pub code: String,
    /// For operators, shortened.
    pub message: String,
    /// `Request-ID`: what the platform's support asks for.
    pub request_id: Option<String>,
}

impl fmt::Display for PayRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.request_id.as_deref().unwrap_or("unknown");
        write!(f, "{} ({}, request {id})", self.message, self.code)
    }
}

/// Why a call has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PayError {
    /// Whether it was carried out is unknown: repeat it with the same parameters, or query.
    #[error("WeChat Pay gave no usable answer")]
    Unreachable(#[from] TransportError),
    /// The same, said by the platform: a fault of its own.
    #[error("WeChat Pay failed: {0}")]
    Failed(PayRefusal),
    /// The answer is not signed by the platform. Whether the call was carried out is unknown: query.
    #[error("the answer of WeChat Pay is not believed")]
    Unverified(#[from] Unverified),
    /// Too often: repeat later.
    #[error("WeChat Pay is asked too often: {0}")]
    TooFrequent(PayRefusal),
    /// The order is paid already, or its number was used: query; if paid, fulfil.
    #[error("the order's number was used: {0}")]
    AlreadyUsed(PayRefusal),
    /// The order is closed: a new one needs a new number.
    #[error("the order is closed: {0}")]
    Closed(PayRefusal),
    /// There is no such order or refund under this merchant.
    #[error("WeChat Pay does not know it: {0}")]
    NotFound(PayRefusal),
    /// The payer is at it: query in a few seconds.
    #[error("the payer is paying: {0}")]
    Paying(PayRefusal),
    /// A refund finds too little money in the account: later, with the same refund number.
    #[error("the account holds too little: {0}")]
    NotEnough(PayRefusal),
    /// Keys, serials, clock, contracts or the pair of app and merchant. An operator has to act.
    #[error("WeChat Pay does not accept our settings: {0}")]
    Misconfigured(PayRefusal),
    /// A parameter is wrong: a fault of ours.
    #[error("WeChat Pay finds the call wrong: {0}")]
    Invalid(PayRefusal),
    /// No, for reasons of the platform.
    #[error("WeChat Pay refuses: {0}")]
    Refused(PayRefusal),
}

impl PayError {
    /// Reads a reply that is no answer. A body without a code leaves the status.
    pub(super) fn from_reply(status: StatusCode, body: &[u8], request_id: Option<String>) -> Self {
        #[derive(Deserialize)]
        struct Body {
            code: String,
            #[serde(default)]
            message: String,
        }
        let Ok(Body { code, message }) = serde_json::from_slice(body) else {
            return TransportError::Status(status).into();
        };
        let refusal = PayRefusal {
            code: code.chars().take(CODE_MAX).collect(),
            message: message.chars().take(MESSAGE_MAX).collect(),
            request_id,
        };
        Self::from_refusal(status, refusal)
    }

    fn from_refusal(status: StatusCode, refusal: PayRefusal) -> Self {
        // newer and older pages spell codes with and without underscores
        let code: String = refusal.code.chars().filter(|letter| *letter != '_').collect();
        match code.as_str() {
            "SYSTEMERROR" | "BANKERROR" => Self::Failed(refusal),
            "FREQUENCYLIMITED" | "RATELIMITEXCEEDED" => Self::TooFrequent(refusal),
            "ORDERPAID" | "OUTTRADENOUSED" => Self::AlreadyUsed(refusal),
            "ORDERCLOSED" => Self::Closed(refusal),
            "ORDERNOTEXIST" | "RESOURCENOTEXISTS" => Self::NotFound(refusal),
            "USERPAYING" => Self::Paying(refusal),
            "NOTENOUGH" => Self::NotEnough(refusal),
            "SIGNERROR" | "NOAUTH" | "APPIDMCHIDNOTMATCH" | "MCHNOTEXISTS" => Self::Misconfigured(refusal),
            "PARAMERROR" | "INVALIDREQUEST" => Self::Invalid(refusal),
            "RULELIMIT" | "TRADEERROR" | "ACCOUNTERROR" | "OPENIDMISMATCH" => Self::Refused(refusal),
            _ => match status {
                StatusCode::UNAUTHORIZED => Self::Misconfigured(refusal),
                StatusCode::TOO_MANY_REQUESTS => Self::TooFrequent(refusal),
                status if status.is_server_error() => Self::Failed(refusal),
                _ => Self::Refused(refusal),
            },
        }
    }

    /// Whether a repeat with the same parameters is what the documentation asks for.
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Unreachable(_)
                | Self::Failed(_)
                | Self::Unverified(_)
                | Self::TooFrequent(_)
                | Self::Paying(_)
        )
    }
}
