//! Callbacks of WeChat Pay: verified, then read, then opened.

use backend_api::domain::OpenId;
use backend_api::wechat::pay::{CallbackError, CallbackEvent, Merchant, RefundState, TradeState, Unverified};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::keys::{fixture, header_map, offline_merchant, options, signed, text};

struct Published {
    headers: Vec<(String, String)>,
    body: String,
    clock: Timestamp,
}

fn published(id: &str) -> Published {
    let vectors = fixture("notify.json")["vectors"].as_array().unwrap().clone();
    let vector = vectors.into_iter().find(|vector| vector["id"] == id).unwrap();
    let headers = vector["headers"].as_object().unwrap();
    Published {
        headers: headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), text(value))).collect(),
        body: text(&vector["body"]),
        clock: Timestamp::from_second(vector["clock"].as_i64().unwrap()).unwrap(),
    }
}

impl Published {
    async fn taken_by(&self, merchant: &Merchant) -> Result<CallbackEvent, CallbackError> {
        let headers = header_map(&self.headers);
        merchant.callback(&headers, self.body.as_bytes(), self.clock).await.map(|callback| callback.event)
    }
}

#[tokio::test]
async fn a_payment_is_told() {
    let event = published("computed-transaction-success").taken_by(&offline_merchant()).await.unwrap();
    let CallbackEvent::Payment(paid) = event else { panic!("{event:?}") };
    assert_eq!((paid.state.clone(), paid.out_trade_no.as_str()), (TradeState::Success, "B20261122000001"));
    assert_eq!((paid.app_id.as_str(), paid.merchant_id.as_str()), ("wx2421b1c4370ec43b", "1234567891"));
    assert_eq!(paid.payer_openid(), Some(&OpenId::new("oUpF8uMuAJO_M2pxb1Q9zNjWeS6o")));
    assert_eq!(paid.amount.as_ref().unwrap().total_fen, 19_900);
    assert!(!format!("{paid:?}").contains("oUpF8uMuAJO"), "an openid is nothing for logs");
}

#[tokio::test]
async fn a_refund_is_told() {
    let event = published("computed-refund-success").taken_by(&offline_merchant()).await.unwrap();
    let CallbackEvent::Refund(refund) = event else { panic!("{event:?}") };
    assert_eq!((refund.state, refund.out_refund_no.as_str()), (RefundState::Success, "R20261122000001"));
    assert_eq!(refund.amount.refund_fen, 19_900);
}

#[tokio::test]
async fn a_callback_that_is_not_believed_is_not_read() {
    // neither JSON nor openable: if anything but the signature were looked at, the error would be another
    let mut forged = published("computed-transaction-success");
    for body in ["", "not json", "{}", r#"{"id":"1","event_type":"TRANSACTION.SUCCESS","resource":null}"#] {
        forged.body = body.to_owned();
        let error = forged.taken_by(&offline_merchant()).await.unwrap_err();
        assert!(matches!(error, CallbackError::Unverified(Unverified::Signature(_))), "{error}");
    }
}

#[tokio::test]
async fn a_probe_of_the_platform_is_refused_and_the_message_after_it_taken() {
    let real = published("computed-transaction-success");
    let mut probe = published("computed-transaction-success");
    for (name, value) in &mut probe.headers {
        if name == "wechatpay-signature" {
            *value = format!("WECHATPAY/SIGNTEST/{value}");
        }
    }
    let merchant = offline_merchant();
    let error = probe.taken_by(&merchant).await.unwrap_err();
    assert!(matches!(error, CallbackError::Unverified(Unverified::Signature(_))), "{error}");
    real.taken_by(&merchant).await.unwrap();
}

async fn now(merchant: &Merchant, body: &Value) -> Result<CallbackEvent, CallbackError> {
    let body = body.to_string().into_bytes();
    let headers = header_map(&signed(&body));
    merchant.callback(&headers, &body, Timestamp::now()).await.map(|callback| callback.event)
}

#[tokio::test]
async fn a_signed_callback_of_another_kind_is_named() {
    let body = json!({
        "id": "EV-1", "event_type": "PAYSCORE.USER_OPEN_SERVICE",
        "resource": { "algorithm": "AEAD_AES_256_GCM", "ciphertext": "AAAA", "nonce": "123456789012" },
    });
    let event = now(&offline_merchant(), &body).await.unwrap();
    assert!(matches!(event, CallbackEvent::Other(kind) if kind == "PAYSCORE.USER_OPEN_SERVICE"));
}

#[tokio::test]
async fn a_signed_callback_that_does_not_open_or_cannot_be_read_is_told_apart() {
    let body: Value = serde_json::from_str(&published("computed-transaction-success").body).unwrap();
    let mut other_key = options(&reqwest::Url::parse("http://127.0.0.1:9").unwrap());
    other_key.api_v3_key = "0123456789abcdef0123456789abcdef".into();
    let error = now(&Merchant::new(other_key).unwrap(), &body).await.unwrap_err();
    assert!(matches!(error, CallbackError::Sealed(_)), "{error}");

    let merchant = offline_merchant();
    for (name, value) in [
        ("algorithm", "AEAD_SM4_GCM"),
        ("associated_data", "refund"),
        ("nonce", "short"),
        ("ciphertext", "A"),
    ] {
        let mut changed = body.clone();
        changed["resource"][name] = value.into();
        let error = now(&merchant, &changed).await.unwrap_err();
        assert!(matches!(error, CallbackError::Sealed(_)), "{name}: {error}");
    }
    let error = now(&merchant, &json!({ "id": "EV-1" })).await.unwrap_err();
    assert!(matches!(error, CallbackError::Unreadable(_)), "{error}");
    // signed and opened, but a payment is not a refund
    let mut swapped = body;
    swapped["event_type"] = "REFUND.SUCCESS".into();
    let error = now(&merchant, &swapped).await.unwrap_err();
    assert!(matches!(error, CallbackError::Unreadable(_)), "{error}");
}
