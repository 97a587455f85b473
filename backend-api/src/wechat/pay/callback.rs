//! What WeChat Pay tells us unasked (FACTS 3.6): verified, then parsed, then opened, in no other order.

use jiff::Timestamp;
use reqwest::header::HeaderMap;
use serde::Deserialize;

use super::{Merchant, RefundNotice, Transaction, Unverified, Verified};
use crate::wechat::crypto::OpenError;

const ALGORITHM: &str = "AEAD_AES_256_GCM";

/// A callback that the platform signed.
#[derive(Debug, Clone)]
pub struct Callback {
    /// Names the event; it may come several times.
    pub id: String,
    /// What it tells.
    pub event: CallbackEvent,
}

/// What a callback tells.
#[derive(Debug, Clone)]
pub enum CallbackEvent {
    /// `TRANSACTION.SUCCESS`: an order as it is now. Hold app, merchant, number and amount against what was ordered.
    Payment(Box<Transaction>),
    /// `REFUND.…`: a refund as it is now.
    Refund(Box<RefundNotice>),
    /// Anything else, by its type.
    Other(String),
}

/// Why a callback is not taken. Each is answered with a status of 4xx or 5xx, so that it comes again.
#[derive(Debug, thiserror::Error)]
pub enum CallbackError {
    /// Not from the platform, or a probe of it: 401.
    #[error(transparent)]
    Unverified(#[from] Unverified),
    /// Signed, but not what the documentation promises: 400, and a person should look.
    #[error("the callback is signed and unreadable")]
    Unreadable(#[source] serde_json::Error),
    /// Signed, but not to be opened: our APIv3 key is not the console's. 500, and an operator has to act.
    #[error("the callback is signed, but does not open with our APIv3 key")]
    Sealed(#[from] OpenError),
}

impl From<serde_json::Error> for CallbackError {
    fn from(error: serde_json::Error) -> Self {
        Self::Unreadable(error)
    }
}

/// Something that is wrapped with the APIv3 key.
#[derive(Debug, Clone, Deserialize)]
pub struct Resource {
    /// How; only `AEAD_AES_256_GCM` is opened.
    pub algorithm: String,
    /// Base64, with its tag.
    pub ciphertext: String,
    /// 12 bytes.
    pub nonce: String,
    /// Part of what the tag covers.
    #[serde(default, deserialize_with = "crate::wechat::lenient::text")]
    pub associated_data: String,
}

#[derive(Deserialize)]
struct Notice {
    id: String,
    event_type: String,
    resource: Resource,
}

impl Merchant {
    /// Takes a callback in: `body` is the bytes that came, untouched.
    ///
    /// # Errors
    /// See [`CallbackError`].
    pub async fn callback(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Callback, CallbackError> {
        self.read(self.verify(headers, body, now).await?)
    }

    /// The plaintext of a resource.
    ///
    /// # Errors
    /// When it is wrapped another way, or with another key.
    pub fn open(&self, resource: &Resource) -> Result<Vec<u8>, OpenError> {
        match resource.algorithm.as_str() {
            ALGORITHM => {
                self.inner.api_v3_key.open(&resource.nonce, &resource.associated_data, &resource.ciphertext)
            }
            _ => Err(OpenError),
        }
    }

    fn read(&self, verified: Verified<'_>) -> Result<Callback, CallbackError> {
        let Notice { id, event_type, resource } = serde_json::from_slice(verified.bytes())?;
        let event = match event_type.as_str() {
            "TRANSACTION.SUCCESS" => {
                CallbackEvent::Payment(Box::new(serde_json::from_slice(&self.open(&resource)?)?))
            }
            "REFUND.SUCCESS" | "REFUND.ABNORMAL" | "REFUND.CLOSED" => {
                CallbackEvent::Refund(Box::new(serde_json::from_slice(&self.open(&resource)?)?))
            }
            _ => CallbackEvent::Other(event_type),
        };
        Ok(Callback { id, event })
    }
}
