//! Calls to WeChat Pay v3: what is sent is what is signed, and nothing unsigned is believed.

use backend_api::domain::OpenId;
use backend_api::wechat::crypto::Certificate;
use backend_api::wechat::pay::{
    Merchant, PayError, PlatformKey, Prepay, RefundRequest, RefundState, TradeState, Unverified,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::keys::{
    APP, MERCHANT, PLATFORM, PUBLIC_KEY_ID, fixture, merchant, options, platform_serial, published, signed,
    signed_as, text,
};
use crate::stub::{Answer, Seen, Stub, say_signed};

fn order(payer: &OpenId) -> Prepay<'_> {
    Prepay {
        out_trade_no: "B20261122|01*",
        description: "教练课程 60 分钟",
        total_fen: 19_900,
        payer,
        attach: Some("booking:42"),
        expires_at: Some(Timestamp::from_second(1_795_321_800).unwrap()),
    }
}

fn transaction(state: &str) -> Value {
    json!({
        "appid": APP, "mchid": "1234567891", "out_trade_no": "ORDER-1", "trade_state": state,
        "trade_state_desc": "…", "amount": { "total": 19900, "currency": "CNY" },
    })
}

/// What a request was signed as, checked with the merchant's certificate.
fn assert_signed(seen: &Seen) {
    let header = seen.header("authorization");
    let rest = header.strip_prefix("WECHATPAY2-SHA256-RSA2048 ").unwrap();
    let field = |name: &str| {
        let start = rest.find(&format!("{name}=\"")).unwrap() + name.len() + 2;
        rest[start..].split('"').next().unwrap().to_owned()
    };
    assert_eq!(field("mchid"), "1234567891");
    assert_eq!(field("serial_no"), text(&published(MERCHANT)["serial"]));
    let head = format!("{}\n{}\n{}\n{}\n", seen.method, seen.target, field("timestamp"), field("nonce_str"));
    let message = [head.as_bytes(), &seen.body, b"\n"].concat();
    let certificate = Certificate::from_pem(&text(&published(MERCHANT)["certificate_pem"])).unwrap();
    certificate.key.verify(&message, &field("signature")).unwrap();
    assert!(seen.header("user-agent").starts_with("darkroom-backend-api/"));
    assert_eq!(seen.header("accept"), "application/json");
}

#[tokio::test]
async fn an_order_is_made_and_its_parameters_are_signed_for_the_client() {
    let stub =
        Stub::start(|_| say_signed(200, br#"{"prepay_id":"wx201410272009395522657a690389285100"}"#)).await;
    let merchant = merchant(&stub.url);
    let prepay_id = merchant.prepay(&order(&OpenId::new("o1"))).await.unwrap();
    let [seen] = &stub.seen()[..] else { panic!("one call") };
    assert_signed(seen);
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/v3/pay/transactions/jsapi"));
    let asked = json!({
        "appid": APP, "mchid": "1234567891", "description": "教练课程 60 分钟", "out_trade_no": "B20261122|01*",
        "notify_url": "https://pay.example.com/callbacks/wechat-pay",
        "amount": { "total": 19900, "currency": "CNY" }, "payer": { "openid": "o1" },
        "attach": "booking:42", "time_expire": "2026-11-22T12:30:00+08:00",
    });
    assert_eq!(seen.json(), asked);

    let parameters = serde_json::to_value(merchant.pay_params(&prepay_id)).unwrap();
    let names: Vec<&String> = parameters.as_object().unwrap().keys().collect();
    assert_eq!(names, ["timeStamp", "nonceStr", "package", "signType", "paySign"]);
    let [time, nonce, package] = ["timeStamp", "nonceStr", "package"].map(|name| text(&parameters[name]));
    assert_eq!(
        (package.as_str(), text(&parameters["signType"]).as_str()),
        ("prepay_id=wx201410272009395522657a690389285100", "RSA",)
    );
    let message = format!("{APP}\n{time}\n{nonce}\n{package}\n");
    let certificate = Certificate::from_pem(&text(&published(MERCHANT)["certificate_pem"])).unwrap();
    certificate.key.verify(message.as_bytes(), &text(&parameters["paySign"])).unwrap();
}

#[tokio::test]
async fn an_order_is_queried_by_either_number_whatever_its_letters() {
    let mut paid = transaction("SUCCESS");
    paid["transaction_id"] = "42".into();
    paid["success_time"] = "2026-11-22T12:01:02+08:00".into();
    paid["payer"] = json!({ "openid": "o1" });
    paid["amount"]["payer_total"] = 19_800.into();
    let body = paid.to_string();
    let stub = Stub::start(move |_| say_signed(200, body.as_bytes())).await;
    let merchant = merchant(&stub.url);
    let seen = merchant.query("A|b*c-d_e").await.unwrap();
    assert_eq!((seen.state.clone(), seen.transaction_id.as_deref()), (TradeState::Success, Some("42")));
    assert_eq!(seen.payer_openid(), Some(&OpenId::new("o1")));
    assert_eq!(seen.paid_at.unwrap().as_second(), 1_795_320_062);
    let amount = seen.amount.unwrap();
    assert_eq!((amount.total_fen, amount.payer_total_fen), (19_900, Some(19_800)));
    merchant.query_transaction("42").await.unwrap();
    let seen = stub.seen();
    seen.iter().for_each(assert_signed);
    assert!(seen[0].target.ends_with("?mchid=1234567891"), "{}", seen[0].target);
    assert_eq!(seen[1].target, "/v3/pay/transactions/id/42?mchid=1234567891");
}

#[tokio::test]
async fn an_order_may_stand_in_ways_of_tomorrow() {
    let states = [
        ("NOTPAY", TradeState::NotPaid),
        ("CLOSED", TradeState::Closed),
        ("REFUND", TradeState::Refund),
        ("USERPAYING", TradeState::Paying),
        ("TOMORROW", TradeState::Other("TOMORROW".to_owned())),
    ];
    for (word, expected) in states {
        let body = transaction(word).to_string();
        let stub = Stub::start(move |_| say_signed(200, body.as_bytes())).await;
        let seen = merchant(&stub.url).query("ORDER-1").await.unwrap();
        assert_eq!((seen.state, seen.transaction_id, seen.payer.is_none()), (expected, None, true));
    }
}

#[tokio::test]
async fn closing_is_believed_only_when_the_empty_answer_is_signed() {
    let stub = Stub::start(|_| say_signed(204, b"")).await;
    merchant(&stub.url).close("ORDER-1").await.unwrap();
    let [seen] = &stub.seen()[..] else { panic!("one call") };
    assert_signed(seen);
    assert_eq!(seen.target, "/v3/pay/transactions/out-trade-no/ORDER-1/close");
    assert_eq!(seen.json(), json!({ "mchid": "1234567891" }));

    let stub = Stub::start(|_| Answer::Reply { status: 204, headers: Vec::new(), body: Vec::new() }).await;
    let error = merchant(&stub.url).close("ORDER-1").await.unwrap_err();
    assert!(matches!(error, PayError::Unverified(Unverified::Header(_))), "{error}");
}

#[tokio::test]
async fn an_answer_that_is_not_signed_as_it_should_is_not_believed() {
    let body = transaction("SUCCESS").to_string().into_bytes();
    let cases: [(&str, Vec<(String, String)>); 4] = [
        ("unsigned", Vec::new()),
        ("another body", signed(b"{}")),
        ("of yesterday", signed_as(&body, &platform_serial(), Timestamp::now().as_second() - 86_400)),
        ("another serial", signed_as(&body, "0123456789ABCDEF", Timestamp::now().as_second())),
    ];
    for (name, headers) in cases {
        let body = body.clone();
        let stub =
            Stub::start(move |_| Answer::Reply { status: 200, headers: headers.clone(), body: body.clone() })
                .await;
        let error = merchant(&stub.url).query("ORDER-1").await.unwrap_err();
        assert!(matches!(error, PayError::Unverified(_)), "{name}: {error}");
        assert_eq!(stub.seen().len(), 1, "{name}");
    }
}

#[tokio::test]
async fn refunds_are_asked_for_and_queried_under_one_number() {
    let refund = json!({
        "refund_id": "50", "out_refund_no": "R1", "transaction_id": "42", "out_trade_no": "ORDER-1",
        "channel": "ORIGINAL", "user_received_account": "…", "create_time": "2026-11-22T13:00:00+08:00",
        "status": "PROCESSING",
        "amount": { "total": 19900, "refund": 100, "payer_total": 19900, "payer_refund": 100 },
    });
    let body = refund.to_string();
    let stub = Stub::start(move |_| say_signed(200, body.as_bytes())).await;
    let merchant = merchant(&stub.url);
    let request = RefundRequest {
        out_trade_no: "ORDER-1",
        out_refund_no: "R1",
        refund_fen: 100,
        total_fen: 19_900,
        reason: Some("下雨"),
    };
    let asked = merchant.refund(&request).await.unwrap();
    assert_eq!((asked.state, asked.amount.refund_fen, asked.done_at), (RefundState::Processing, 100, None));
    merchant.query_refund("R1").await.unwrap();
    let seen = stub.seen();
    seen.iter().for_each(assert_signed);
    let body = json!({
        "out_trade_no": "ORDER-1", "out_refund_no": "R1", "reason": "下雨",
        "notify_url": "https://pay.example.com/callbacks/wechat-pay/refunds",
        "amount": { "refund": 100, "total": 19900, "currency": "CNY" },
    });
    assert_eq!((seen[0].target.as_str(), seen[0].json()), ("/v3/refund/domestic/refunds", body));
    assert_eq!(seen[1].target, "/v3/refund/domestic/refunds/R1");
}

#[tokio::test]
async fn each_code_of_a_refusal_says_what_to_do_in_either_spelling() {
    let cases = [
        (400, "PARAM_ERROR", "invalid"),
        (400, "INVALID_REQUEST", "invalid"),
        (400, "ORDER_CLOSED", "closed"),
        (400, "ORDERCLOSED", "closed"),
        (400, "ORDERPAID", "used"),
        (403, "ORDER_PAID", "used"),
        (403, "OUT_TRADE_NO_USED", "used"),
        (400, "APPID_MCHID_NOT_MATCH", "settings"),
        (400, "MCH_NOT_EXISTS", "settings"),
        (401, "SIGN_ERROR", "settings"),
        (401, "SOMETHING_NEW", "settings"),
        (403, "NO_AUTH", "settings"),
        (403, "NOAUTH", "settings"),
        (403, "RULE_LIMIT", "refused"),
        (403, "RULELIMIT", "refused"),
        (403, "TRADE_ERROR", "refused"),
        (403, "ACCOUNT_ERROR", "refused"),
        (403, "NOT_ENOUGH", "not enough"),
        (404, "ORDER_NOT_EXIST", "not found"),
        (404, "ORDERNOTEXIST", "not found"),
        (404, "RESOURCE_NOT_EXISTS", "not found"),
        (429, "FREQUENCY_LIMITED", "often"),
        (429, "RATELIMIT_EXCEEDED", "often"),
        (500, "SYSTEM_ERROR", "failed"),
        (500, "SYSTEMERROR", "failed"),
        (500, "BANK_ERROR", "failed"),
        (500, "OPENID_MISMATCH", "refused"),
        (202, "USERPAYING", "paying"),
    ];
    for (status, code, expected) in cases {
        let stub = Stub::start(move |_| Answer::Reply {
            status,
            headers: vec![("request-id".to_owned(), "08F-269".to_owned())],
            body: json!({ "code": code, "message": "words" }).to_string().into_bytes(),
        })
        .await;
        let error = merchant(&stub.url).query("ORDER-1").await.unwrap_err();
        assert!(error.to_string().contains("08F-269"), "{error}");
        let outcome = match error {
            PayError::Invalid(_) => "invalid",
            PayError::Closed(_) => "closed",
            PayError::AlreadyUsed(_) => "used",
            PayError::Misconfigured(_) => "settings",
            PayError::Refused(_) => "refused",
            PayError::NotEnough(_) => "not enough",
            PayError::NotFound(_) => "not found",
            PayError::TooFrequent(_) => "often",
            PayError::Failed(_) => "failed",
            PayError::Paying(_) => "paying",
            PayError::Unreachable(_) | PayError::Unverified(_) => "unknown",
        };
        assert_eq!(outcome, expected, "{status} {code}");
    }
}

#[tokio::test]
async fn in_public_key_mode_the_key_is_asked_for_and_believed() {
    let body = transaction("NOTPAY").to_string().into_bytes();
    let stub = Stub::start(move |_| Answer::Reply {
        status: 200,
        headers: signed_as(&body, PUBLIC_KEY_ID, Timestamp::now().as_second()),
        body: body.clone(),
    })
    .await;
    let mut options = options(&stub.url);
    options.platform_keys = vec![PlatformKey::Public {
        id: PUBLIC_KEY_ID.to_owned(),
        pem: text(&published(PLATFORM)["public_key_spki_pem"]),
    }];
    Merchant::new(options).unwrap().query("ORDER-1").await.unwrap();
    assert_eq!(stub.seen()[0].header("wechatpay-serial"), PUBLIC_KEY_ID);
}

/// The answer of `/v3/certificates` that holds the platform's certificate, wrapped by the published key.
fn certificates() -> (String, Vec<u8>) {
    let vector = fixture("aes_gcm.json")["vectors"]
        .as_array()
        .unwrap()
        .iter()
        .find(|vector| vector["id"] == "java-download-certificate")
        .unwrap()
        .clone();
    (text(&vector["certificate_serial"]), vector["full_response"].to_string().into_bytes())
}

#[tokio::test]
async fn certificates_that_do_not_sign_their_own_answer_are_not_taken_in() {
    // nobody but the platform has the private key of the published certificate: signed by another, it is a forgery
    let (serial, body) = certificates();
    let stub = Stub::start(move |_| Answer::Reply {
        status: 200,
        headers: signed_as(&body, &serial, Timestamp::now().as_second()),
        body: body.clone(),
    })
    .await;
    let error = merchant(&stub.url).certificates().await.unwrap_err();
    assert!(matches!(error, PayError::Unverified(Unverified::Signature(_))), "{error}");
}

/// Wraps the platform's certificate as the platform does.
fn wrapped_certificate() -> Vec<u8> {
    use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
    use base64::Engine as _;
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, crate::keys::API_V3_KEY.as_bytes()).unwrap());
    let mut bytes = crate::keys::platform_certificate().into_bytes();
    let nonce = Nonce::try_assume_unique_for_key(b"14b16c03dc1b").unwrap();
    key.seal_in_place_append_tag(nonce, Aad::from(b"certificate"), &mut bytes).unwrap();
    let ciphertext = base64::prelude::BASE64_STANDARD.encode(bytes);
    json!({ "data": [{
        "serial_no": platform_serial(), "effective_time": "2022-05-10T10:04:30+08:00",
        "expire_time": "2025-05-09T10:04:30+08:00",
        "encrypt_certificate": {
            "algorithm": "AEAD_AES_256_GCM", "nonce": "14b16c03dc1b", "associated_data": "certificate",
            "ciphertext": ciphertext,
        },
    }]})
    .to_string()
    .into_bytes()
}

#[tokio::test]
async fn certificates_are_fetched_before_the_first_call_and_not_before_each() {
    let stub = Stub::start(|seen| match seen.path.as_str() {
        "/v3/certificates" => say_signed(200, &wrapped_certificate()),
        _ => say_signed(200, transaction("NOTPAY").to_string().as_bytes()),
    })
    .await;
    let mut options = options(&stub.url);
    (options.platform_keys, options.fetch_certificates) = (Vec::new(), true);
    let merchant = Merchant::new(options).unwrap();
    let queries = futures_util::future::join_all((0..20).map(|_| merchant.query("ORDER-1"))).await;
    queries.into_iter().for_each(|outcome| drop(outcome.unwrap()));
    assert_eq!(stub.asked("/v3/certificates").len(), 1);
    assert_signed(&stub.asked("/v3/certificates")[0]);
}

#[tokio::test]
async fn unknown_serials_do_not_have_certificates_fetched_over_and_over() {
    let stub = Stub::start(|_| say_signed(200, &wrapped_certificate())).await;
    let mut options = options(&stub.url);
    options.fetch_certificates = true;
    let merchant = Merchant::new(options).unwrap();
    for _ in 0..50 {
        let headers = signed_as(b"{}", "0123456789", Timestamp::now().as_second());
        let headers = crate::keys::header_map(&headers);
        let judged = merchant.verify(&headers, b"{}", Timestamp::now()).await.map(drop);
        assert_eq!(judged, Err(Unverified::UnknownKey));
    }
    assert_eq!(stub.seen().len(), 1);
}
