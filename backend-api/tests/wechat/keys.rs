//! Published test keys, and what is made with them.

use std::path::PathBuf;
use std::time::Duration;

use backend_api::wechat::Bounds;
use backend_api::wechat::crypto::{SigningKey, nonce};
use backend_api::wechat::pay::{Merchant, Options, PlatformKey, signed_message};
use jiff::Timestamp;
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

pub const APP: &str = "wx2421b1c4370ec43b";
pub const API_V3_KEY: &str = "a7cde1ZJB1kG2e7VfTs3jQzaWizur8Gb";
pub const MERCHANT: &str = "java_sdk_merchant";
pub const PLATFORM: &str = "java_sdk_wechatpay_platform";
pub const PUBLIC_KEY_ID: &str = "PUB_KEY_ID_0114232134912410000000000000";

pub fn fixture(name: &str) -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/wechat").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

pub fn published(key: &str) -> Value {
    fixture("keys.json")["keys"][key].clone()
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// PEM of a private key.
pub fn private_pem(key: &str) -> String {
    let lines: Vec<String> =
        published(key)["private_key_pkcs8_der_base64"].as_array().unwrap().iter().map(text).collect();
    let label = "PRIVATE KEY";
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

pub fn signing_key(key: &str) -> SigningKey {
    SigningKey::from_pem(&private_pem(key)).unwrap()
}

pub fn platform_certificate() -> String {
    text(&published(PLATFORM)["certificate_pem"])
}

pub fn platform_serial() -> String {
    text(&published(PLATFORM)["serial"])
}

/// A merchant that knows the platform's certificate.
pub fn options(base: &Url) -> Options {
    Options {
        app_id: APP.to_owned(),
        merchant_id: "1234567891".to_owned(),
        serial: text(&published(MERCHANT)["serial"]),
        private_key: private_pem(MERCHANT).into(),
        api_v3_key: API_V3_KEY.into(),
        platform_keys: vec![PlatformKey::Certificate { pem: platform_certificate() }],
        fetch_certificates: false,
        notify_url: Url::parse("https://pay.example.com/callbacks/wechat-pay").unwrap(),
        refund_notify_url: Url::parse("https://pay.example.com/callbacks/wechat-pay/refunds").unwrap(),
        base: base.clone(),
        backup_base: None,
        bounds: Bounds { request_timeout: Duration::from_secs(10), max_reply_bytes: 64 * 1024 },
        bill_timeout: Duration::from_secs(10),
        max_bill_bytes: 1024 * 1024,
    }
}

pub fn merchant(base: &Url) -> Merchant {
    Merchant::new(options(base)).unwrap()
}

/// A merchant that calls nobody.
pub fn offline_merchant() -> Merchant {
    merchant(&Url::parse("http://127.0.0.1:9").unwrap())
}

/// The headers with which the platform signs `body` now.
pub fn signed(body: &[u8]) -> Vec<(String, String)> {
    signed_as(body, &platform_serial(), Timestamp::now().as_second())
}

pub fn signed_as(body: &[u8], serial: &str, timestamp: i64) -> Vec<(String, String)> {
    let (timestamp, nonce) = (timestamp.to_string(), nonce());
    let signature = signing_key(PLATFORM).sign(&signed_message(&timestamp, &nonce, body));
    [
        ("wechatpay-timestamp", timestamp),
        ("wechatpay-nonce", nonce),
        ("wechatpay-serial", serial.to_owned()),
        ("wechatpay-signature", signature),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

pub fn header_map(headers: &[(String, String)]) -> HeaderMap {
    headers
        .iter()
        .map(|(name, value)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
        })
        .collect()
}
