//! Published signatures, negatives included.

use std::collections::HashMap;

use backend_api::wechat::crypto::{
    ApiV3Key, Certificate, KeyError, SigningKey, VerifyingKey, hmac_sha256_hex, sha1_hex,
};
use backend_api::wechat::pay::{
    PlatformKeys, Stamp, Unverified, authorization, client_parameters, request_message, signed_message,
};
use backend_api::wechat::storage::{Keys, Request, Term, authorization as cos_authorization, presigned};
use backend_api::wechat::xpay::{pay_signature, user_signature};
use jiff::Timestamp;
use reqwest::Url;
use secrecy::SecretString;
use serde_json::Value;

use crate::keys::{fixture, header_map, published, signing_key, text};

fn vectors(file: &str) -> Vec<Value> {
    fixture(file)["vectors"].as_array().unwrap().clone()
}

fn named(file: &str, id: &str) -> Value {
    vectors(file).into_iter().find(|vector| vector["id"] == id).unwrap()
}

/// The public key of a published pair: as PEM where there is one, else from its certificate.
fn verifying_key(name: &str) -> VerifyingKey {
    let key = published(name);
    match key["public_key_spki_pem"].as_str() {
        Some(pem) => VerifyingKey::from_pem(pem).unwrap(),
        None => Certificate::from_pem(&text(&key["certificate_pem"])).unwrap().key,
    }
}

#[test]
fn every_published_signature_is_judged_and_made_the_same() {
    let vectors = vectors("rsa_sha256.json");
    assert_eq!(vectors.len(), 4);
    for vector in vectors {
        let (key, message) = (text(&vector["key"]), text(&vector["message"]));
        let (signature, is_valid) = (text(&vector["signature_b64"]), vector["valid"].as_bool().unwrap());
        let judged = verifying_key(&key).verify(message.as_bytes(), &signature).is_ok();
        assert_eq!(judged, is_valid, "{}", vector["id"]);
        let made = signing_key(&key).sign(message.as_bytes());
        assert_eq!(made == signature, is_valid, "{}", vector["id"]);
    }
}

#[test]
fn every_published_request_is_signed_over_the_same_message_and_alike() {
    let mut headers = 0;
    for vector in vectors("authorization.json") {
        let message = text(&vector["message"]);
        let lines: Vec<&str> = message.split('\n').collect();
        let stamp = Stamp { timestamp: lines[2].parse().unwrap(), nonce: lines[3].to_owned() };
        let body = vector["body"].as_str().unwrap_or_default();
        let made = request_message(lines[0], lines[1], &stamp, body.as_bytes());
        assert_eq!(str::from_utf8(&made).unwrap(), message, "{}", vector["id"]);
        let Some(expected) = vector["authorization"].as_str() else { continue };
        let (merchant, serial) = (text(&vector["mchid"]), text(&vector["serial_no"]));
        let key = signing_key("java_sdk_merchant");
        assert_eq!(authorization(&merchant, &serial, &key, &stamp, &made), expected, "{}", vector["id"]);
        headers += 1;
    }
    assert_eq!(headers, 4);
}

#[test]
fn a_body_that_ends_in_a_line_feed_still_gets_its_own() {
    let stamp = Stamp { timestamp: 1, nonce: "n".to_owned() };
    assert_eq!(request_message("POST", "/p", &stamp, b"b\n"), b"POST\n/p\n1\nn\nb\n\n");
    assert_eq!(request_message("GET", "/p", &stamp, b""), b"GET\n/p\n1\nn\n\n");
    assert_eq!(signed_message("1", "n", b""), b"1\nn\n\n");
}

#[test]
fn the_parameters_of_the_client_are_signed_alike() {
    let vector = named("paysign.json", "computed-jsapi");
    let stamp =
        Stamp { timestamp: text(&vector["timeStamp"]).parse().unwrap(), nonce: text(&vector["nonceStr"]) };
    let prepay_id = text(&vector["package"]).replace("prepay_id=", "");
    let made =
        client_parameters(&text(&vector["appId"]), &prepay_id, &signing_key("java_sdk_merchant"), &stamp);
    for (name, value) in serde_json::to_value(&made).unwrap().as_object().unwrap() {
        assert_eq!(*value, vector[name], "{name}");
    }
    let documented = named("paysign.json", "official-doc-jsapi");
    assert_eq!(documented["package"], made.package);
}

#[test]
fn every_wrapped_resource_opens_and_nothing_changed_does() {
    for id in ["java-message", "java-download-certificate"] {
        let vector = named("aes_gcm.json", id);
        let [nonce, data, sealed] =
            ["nonce", "associated_data", "ciphertext_b64"].map(|name| text(&vector[name]));
        let key = ApiV3Key::new(&text(&vector["key"])).unwrap();
        assert_eq!(key.open(&nonce, &data, &sealed).unwrap(), text(&vector["plaintext"]).into_bytes());
        assert!(key.open(&nonce, &format!("bad-{data}"), &sealed).is_err());
        assert!(key.open(&format!("bad-{}", &nonce[4..]), &data, &sealed).is_err());
        assert!(key.open(&nonce, &data, &"A".repeat(128)).is_err());
        assert!(key.open(&nonce, &data, "not base64!").is_err());
        assert!(key.open(&nonce, &data, "").is_err());
    }
}

#[test]
fn a_certificate_says_its_serial_and_its_key() {
    let vector = named("aes_gcm.json", "java-download-certificate");
    let opened = Certificate::from_pem(&text(&vector["plaintext"])).unwrap();
    assert_eq!(opened.serial, text(&vector["certificate_serial"]));
    // the first one begins with a byte that DER has to put a zero before
    for published in published("go_sdk")["certificates"].as_array().unwrap() {
        let certificate = Certificate::from_pem(&text(&published["pem"])).unwrap();
        assert_eq!(certificate.serial, text(&published["serial"]));
        let message = b"source";
        certificate.key.verify(message, &signing_key("go_sdk").sign(message)).unwrap();
    }
}

#[test]
fn keys_of_other_lengths_and_kinds_are_refused_at_the_start() {
    let short = named("aes_gcm.json", "go-aes128");
    assert_eq!(ApiV3Key::new(&text(&short["key"])).unwrap_err(), KeyError::Length(32));
    let long_nonce = named("aes_gcm.json", "axios-plugin-hello");
    let key = ApiV3Key::new(&text(&long_nonce["key"])).unwrap();
    assert!(key.open(&text(&long_nonce["nonce"]), "world", &text(&long_nonce["ciphertext_b64"])).is_err());
    assert_eq!(SigningKey::from_pem("nothing").unwrap_err(), KeyError::NotPem);
    let public = text(&published("go_sdk")["public_key_spki_pem"]);
    assert_eq!(SigningKey::from_pem(&public).unwrap_err(), KeyError::NotPem);
    let damaged = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";
    assert_eq!(VerifyingKey::from_pem(damaged).unwrap_err(), KeyError::NotRsa);
}

/// Headers, body and time of a published callback, and the keys that believe it.
fn callback(vector: &Value) -> (Vec<(String, String)>, String, Timestamp, PlatformKeys) {
    let headers: Vec<(String, String)> = vector["headers"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), text(value)))
        .collect();
    let serial = headers.iter().find(|(name, _)| name == "wechatpay-serial").unwrap().1.clone();
    let keys = PlatformKeys::default();
    keys.add(&serial, verifying_key(&text(&vector["key"])));
    let clock = Timestamp::from_second(vector["clock"].as_i64().unwrap()).unwrap();
    (headers, text(&vector["body"]), clock, keys)
}

#[test]
fn every_published_callback_is_believed() {
    let vectors = vectors("notify.json");
    assert_eq!(vectors.len(), 3);
    for vector in vectors {
        let (headers, body, clock, keys) = callback(&vector);
        let verified = keys.verify(&header_map(&headers), body.as_bytes(), clock).unwrap();
        assert_eq!(verified.bytes(), body.as_bytes());
    }
}

#[test]
fn callbacks_five_minutes_away_in_either_direction_are_refused() {
    let (headers, body, clock, keys) = callback(&named("notify.json", "computed-transaction-success"));
    let at = |seconds: i64| {
        let now = Timestamp::from_second(clock.as_second() + seconds).unwrap();
        keys.verify(&header_map(&headers), body.as_bytes(), now).map(drop)
    };
    assert_eq!((at(299), at(-299)), (Ok(()), Ok(())));
    let off = Err(Unverified::Clock { off_by_seconds: 300 });
    assert_eq!((at(300), at(-300)), (off.clone(), off));
}

#[test]
fn probes_and_other_signatures_that_do_not_fit_are_refused() {
    let (headers, body, clock, keys) = callback(&named("notify.json", "computed-transaction-success"));
    let valid = headers.iter().find(|(name, _)| name == "wechatpay-signature").unwrap().1.clone();
    let forged = signing_key("go_sdk").sign(b"anything");
    let probe = format!("WECHATPAY/SIGNTEST/{valid}");
    for wrong in [probe.as_str(), "WECHATPAY/SIGNTEST/", "", "====", "a", forged.as_str(), &valid[4..]] {
        let headers = with(&headers, "wechatpay-signature", wrong);
        let judged = keys.verify(&header_map(&headers), body.as_bytes(), clock).unwrap_err();
        assert!(matches!(judged, Unverified::Signature(_)), "{wrong}: {judged}");
    }
}

#[test]
fn a_serial_that_is_not_known_is_refused_whoever_signed() {
    let (headers, body, clock, keys) = callback(&named("notify.json", "computed-transaction-success"));
    let headers = with(&headers, "wechatpay-serial", "5F1C72E2A8931B72A2E13AF8DEE92471EB397115");
    let judged = keys.verify(&header_map(&headers), body.as_bytes(), clock).unwrap_err();
    assert_eq!(judged, Unverified::UnknownKey);
}

#[test]
fn another_serialisation_of_the_same_json_is_refused() {
    let (headers, body, clock, keys) = callback(&named("notify.json", "computed-transaction-success"));
    let value: Value = serde_json::from_str(&body).unwrap();
    let again = serde_json::to_string_pretty(&value).unwrap();
    let judged = keys.verify(&header_map(&headers), again.as_bytes(), clock).unwrap_err();
    assert!(matches!(judged, Unverified::Signature(_)));
    let longer = format!("{body}\n");
    assert!(keys.verify(&header_map(&headers), longer.as_bytes(), clock).is_err());
}

#[test]
fn a_header_that_is_missing_or_doubled_is_refused() {
    let (headers, body, clock, keys) = callback(&named("notify.json", "computed-transaction-success"));
    for name in ["wechatpay-timestamp", "wechatpay-nonce", "wechatpay-serial", "wechatpay-signature"] {
        let missing: Vec<_> = headers.iter().filter(|(other, _)| other != name).cloned().collect();
        let judged = keys.verify(&header_map(&missing), body.as_bytes(), clock).unwrap_err();
        assert_eq!(judged, Unverified::Header(name));
        let mut doubled = header_map(&headers);
        doubled.append(name, doubled[name].clone());
        let judged = keys.verify(&doubled, body.as_bytes(), clock).unwrap_err();
        assert_eq!(judged, Unverified::Header(name));
    }
    let headers = with(&headers, "wechatpay-timestamp", "soon");
    let judged = keys.verify(&header_map(&headers), body.as_bytes(), clock).unwrap_err();
    assert_eq!(judged, Unverified::Header("wechatpay-timestamp"));
}

fn with(headers: &[(String, String)], name: &str, value: &str) -> Vec<(String, String)> {
    let changed = |(other, old): &(String, String)| match other == name {
        true => (other.clone(), value.to_owned()),
        false => (other.clone(), old.clone()),
    };
    headers.iter().map(changed).collect()
}

#[test]
fn virtual_payment_is_signed_alike() {
    let client = named("xpay_hmac.json", "community-go-test");
    let app_key: SecretString = text(&client["appKey"]).into();
    let session_key: SecretString = text(&client["session_key"]).into();
    let data = text(&client["signData"]);
    assert_eq!(pay_signature(&app_key, "requestVirtualPayment", data.as_bytes()), client["paySig"]);
    assert_eq!(user_signature(&session_key, data.as_bytes()), client["signature"]);

    let server = named("xpay_hmac.json", "server-query-order");
    let body = text(&server["body"]);
    assert_eq!(pay_signature(&app_key, &text(&server["path"]), body.as_bytes()), server["pay_sig"]);
    assert_eq!(user_signature(&session_key, body.as_bytes()), server["signature"]);
}

#[test]
fn session_keys_and_pushed_requests_are_signed_alike() {
    let session = named("session_and_push.json", "checksession");
    assert_eq!(hmac_sha256_hex(text(&session["session_key"]).as_bytes(), b""), session["signature"]);
    let push = named("session_and_push.json", "push-sha1");
    let mut parts = ["token", "timestamp", "nonce"].map(|name| text(&push[name]));
    parts.sort();
    assert_eq!(sha1_hex(parts.concat().as_bytes()), push["signature"]);
}

#[test]
fn requests_to_a_bucket_are_signed_alike() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/cos/cos_sign_v5.json");
    let file: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    assert_eq!(vectors.len(), 4);
    for vector in vectors {
        let (from, until) = vector["key_time"].as_str().unwrap().split_once(';').unwrap();
        let term = Term { from: from.parse().unwrap(), until: until.parse().unwrap() };
        let keys =
            Keys { id: text(&vector["secret_id"]), secret: text(&vector["secret_key"]).into(), token: None };
        let pairs = |name: &str| -> Vec<(String, String)> {
            vector[name]
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, value)| (name.clone(), text(value)))
                .collect()
        };
        let (query, headers) = (pairs("query"), pairs("signed_headers"));
        let (method, path) = (text(&vector["method"]), text(&vector["path"]));
        let request = Request { method: &method, path: &path, query: &query, headers: &headers };
        let made = cos_authorization(&keys, request, term);
        match vector["authorization"].as_str() {
            Some(whole) => assert_eq!(made, whole),
            None => assert!(made.ends_with(&format!("q-signature={}", text(&vector["q_signature"])))),
        }
    }
}

#[test]
fn a_link_carries_its_signature_and_token_but_no_key() {
    let keys = Keys { id: "id".to_owned(), secret: "secret".into(), token: Some("to ken".into()) };
    let endpoint = Url::parse("https://b-1.cos.ap-shanghai.myqcloud.com").unwrap();
    let url = presigned(&keys, "GET", &endpoint, "a b/c.png", Term { from: 1, until: 2 });
    assert_eq!(url.path(), "/a%20b/c.png");
    let query: HashMap<_, _> = url.query_pairs().into_owned().collect();
    assert_eq!((query["q-sign-time"].as_str(), query["q-header-list"].as_str()), ("1;2", "host"));
    assert_eq!(query["q-url-param-list"], "x-cos-security-token");
    assert_eq!(query["x-cos-security-token"], "to ken");
    assert!(!url.as_str().contains("secret="));
}
