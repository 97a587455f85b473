//! The simplified pay of Cloud Run: three levels have to say yes, and a callback is only a hint.

use backend_api::domain::OpenId;
use backend_api::wechat::cloud_run_pay::{CloudRunPay, Error, Hint, Options, Order, RefundOrder};
use backend_api::wechat::{CallError, Options as PlatformOptions, Platform};
use serde_json::{Value, json};

use crate::stub::{Stub, fail, say};

fn options() -> Options {
    Options {
        merchant_id: "1900000109".to_owned(),
        env: "prod-1".to_owned(),
        service: "backend".to_owned(),
        callback_path: "/callbacks/cloud-run-pay".to_owned(),
    }
}

fn inside(stub: &Stub) -> CloudRunPay {
    let platform =
        Platform::new(PlatformOptions { container_base: Some(stub.url.clone()), ..stub.options() }).unwrap();
    CloudRunPay::new(platform, options()).unwrap()
}

fn yes(mut fields: Value) -> Value {
    fields["return_code"] = "SUCCESS".into();
    fields["result_code"] = "SUCCESS".into();
    json!({ "errcode": 0, "errmsg": "ok", "respdata": fields })
}

#[tokio::test]
async fn outside_the_container_there_is_no_such_pay() {
    let stub = Stub::platform(|_| fail(0)).await;
    assert!(matches!(CloudRunPay::new(stub.client(), options()).unwrap_err(), Error::NotInside));
}

#[tokio::test]
async fn an_order_is_made_queried_closed_and_refunded_without_keys() {
    let stub = Stub::start(|seen| match seen.path.as_str() {
        "/_/pay/unifiedOrder" => say(yes(json!({ "prepay_id": "wx1", "payment": { "signType": "MD5" } }))),
        "/_/pay/queryorder" => say(yes(json!({
            "trade_state": "SUCCESS", "transaction_id": "42", "out_trade_no": "ORDER-1", "total_fee": "19900",
        }))),
        "/_/pay/queryrefund" => say(yes(json!({ "refund_status_0": "SUCCESS", "refund_fee_0": 100 }))),
        _ => say(yes(json!({}))),
    })
    .await;
    let pay = inside(&stub);
    let payer = OpenId::new("o1");
    let order = Order {
        out_trade_no: "ORDER-1",
        description: "课程",
        total_fen: 19_900,
        payer: &payer,
        client_ip: "127.0.0.1",
    };
    assert_eq!(pay.order(&order).await.unwrap().0, json!({ "signType": "MD5" }));
    let queried = pay.query("ORDER-1").await.unwrap();
    assert_eq!((queried.trade_state.as_str(), queried.total_fen), ("SUCCESS", Some(19_900)));
    pay.close("ORDER-1").await.unwrap();
    let refund = RefundOrder {
        out_trade_no: "ORDER-1",
        out_refund_no: "R1",
        total_fen: 19_900,
        refund_fen: 100,
        reason: "下雨",
    };
    pay.refund(&refund).await.unwrap();
    assert_eq!(pay.query_refund("R1").await.unwrap().refund_fen, Some(100));
    let seen = stub.seen();
    assert!(seen.iter().all(|seen| seen.method == "POST" && seen.query.is_empty()));
    let expected = json!({
        "out_trade_no": "ORDER-1", "sub_mch_id": "1900000109", "body": "课程", "openid": "o1",
        "spbill_create_ip": "127.0.0.1", "total_fee": 19900, "env_id": "prod-1", "callback_type": 2,
        "container": { "service": "backend", "path": "/callbacks/cloud-run-pay" },
    });
    assert_eq!(seen[0].json(), expected);
}

#[tokio::test]
async fn a_no_on_any_of_three_levels_is_a_no() {
    let connection = json!({ "return_code": "FAIL", "return_msg": "sign", "result_code": "SUCCESS" });
    let business = |code: &str| json!({ "return_code": "SUCCESS", "result_code": "FAIL", "err_code": code });
    let cases = [
        (json!({ "errcode": -1, "errmsg": "busy" }), "busy"),
        (json!({ "errcode": 0, "respdata": connection }), "refused"),
        (json!({ "errcode": 0, "respdata": business("ORDERPAID") }), "paid"),
        (json!({ "errcode": 0, "respdata": business("ORDERNOTEXIST") }), "unknown"),
        (json!({ "errcode": 0, "respdata": business("NOTENOUGH") }), "refused"),
        (json!({ "errcode": 0, "respdata": {} }), "refused"),
    ];
    for (answer, expected) in cases {
        let shown = answer.to_string();
        let stub = Stub::start(move |_| say(answer.clone())).await;
        let outcome = match inside(&stub).query("ORDER-1").await.unwrap_err() {
            Error::Platform(CallError::Busy(_)) => "busy",
            Error::Refused { .. } => "refused",
            Error::AlreadyPaid => "paid",
            Error::NotFound => "unknown",
            other => panic!("{other}"),
        };
        assert_eq!(outcome, expected, "{shown}");
    }
}

#[test]
fn a_callback_says_which_order_to_query_and_nothing_more() {
    let body = br#"{"returnCode":"SUCCESS","outTradeNo":"ORDER-1","totalFee":1}"#;
    assert_eq!(Hint::read(body).unwrap().out_trade_no, "ORDER-1");
    Hint::read(b"{}").unwrap_err();
}
