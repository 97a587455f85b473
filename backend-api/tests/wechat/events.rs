//! What the platform pushes, in each of its spellings.

use backend_api::wechat::events::{
    ContentChecked, DeliveryKind, Event, MAX_EVENT_BYTES, ParseError, Received, parse,
};
use backend_api::wechat::platform::{Suggestion, TraceId, Verdict};
use proptest::prelude::*;
use serde_json::{Value, json};

fn read(body: &Value) -> Received {
    parse(body.to_string().as_bytes()).unwrap_or_else(|error| panic!("{error}: {body}"))
}

fn checked(body: &Value) -> ContentChecked {
    match read(body).event {
        Event::ContentChecked(checked) => checked,
        other => panic!("{other:?}"),
    }
}

fn verdict(suggestion: Suggestion, label: i64) -> Verdict {
    Verdict { suggestion, label, trace_id: TraceId("t1".to_owned()) }
}

fn media_check(fields: Value) -> Value {
    let mut body = json!({
        "ToUserName": "gh_1", "FromUserName": "o1", "CreateTime": 1795320063, "MsgType": "event",
        "Event": "wxa_media_check", "appid": "wx1", "trace_id": "t1",
    });
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

#[test]
fn the_end_of_a_check_is_read_in_its_new_shape() {
    let body = media_check(json!({
        "version": 2, "errcode": 0, "errmsg": "ok", "result": { "suggest": "risky", "label": 20002 },
        "detail": [{ "strategy": "content_model", "errcode": 0, "suggest": "risky", "label": 20002, "prob": 90 }],
    }));
    assert_eq!(checked(&body), ContentChecked { verdict: verdict(Suggestion::Risky, 20002), failure: None });
}

#[test]
fn the_end_of_a_check_is_read_in_its_old_shape() {
    let safe = media_check(json!({ "isrisky": 0, "status_code": 0, "extra_info_json": "" }));
    assert_eq!(checked(&safe).verdict, verdict(Suggestion::Pass, 100));
    let risky = media_check(json!({ "isrisky": 1, "status_code": 0 }));
    assert_eq!(checked(&risky).verdict, verdict(Suggestion::Risky, 21000));
    let unread = media_check(json!({ "isrisky": 0, "status_code": 4294966288_i64 }));
    assert_eq!(
        checked(&unread).verdict,
        verdict(Suggestion::Review, 0),
        "a picture nobody saw does not pass"
    );
}

#[test]
fn a_check_that_failed_or_disagrees_with_itself_does_not_pass() {
    let failed = media_check(json!({
        "version": 2, "errcode": -1010, "result": { "suggest": "pass", "label": 100 },
    }));
    let expected = ContentChecked { verdict: verdict(Suggestion::Review, 0), failure: Some(-1010) };
    assert_eq!(checked(&failed), expected);
    let split = media_check(json!({
        "errcode": 0, "result": { "suggest": "pass", "label": 100 }, "detail": [{ "suggest": "risky" }],
    }));
    assert_eq!(checked(&split).verdict.suggestion, Suggestion::Review);
    let body = media_check(json!({ "errcode": 0 })).to_string();
    assert_eq!(parse(body.as_bytes()).unwrap_err(), ParseError::Incomplete);
}

#[test]
fn xml_says_the_same_as_json() {
    let body = "<?xml version=\"1.0\"?>\n<xml><ToUserName><![CDATA[gh_1]]></ToUserName>\n\
        <FromUserName><![CDATA[o1]]></FromUserName><CreateTime>1795320063</CreateTime>\
        <MsgType><![CDATA[event]]></MsgType><Event><![CDATA[wxa_media_check]]></Event>\
        <appid>wx1</appid><trace_id>t1</trace_id><version>2</version><errcode>0</errcode>\
        <result><suggest>review</suggest><label>20001</label></result>\
        <detail><suggest>pass</suggest></detail><detail><suggest>review</suggest></detail></xml>";
    let received = parse(body.as_bytes()).unwrap();
    let Event::ContentChecked(checked) = &received.event else { panic!("{received:?}") };
    assert_eq!(checked.verdict, verdict(Suggestion::Review, 20001));
    let same = read(&media_check(json!({ "result": { "suggest": "review", "label": 20001 } })));
    assert_eq!(received.head.delivery_key(), same.head.delivery_key());
    let one = body
        .replace("<detail><suggest>pass</suggest></detail>", "")
        .replace("review</suggest><label>", "pass</suggest><label>");
    let Event::ContentChecked(checked) = parse(one.as_bytes()).unwrap().event else { panic!("a check") };
    assert_eq!(checked.verdict.suggestion, Suggestion::Pass, "one detail is a list of one");
}

#[test]
fn a_delivery_is_read_however_its_names_are_spelt() {
    let page = json!({
        "ToUserName": "gh_1", "FromUserName": "o0", "CreateTime": 1795320063, "MsgType": "event",
        "Event": "xpay_goods_deliver_notify", "OpenId": "o1", "OutTradeNo": "PM1", "Env": 1,
        "WeChatPayInfo": { "MchOrderNo": "M1", "TransactionId": "42", "PaidTime": 1795320060 },
        "GoodsInfo": {
            "ProductId": "credits_100", "Quantity": 2, "OrigPrice": 1980, "ActualPrice": 1980, "Attach": "order:1",
        },
    });
    let other = json!({
        "event": "xpay_goods_deliver_notify", "msgtype": "event", "openid": "o1", "out_trade_no": "PM1", "env": "1",
        "WechatPayInfo": { "transaction_id": "42" },
        "goods_info": { "product_id": "credits_100", "quantity": "2", "actual_price": "1980", "attach": "order:1" },
    });
    for body in [page, other] {
        let Event::Deliver(delivery) = read(&body).event else { panic!("{body}") };
        assert_eq!((delivery.openid.as_str(), delivery.out_trade_no.as_str()), ("o1", "PM1"));
        assert_eq!((delivery.environment, delivery.transaction_id.as_deref()), (1, Some("42")));
        assert_eq!(delivery.attach.as_deref(), Some("order:1"));
        let goods =
            DeliveryKind::Goods { product: "credits_100".to_owned(), quantity: 2, actual_fen: Some(1980) };
        assert_eq!(delivery.kind, goods);
    }
}

#[test]
fn coins_refunds_complaints_and_questions_are_told_apart() {
    let event = |name: &str, fields: Value| {
        let mut body = json!({ "MsgType": "event", "Event": name, "OpenId": "o1" });
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        read(&body).event
    };
    let coins = json!({ "OutTradeNo": "PM1", "Env": 0, "CoinInfo": { "Quantity": 100, "ActualPrice": 990 } });
    let Event::Deliver(delivery) = event("xpay_coin_pay_notify", coins) else { panic!("coins") };
    assert_eq!(delivery.kind, DeliveryKind::Coins { quantity: 100, actual_fen: Some(990) });
    let refund = json!({ "MchOrderId": "PM1", "MchRefundId": "RF1", "RefundFee": 90, "RetCode": 0 });
    let Event::Refunded(refund) = event("xpay_refund_notify", refund) else { panic!("a refund") };
    assert_eq!(
        (refund.order_id.as_deref(), refund.refund_fen, refund.code),
        (Some("PM1"), Some(90), Some(0))
    );
    let complaint = json!({ "ComplaintId": 7, "OutTradeNo": "PM1" });
    let Event::Complaint(complaint) = event("xpay_complaint_notify", complaint) else {
        panic!("a complaint")
    };
    assert_eq!(complaint.complaint_id.as_deref(), Some("7"));
    let name = "xpay_subscribe_ios_refund_query_notify";
    let Event::IosRefundQuestion(question) = event(name, json!({ "OutTradeNo": "PM1" })) else {
        panic!("Apple")
    };
    assert_eq!(question.order_id.as_deref(), Some("PM1"));
}

#[test]
fn the_probe_of_the_console_and_what_nobody_knows_are_no_errors() {
    assert!(matches!(read(&json!({ "action": "CheckContainerPath" })).event, Event::Probe));
    let unknown =
        read(&json!({ "MsgType": "event", "Event": "user_enter_tempsession", "FromUserName": "o1" }));
    assert!(matches!(unknown.event, Event::Other));
    assert_eq!(unknown.head.event, "user_enter_tempsession");
    let message = read(&json!({ "MsgType": "text", "Content": "hello", "MsgId": 23456789012345678_i64 }));
    assert!(matches!(message.event, Event::Other));
    assert_eq!(message.head.message_id.as_deref(), Some("23456789012345678"));
}

#[test]
fn deliveries_of_one_event_have_one_key_that_tells_nothing() {
    let event = |from: &str, time: i64| {
        read(&json!({ "Event": "e", "FromUserName": from, "CreateTime": time })).head.delivery_key()
    };
    assert_eq!(event("o1", 1), event("o1", 1));
    assert_ne!(event("o1", 1), event("o1", 2));
    assert_ne!(event("o1", 1), event("o2", 1));
    assert!(!event("o1", 1).contains("o1"));
    let named = |id: i64, time: i64| read(&json!({ "MsgId": id, "CreateTime": time })).head.delivery_key();
    assert_eq!(named(7, 1), named(7, 2));
    assert_ne!(named(7, 1), named(8, 1));
}

#[test]
fn bodies_that_are_no_events_are_refused() {
    let deep = format!("{}{}", "<a>".repeat(100), "</a>".repeat(100));
    let nested = format!("{}1{}", "{\"a\":".repeat(1000), "}".repeat(1000));
    let entity = "<!DOCTYPE x [<!ENTITY a \"b\">]><xml><Event>&a;</Event></xml>";
    let bodies = [
        "",
        " ",
        "success",
        "[]",
        "{",
        "<xml>",
        "<xml></yml>",
        "</xml>",
        "<xml/>",
        "<xml></xml>text",
        "<xml></xml><xml></xml>",
        "<xml>&undefined;</xml>",
        "<xml>&#xD800;</xml>",
        entity,
        &deep,
        &nested,
    ];
    for body in bodies {
        assert_eq!(parse(body.as_bytes()).unwrap_err(), ParseError::Unreadable, "{body}");
    }
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_EVENT_BYTES));
    assert_eq!(parse(long.as_bytes()).unwrap_err(), ParseError::TooLong);
    assert_eq!(parse(b"{\"a\":\"\xff\"}").unwrap_err(), ParseError::Unreadable);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..300), shape in 0..3) {
        let body = match shape {
            0 => body,
            1 => [b"{\"Event\":\"wxa_media_check\",\"trace_id\":".as_slice(), &body, b"}"].concat(),
            _ => [b"<xml><Event>xpay_goods_deliver_notify</Event>".as_slice(), &body, b"</xml>"].concat(),
        };
        let _ = parse(&body);
    }
}
