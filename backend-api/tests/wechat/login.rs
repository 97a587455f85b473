//! Login codes, session keys and phone numbers: each documented code becomes what the caller does.

use std::sync::Mutex;

use backend_api::domain::OpenId;
use backend_api::wechat::CallError;
use backend_api::wechat::platform::{LoginError, PhoneError};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use crate::keys::APP;
use crate::stub::{SECRET, Stub, fail, say};

const LOGIN: &str = "/sns/jscode2session";

#[tokio::test]
async fn a_login_code_becomes_a_session() {
    let stub = Stub::start(|_| say(json!({ "openid": "o1", "session_key": "k1", "unionid": "u1" }))).await;
    let session = stub.client().code2session("c&1").await.unwrap();
    assert_eq!((session.openid.as_str(), session.unionid.as_deref()), ("o1", Some("u1")));
    assert_eq!(session.session_key.expose_secret(), "k1");
    let [seen] = &stub.seen()[..] else { panic!("one call") };
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("GET", LOGIN));
    let asked = ["appid", "secret", "js_code", "grant_type"].map(|name| seen.query[name].as_str());
    assert_eq!(asked, [APP, SECRET, "c&1", "authorization_code"]);
    assert_eq!(seen.token(), "", "a login carries the secret, not a token");
}

#[tokio::test]
async fn an_answer_may_say_that_there_is_no_error() {
    let stub =
        Stub::start(|_| say(json!({ "errcode": 0, "errmsg": "ok", "openid": "o1", "session_key": "k1" })))
            .await;
    assert_eq!(stub.client().code2session("c").await.unwrap().unionid, None);
}

#[tokio::test]
async fn each_code_of_a_refused_login_says_what_to_do() {
    let cases = [
        (40029, "code"),
        (40163, "code"),
        (45011, "often"),
        (40226, "blocked"),
        (40013, "settings"),
        (40125, "settings"),
        (40164, "settings"),
        (41002, "settings"),
        (41004, "settings"),
        (41008, "refused"),
        (45009, "busy"),
        (99999, "refused"),
    ];
    for (code, expected) in cases {
        let stub = Stub::start(move |_| fail(code)).await;
        let outcome = match stub.client().code2session("c").await.unwrap_err() {
            LoginError::CodeRefused => "code",
            LoginError::TooFrequent => "often",
            LoginError::Blocked => "blocked",
            LoginError::Platform(CallError::Misconfigured(_)) => "settings",
            LoginError::Platform(CallError::Busy(_)) => "busy",
            LoginError::Platform(CallError::Refused(_)) => "refused",
            LoginError::Platform(CallError::Unreachable(_)) => "unreachable",
        };
        assert_eq!(outcome, expected, "{code}");
        assert_eq!(stub.seen().len(), 1, "{code} is no reason to repeat");
    }
}

#[tokio::test]
async fn a_busy_platform_is_asked_a_second_time_with_the_code_and_no_third() {
    let answers = Mutex::new(vec![say(json!({ "openid": "o1", "session_key": "k1" })), fail(-1)]);
    let stub = Stub::start(move |_| answers.lock().unwrap().pop().unwrap()).await;
    stub.client().code2session("c").await.unwrap();
    assert_eq!(stub.seen().len(), 2);

    let stub = Stub::start(|_| fail(-1)).await;
    let error = stub.client().code2session("c").await.unwrap_err();
    assert!(matches!(error, LoginError::Platform(CallError::Busy(_))));
    assert_eq!(stub.seen().len(), 2);
}

#[tokio::test]
async fn a_session_key_is_shown_to_count_or_not_by_its_signature_alone() {
    for (code, counts) in [(0, true), (87009, false)] {
        let stub = Stub::platform(move |_| fail(code)).await;
        let key: SecretString = "session-key".into();
        assert_eq!(stub.client().check_session(&OpenId::new("o1"), &key).await.unwrap(), counts);
        let [seen] = &stub.asked("/wxa/checksession")[..] else { panic!("one call") };
        assert_eq!(
            seen.query["signature"],
            "73ed784f805875d1bd4956df371d155279d6fc2c4824678b41e039a3e2f4a4cc"
        );
        assert_eq!((seen.query["sig_method"].as_str(), seen.query["openid"].as_str()), ("hmac_sha256", "o1"));
        assert!(!seen.target.contains("session-key"));
    }
    let stub = Stub::platform(|_| fail(87008)).await;
    let error = stub.client().check_session(&OpenId::new("o1"), &"k".into()).await.unwrap_err();
    assert_eq!(error.code(), Some(87008));
}

#[tokio::test]
async fn a_session_key_is_replaced() {
    let stub = Stub::platform(|_| say(json!({ "errcode": 0, "openid": "o1", "session_key": "k2" }))).await;
    let key = stub.client().reset_session(&OpenId::new("o1"), &"k1".into()).await.unwrap();
    assert_eq!(key.expose_secret(), "k2");
    assert_eq!(stub.asked("/wxa/resetusersessionkey").len(), 1);
}

#[tokio::test]
async fn a_phone_code_becomes_a_number_of_this_app_only() {
    let answer = |app: &'static str| {
        move |_: &crate::stub::Seen| {
            say(json!({ "errcode": 0, "phone_info": {
                "phoneNumber": "+8613800000000", "purePhoneNumber": "13800000000", "countryCode": 86,
                "watermark": { "timestamp": 1, "appid": app },
            }}))
        }
    };
    let stub = Stub::platform(answer(APP)).await;
    let number = stub.client().phone_number("p1").await.unwrap();
    assert_eq!((number.number.expose_secret(), number.country_code.as_str()), ("13800000000", "86"));
    let [seen] = &stub.asked("/wxa/business/getuserphonenumber")[..] else { panic!("one call") };
    assert_eq!(seen.json(), json!({ "code": "p1" }));
    assert_eq!(format!("{number:?}"), "PhoneNumber(…)");

    let stub = Stub::platform(answer("wx-of-somebody-else")).await;
    stub.client().phone_number("p1").await.unwrap_err();

    for code in [40029, 40163] {
        let stub = Stub::platform(move |_| fail(code)).await;
        let error = stub.client().phone_number("p1").await.unwrap_err();
        assert!(matches!(error, PhoneError::CodeRefused), "{code}");
    }
}
