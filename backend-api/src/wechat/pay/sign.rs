//! What is signed, and what the signature looks like on the wire (FACTS 3.2, 3.5).

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use crate::wechat::crypto::{SigningKey, nonce};

/// When a message is signed, and what makes it the only one of its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// Seconds since the epoch.
    pub timestamp: i64,
    /// Nobody can guess it.
    pub nonce: String,
}

impl Stamp {
    /// For a message of now.
    pub fn now() -> Self {
        Self { timestamp: Timestamp::now().as_second(), nonce: nonce() }
    }
}

/// What the mini program hands to `wx.requestPayment`, under the names that it wants.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientParameters {
    /// Seconds, as text.
    pub time_stamp: String,
    /// Part of what is signed.
    pub nonce_str: String,
    /// `prepay_id=…`.
    pub package: String,
    /// `RSA`.
    pub sign_type: &'static str,
    /// The signature.
    pub pay_sign: String,
}

impl fmt::Debug for ClientParameters {
    /// Who reads it could pay for somebody.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientParameters(…)")
    }
}

/// The five lines that a request is signed over. `path` is path and query, percent-encoded as they are sent; `body` is
/// the bytes that are sent. Each line has its line feed, the last one too, whatever the body ends in.
pub fn request_message(method: &str, path: &str, stamp: &Stamp, body: &[u8]) -> Vec<u8> {
    let head = format!("{method}\n{path}\n{}\n{}\n", stamp.timestamp, stamp.nonce);
    [head.as_bytes(), body, b"\n"].concat()
}

/// The `Authorization` header around the signature of `message`.
pub fn authorization(
    merchant_id: &str,
    serial: &str,
    key: &SigningKey,
    stamp: &Stamp,
    message: &[u8],
) -> String {
    format!(
        r#"WECHATPAY2-SHA256-RSA2048 mchid="{merchant_id}",nonce_str="{}",timestamp="{}",serial_no="{serial}",signature="{}""#,
        stamp.nonce,
        stamp.timestamp,
        key.sign(message),
    )
}

/// What the mini program hands to `wx.requestPayment`. Signed over four lines, each with its line feed.
pub fn client_parameters(app_id: &str, prepay_id: &str, key: &SigningKey, stamp: &Stamp) -> ClientParameters {
    let package = format!("prepay_id={prepay_id}");
    let message = format!("{app_id}\n{}\n{}\n{package}\n", stamp.timestamp, stamp.nonce);
    ClientParameters {
        time_stamp: stamp.timestamp.to_string(),
        nonce_str: stamp.nonce.clone(),
        package,
        sign_type: "RSA",
        pay_sign: key.sign(message.as_bytes()),
    }
}
