//! A platform that hangs, cuts, talks nonsense or never stops; and what must never show.

use std::time::Duration;

use backend_api::domain::OpenId;
use backend_api::error_chain::chain;
use backend_api::wechat::pay::{Merchant, PayError};
use backend_api::wechat::platform::LoginError;
use backend_api::wechat::{Bounds, CallError, Options, Platform, TransportError};
use reqwest::Url;

use crate::keys::{merchant, options, private_pem};
use crate::stub::{Answer, SECRET, Stub};

fn raw(status: u16, body: &[u8]) -> Answer {
    Answer::Reply { status, headers: Vec::new(), body: body.to_vec() }
}

async fn transport_error(answer: fn() -> Answer) -> TransportError {
    let stub = Stub::start(move |_| answer()).await;
    let bounds = Bounds { request_timeout: Duration::from_millis(300), max_reply_bytes: 64 * 1024 };
    let platform = Platform::new(Options { bounds, ..stub.options() }).unwrap();
    match platform.code2session("code").await.unwrap_err() {
        LoginError::Platform(CallError::Unreachable(error)) => {
            assert_eq!(stub.seen().len(), 1, "a code may be used up: no repeat");
            error
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_platform_that_misbehaves_is_an_error_within_its_bounds() {
    assert!(matches!(transport_error(|| Answer::Hang).await, TransportError::Call(_)));
    assert!(matches!(transport_error(|| Answer::Cut).await, TransportError::Call(_)));
    let endless = transport_error(|| Answer::Endless).await;
    assert!(matches!(endless, TransportError::TooLong { limit: 65_536 }), "{endless}");
    for garbage in ["", "<html>", "[]", "{\"openid\":1}", "{\"errcode\":\"x\"}"] {
        let stub = Stub::start(move |_| raw(200, garbage.as_bytes())).await;
        let error = stub.client().code2session("code").await.unwrap_err();
        let is_unreadable =
            matches!(&error, LoginError::Platform(CallError::Unreachable(TransportError::Unreadable(_))));
        assert!(is_unreadable, "{garbage}: {error}");
    }
    let broken = transport_error(|| raw(502, b"bad gateway")).await;
    assert!(matches!(broken, TransportError::Status(status) if status == 502));
}

#[tokio::test]
async fn a_refusal_counts_in_any_status() {
    let stub = Stub::start(|_| raw(412, br#"{"errcode":"40029","errmsg":"invalid code"}"#)).await;
    assert!(matches!(stub.client().code2session("c").await.unwrap_err(), LoginError::CodeRefused));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Stub::start(|_| raw(200, br#"{"openid":"o","session_key":"k"}"#)).await;
    let location = elsewhere.url.to_string();
    let stub = Stub::start(move |_| Answer::Reply {
        status: 302,
        headers: vec![("location".to_owned(), location.clone())],
        body: Vec::new(),
    })
    .await;
    stub.client().code2session("c").await.unwrap_err();
    assert!(elsewhere.seen().is_empty(), "the secret would have gone with it");
}

#[tokio::test]
async fn nothing_secret_shows_in_errors_and_debug_output() {
    let nowhere = Url::parse("http://127.0.0.1:9").unwrap();
    let platform =
        Platform::new(Options { api_base: nowhere.clone(), ..Options::new("wx-app", SECRET.into()) })
            .unwrap();
    let login = platform.code2session("the-code").await.unwrap_err();
    let openid = OpenId::new("the-openid");
    let session = platform.check_session(&openid, &"the-session-key".into()).await.unwrap_err();
    let merchant = merchant(&nowhere);
    let pay = merchant.query("order-1").await.unwrap_err();
    let shown = format!(
        "{} {login:?} {} {session:?} {} {pay:?} {platform:?} {merchant:?} {:?} {openid:?}",
        chain(&login),
        chain(&session),
        chain(&pay),
        options(&nowhere),
    );
    let pem = private_pem("java_sdk_merchant");
    let key_line = pem.lines().nth(1).unwrap();
    for secret in [SECRET, "the-code", "the-openid", "the-session-key", "js_code", key_line] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}

#[tokio::test]
async fn a_merchant_with_a_wrong_key_does_not_start() {
    let nowhere = Url::parse("http://127.0.0.1:9").unwrap();
    let mut wrong = options(&nowhere);
    wrong.api_v3_key = "testMchAPIv3Key0".into();
    let error = Merchant::new(wrong).unwrap_err();
    assert!(chain(&error).to_string().contains("exactly 32 bytes"), "{}", chain(&error));
    let mut wrong = options(&nowhere);
    wrong.private_key = "no key".into();
    assert!(Merchant::new(wrong).unwrap_err().to_string().contains("private key"));
}

#[tokio::test]
async fn a_lost_answer_of_wechat_pay_is_asked_for_once_more_at_the_other_address() {
    let first = Stub::start(|_| Answer::Cut).await;
    let second = Stub::start(|_| crate::stub::say_signed(200, br#"{"prepay_id":"wx1"}"#)).await;
    let mut options = options(&first.url);
    options.backup_base = Some(second.url.clone());
    let merchant = Merchant::new(options).unwrap();
    let payer = OpenId::new("o");
    let order = backend_api::wechat::pay::Prepay {
        out_trade_no: "ORDER-1",
        description: "d",
        total_fen: 1,
        payer: &payer,
        attach: None,
        expires_at: None,
    };
    assert_eq!(merchant.prepay(&order).await.unwrap(), "wx1");
    let (one, other) = (&first.seen()[0], &second.seen()[0]);
    assert_eq!(one.body, other.body, "a repeat says the same");
    assert_ne!(one.header("authorization"), other.header("authorization"), "under a signature of its own");
    assert_eq!((first.seen().len(), second.seen().len()), (1, 1));
}

#[tokio::test]
async fn a_wechat_pay_that_never_answers_is_asked_twice_and_no_more() {
    let stub = Stub::start(|_| raw(500, br#"{"code":"SYSTEM_ERROR","message":"later"}"#)).await;
    let error = merchant(&stub.url).query("ORDER-1").await.unwrap_err();
    assert!(matches!(&error, PayError::Failed(refusal) if refusal.code == "SYSTEM_ERROR"), "{error}");
    assert!(error.is_passing());
    assert_eq!(stub.seen().len(), 2);
}
