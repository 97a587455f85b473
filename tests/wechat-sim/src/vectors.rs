//! The simulator's own reading of signatures and ciphers, held against values that others computed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::keys::{Signer, verify};
use crate::pay::{authorization, seal};
use crate::{cos, crypt};

fn fixture(path: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(path);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn vectors(path: &str) -> Vec<Value> {
    fixture(path)["vectors"].as_array().unwrap().clone()
}

fn key(name: &str) -> Signer {
    let key = &fixture("wechat/keys.json")["keys"][name]["private_key_pkcs8_der_base64"];
    let text = match key {
        Value::Array(lines) => lines.iter().map(text).collect(),
        one => text(one),
    };
    Signer::known(&crypt::from_base64(&text.replace('\n', "")).unwrap()).unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

#[test]
fn signatures_of_the_official_sdks_hold_and_their_counterexamples_do_not() {
    let vectors = vectors("wechat/rsa_sha256.json");
    for vector in &vectors {
        let (key, message) = (key(&text(&vector["key"])), text(&vector["message"]));
        let signature = text(&vector["signature_b64"]);
        assert_eq!(key.verifies(message.as_bytes(), &signature), vector["valid"] == true, "{vector}");
        // The padding leaves nothing to chance: a signature that holds is the one we would make.
        assert_eq!(key.sign(message.as_bytes()) == signature, vector["valid"] == true, "{vector}");
    }
    assert!(vectors.iter().any(|vector| vector["valid"] == false));
}

#[test]
fn a_signature_that_is_no_base64_does_not_hold() {
    let key = key("go_sdk");
    for signature in ["", "WECHATPAY/SIGNTEST/abc", "=", "ä", "AAAA"] {
        assert!(!key.verifies(b"source", signature), "{signature}");
    }
    assert!(!verify(b"no key", b"source", "AAAA"));
}

#[test]
fn requests_are_read_as_the_sdks_sign_them() {
    for vector in vectors("wechat/authorization.json") {
        let field = |name: &str| vector[name].as_str().unwrap_or_default().to_owned();
        let Some(body) = vector["body"].as_str().filter(|_| vector["timestamp"].is_string()) else {
            continue;
        };
        let message = authorization::message(
            &field("method"),
            &field("url_path_and_query"),
            &field("timestamp"),
            &field("nonce_str"),
            body.as_bytes(),
        );
        assert_eq!(String::from_utf8(message.clone()).unwrap(), field("message"));
        let signer = key("java_sdk_merchant");
        assert!(signer.verifies(&message, &field("signature_b64")), "{}", field("id"));
    }
}

#[test]
fn the_signature_of_the_client_call_is_checked_as_the_sdk_makes_it() {
    for vector in vectors("wechat/paysign.json") {
        let field = |name: &str| vector[name].as_str().unwrap_or_default().to_owned();
        if vector["appId"].is_null() {
            continue;
        }
        let message =
            seal::client_message(&field("appId"), &field("timeStamp"), &field("nonceStr"), &field("package"));
        assert_eq!(message, field("message"));
        if !vector["paySign"].is_null() {
            assert!(key("java_sdk_merchant").verifies(message.as_bytes(), &field("paySign")));
        }
    }
}

#[test]
fn callbacks_are_signed_and_sealed_as_the_recorded_ones() {
    for vector in vectors("wechat/notify.json") {
        let header = |name: &str| text(&vector["headers"][name]);
        let body = text(&vector["body"]);
        let message =
            seal::message(&header("Wechatpay-Timestamp"), &header("Wechatpay-Nonce"), body.as_bytes());
        let key = key(&text(&vector["key"]));
        assert!(key.verifies(&message, &header("Wechatpay-Signature")), "{}", vector["id"]);
        let body: Value = serde_json::from_str(&body).unwrap();
        let Ok(api_key) = <[u8; 32]>::try_from(text(&vector["api_v3_key"]).as_bytes()) else { continue };
        let resource = &body["resource"];
        let nonce = text(&resource["nonce"]).as_bytes().try_into().unwrap();
        let associated = text(&resource["associated_data"]);
        let plain = text(&vector["plaintext"]);
        let sealed = crypt::seal(&api_key, &nonce, &associated, plain.as_bytes());
        assert_eq!(sealed, text(&resource["ciphertext"]), "{}", vector["id"]);
    }
}

#[test]
fn messages_are_sealed_as_the_sdks_seal_them() {
    let mut seen = 0;
    for vector in vectors("wechat/aes_gcm.json") {
        let Ok(key) = <[u8; 32]>::try_from(text(&vector["key"]).as_bytes()) else { continue };
        let Ok(nonce) = <[u8; 12]>::try_from(text(&vector["nonce"]).as_bytes()) else { continue };
        let plain = text(&vector["plaintext"]);
        let sealed = crypt::seal(&key, &nonce, &text(&vector["associated_data"]), plain.as_bytes());
        assert_eq!(sealed, text(&vector["ciphertext_b64"]), "{}", vector["id"]);
        seen += 1;
    }
    assert!(seen >= 2, "{seen}");
}

#[test]
fn sums_of_virtual_payment_sessions_and_pushes_are_the_published_ones() {
    for vector in vectors("wechat/xpay_hmac.json") {
        let field = |name: &str| vector[name].as_str().unwrap_or_default().to_owned();
        let (app_key, session_key) =
            (field("appKey"), vector["session_key"].as_str().unwrap_or("session-key"));
        let (signed, prefix, by_app) = if vector["signData"].is_null() {
            (field("body"), field("path"), field("pay_sig"))
        } else {
            (field("signData"), "requestVirtualPayment".to_owned(), field("paySig"))
        };
        let message = format!("{prefix}&{signed}");
        assert_eq!(crypt::hmac_hex(app_key.as_bytes(), message.as_bytes()), by_app);
        assert_eq!(crypt::hmac_hex(session_key.as_bytes(), signed.as_bytes()), field("signature"));
    }
    for vector in vectors("wechat/session_and_push.json") {
        let field = |name: &str| vector[name].as_str().unwrap_or_default().to_owned();
        let sum = if vector["token"].is_null() {
            crypt::hmac_hex(field("session_key").as_bytes(), b"")
        } else {
            crypt::push_signature(&[&field("token"), &field("timestamp"), &field("nonce")])
        };
        assert_eq!(sum, field("signature"));
    }
}

#[test]
fn requests_to_the_bucket_are_read_as_the_official_sdk_signs_them() {
    let pairs = |value: &Value| -> BTreeMap<String, String> {
        value.as_object().unwrap().iter().map(|(name, value)| (name.clone(), text(value))).collect()
    };
    for vector in vectors("cos/cos_sign_v5.json") {
        let (query, headers) = (pairs(&vector["query"]), pairs(&vector["signed_headers"]));
        let string = cos::http_string(&text(&vector["method"]), &text(&vector["path"]), &query, &headers);
        if let Some(expected) = vector["http_string"].as_str() {
            assert_eq!(string, expected);
        }
        let time = text(&vector["key_time"]);
        let signature = cos::signature(&text(&vector["secret_key"]), &time, &time, &string);
        match vector["q_signature"].as_str() {
            Some(expected) => assert_eq!(signature, expected),
            None => assert!(text(&vector["authorization"]).ends_with(&format!("q-signature={signature}"))),
        }
    }
}
