//! Checks of texts and pictures, messages, and the word that an order was fulfilled.

use backend_api::domain::OpenId;
use backend_api::wechat::CallError;
use backend_api::wechat::platform::{
    Audience, CheckError, Logistics, MAX_TEXT_CHARACTERS, Message, MessageError, OrderKey, Scene, Shipping,
    ShippingError, Suggestion, TraceId,
};
use jiff::Timestamp;
use serde_json::json;

use crate::stub::{Stub, fail, say};

#[tokio::test]
async fn a_text_is_judged() {
    let words = [
        ("pass", Suggestion::Pass),
        ("review", Suggestion::Review),
        ("risky", Suggestion::Risky),
        ("a word of tomorrow", Suggestion::Review),
    ];
    for (word, expected) in words {
        let stub = Stub::platform(move |_| {
            say(json!({ "errcode": 0, "trace_id": "t1", "result": { "suggest": word, "label": 20001 } }))
        })
        .await;
        let verdict = stub.client().check_text(&OpenId::new("o1"), "一幅画", Scene::Social).await.unwrap();
        assert_eq!((verdict.suggestion, verdict.label), (expected, 20001));
        assert_eq!(verdict.trace_id, TraceId("t1".to_owned()));
        let [seen] = &stub.asked("/wxa/msg_sec_check")[..] else { panic!("one call") };
        let asked = json!({ "version": 2, "openid": "o1", "scene": 4, "content": "一幅画" });
        assert_eq!(seen.json(), asked);
        assert!(
            str::from_utf8(&seen.body).unwrap().contains("一幅画"),
            "no escapes: the platform reads them as text"
        );
    }
}

#[tokio::test]
async fn a_text_that_is_too_long_is_never_sent() {
    let stub =
        Stub::platform(|_| say(json!({ "trace_id": "t", "result": { "suggest": "pass", "label": 100 } })))
            .await;
    let (fits, too_long) = ("字".repeat(MAX_TEXT_CHARACTERS), "字".repeat(MAX_TEXT_CHARACTERS + 1));
    let platform = stub.client();
    platform.check_text(&OpenId::new("o"), &fits, Scene::Social).await.unwrap();
    let error = platform.check_text(&OpenId::new("o"), &too_long, Scene::Social).await.unwrap_err();
    assert!(matches!(error, CheckError::TooLong));
    assert_eq!(stub.asked("/wxa/msg_sec_check").len(), 1);
}

#[tokio::test]
async fn a_picture_is_handed_in_and_named() {
    let stub = Stub::platform(|_| say(json!({ "errcode": 0, "trace_id": "t2" }))).await;
    let url = "https://example.com/a.png?sign=1&t=2";
    let id = stub.client().check_image(&OpenId::new("o1"), url, Scene::Comment).await.unwrap();
    assert_eq!(id, TraceId("t2".to_owned()));
    let [seen] = &stub.asked("/wxa/media_check_async")[..] else { panic!("one call") };
    let asked = json!({ "version": 2, "openid": "o1", "scene": 2, "media_url": url, "media_type": 2 });
    assert_eq!(seen.json(), asked);
}

#[tokio::test]
async fn each_code_of_a_refused_check_says_what_to_do() {
    let cases = [
        (61010, "inactive"),
        (40003, "unknown"),
        (43104, "unknown"),
        (45009, "busy"),
        (-1, "busy"),
        (40129, "refused"),
        (44002, "refused"),
        (47001, "refused"),
        (48001, "settings"),
    ];
    for (code, expected) in cases {
        let stub = Stub::platform(move |_| fail(code)).await;
        let platform = stub.client();
        let text = platform.check_text(&OpenId::new("o"), "t", Scene::Social).await.unwrap_err();
        let image = platform.check_image(&OpenId::new("o"), "u", Scene::Social).await.unwrap_err();
        for error in [text, image] {
            let outcome = match error {
                CheckError::UserInactive => "inactive",
                CheckError::UserUnknown => "unknown",
                CheckError::Platform(CallError::Busy(_)) => "busy",
                CheckError::Platform(CallError::Refused(_)) => "refused",
                CheckError::Platform(CallError::Misconfigured(_)) => "settings",
                other => panic!("{code}: {other}"),
            };
            assert_eq!(outcome, expected, "{code}");
        }
    }
}

fn message<'a>(to: &'a OpenId, fields: &'a [(&'a str, String)]) -> Message<'a> {
    Message { to, template: "tmpl", page: Some("pages/one?id=1"), fields, audience: Audience::Formal }
}

#[tokio::test]
async fn a_message_is_sent_as_its_template_wants_it() {
    let stub = Stub::platform(|_| fail(0)).await;
    let (to, fields) = (OpenId::new("o1"), [("thing1", "画好了".to_owned())]);
    stub.client().subscribe_message(&message(&to, &fields)).await.unwrap();
    let [seen] = &stub.asked("/cgi-bin/message/subscribe/send")[..] else { panic!("one call") };
    let asked = json!({
        "touser": "o1", "template_id": "tmpl", "page": "pages/one?id=1",
        "data": { "thing1": { "value": "画好了" } }, "miniprogram_state": "formal", "lang": "zh_CN",
    });
    assert_eq!(seen.json(), asked);
    assert!(!format!("{:?}", message(&to, &fields)).contains("o1"));
}

#[tokio::test]
async fn each_code_of_a_refused_message_says_what_to_do() {
    let cases = [
        (43101, "consent"),
        (40003, "unknown"),
        (47003, "unfitting"),
        (40037, "settings"),
        (41030, "settings"),
        (45009, "platform"),
    ];
    for (code, expected) in cases {
        let stub = Stub::platform(move |_| fail(code)).await;
        let to = OpenId::new("o1");
        let outcome = match stub.client().subscribe_message(&message(&to, &[])).await.unwrap_err() {
            MessageError::NotConsented => "consent",
            MessageError::UserUnknown => "unknown",
            MessageError::Unfitting(_) => "unfitting",
            MessageError::Misconfigured(_) => "settings",
            MessageError::Platform(_) => "platform",
        };
        assert_eq!(outcome, expected, "{code}");
        assert_eq!(stub.asked("/cgi-bin/message/subscribe/send").len(), 1, "a message is never repeated");
    }
}

#[tokio::test]
async fn the_platform_hears_that_an_order_was_fulfilled() {
    let path = "/wxa/sec/order/upload_shipping_info";
    let payer = OpenId::new("o1");
    let shipping = |order| Shipping {
        order,
        payer: &payer,
        logistics: Logistics::Virtual,
        item: "教练课程",
        shipped_at: Timestamp::from_millisecond(1_795_320_063_042).unwrap(),
    };
    let stub = Stub::platform(|_| fail(0)).await;
    stub.client().upload_shipping(&shipping(OrderKey::Transaction("42"))).await.unwrap();
    let order = OrderKey::OutTradeNo { merchant: "m", number: "n" };
    stub.client().upload_shipping(&shipping(order)).await.unwrap();
    let seen = stub.asked(path);
    let expected = json!({
        "order_key": { "order_number_type": 2, "transaction_id": "42" },
        "logistics_type": 3, "delivery_mode": 1, "shipping_list": [{ "item_desc": "教练课程" }],
        "upload_time": "2026-11-22T12:01:03.042+08:00", "payer": { "openid": "o1" },
    });
    assert_eq!(seen[0].json(), expected);
    let by_ours = json!({ "order_number_type": 1, "mchid": "m", "out_trade_no": "n" });
    assert_eq!(seen[1].json()["order_key"], by_ours);

    let stub = Stub::platform(|_| fail(10060004)).await;
    let error = stub.client().upload_shipping(&shipping(OrderKey::Transaction("42"))).await.unwrap_err();
    assert!(matches!(error, ShippingError::OrderUnknown));
}
