//! WeChat Pay v3: orders, refunds, bills, certificates.

use std::io::Read as _;
use std::time::Duration;

use serde_json::{Value, json};
use wechat_sim::{Config, Fault, KeyMode, RefundFate, RefundState, TradeState, Trouble};

use crate::support::{World, is_sealed, now, opened};

const PREPAY: &str = "/v3/pay/transactions/jsapi";

fn no(number: &str, mchid: &str) -> String {
    format!("/v3/pay/transactions/out-trade-no/{number}?mchid={mchid}")
}

#[tokio::test]
async fn an_order_is_made_paid_and_found() {
    let world = World::new().await;
    let (person, mchid) = (world.sim.person(), world.sim.config().mchid.clone());
    let order = world.order(&person, "order-0001");
    let prepay = world.v3("POST", PREPAY, Some(&order)).await;
    let prepay_id = prepay.json()["prepay_id"].as_str().unwrap().to_owned();
    assert!(prepay_id.starts_with("wx") && prepay_id.len() == 36, "{prepay_id}");

    let open = world.v3("GET", &no("order-0001", &mchid), None).await.json();
    assert_eq!(open["trade_state"], "NOTPAY");
    assert!(open["transaction_id"].is_null() && open["payer"].is_null(), "{open}");

    let id = person.pays(&world.params(&prepay_id)).unwrap();
    let paid = world.v3("GET", &no("order-0001", &mchid), None).await.json();
    assert_eq!((&paid["trade_state"], &paid["transaction_id"]), (&json!("SUCCESS"), &json!(id)));
    assert_eq!((&paid["amount"]["total"], &paid["payer"]["openid"]), (&json!(990), &json!(person.openid())));
    let by_id = world.v3("GET", &format!("/v3/pay/transactions/id/{id}?mchid={mchid}"), None).await.json();
    assert_eq!(by_id, paid);
    assert_eq!(world.sim.paid_orders(), [("order-0001".to_owned(), 990)]);
}

#[tokio::test]
async fn a_repeated_order_gets_the_same_prepay_and_a_changed_one_is_refused() {
    let world = World::new().await;
    let person = world.sim.person();
    let order = world.order(&person, "order-0002");
    let first = world.v3("POST", PREPAY, Some(&order)).await.json();
    assert_eq!(world.v3("POST", PREPAY, Some(&order)).await.json(), first);
    let mut changed = order.clone();
    changed["amount"]["total"] = json!(991);
    assert_eq!(world.v3("POST", PREPAY, Some(&changed)).await.refusal(), (400, "INVALID_REQUEST".into()));
    world.sim.advance(Duration::from_secs(7201));
    let old = first["prepay_id"].as_str().unwrap();
    assert!(person.pays(&world.params(old)).is_err(), "a prepay of two hours ago");
    let second = world.v3("POST", PREPAY, Some(&order)).await.json();
    assert_ne!(second, first);
    person.pays(&world.params(second["prepay_id"].as_str().unwrap())).unwrap();
    assert_eq!(world.v3("POST", PREPAY, Some(&order)).await.refusal(), (400, "ORDERPAID".into()));
}

#[tokio::test]
async fn an_order_with_a_wrong_field_is_refused() {
    let world = World::new().await;
    let person = world.sim.person();
    let right = world.order(&person, "order-0003");
    let cases: &[(&str, Value, u16, &str)] = &[
        ("/appid", json!("wx0"), 400, "APPID_MCHID_NOT_MATCH"),
        ("/mchid", json!("1"), 400, "MCH_NOT_EXISTS"),
        ("/amount/total", json!(0), 400, "PARAM_ERROR"),
        ("/amount/total", json!(-1), 400, "PARAM_ERROR"),
        ("/amount/total", json!(9.9), 400, "PARAM_ERROR"),
        ("/amount/total", json!("990"), 400, "PARAM_ERROR"),
        ("/amount/currency", json!("USD"), 400, "PARAM_ERROR"),
        ("/out_trade_no", json!("short"), 400, "PARAM_ERROR"),
        ("/out_trade_no", json!("with a space"), 400, "PARAM_ERROR"),
        ("/out_trade_no", json!("x".repeat(33)), 400, "PARAM_ERROR"),
        ("/description", json!(""), 400, "PARAM_ERROR"),
        ("/description", json!("字".repeat(128)), 400, "PARAM_ERROR"),
        ("/attach", json!("a".repeat(129)), 400, "PARAM_ERROR"),
        ("/notify_url", json!("http://pay.example.com/x"), 400, "PARAM_ERROR"),
        ("/notify_url", json!("https://pay.example.com/x?a=1"), 400, "PARAM_ERROR"),
        ("/payer/openid", json!("o-somebody-else"), 500, "OPENID_MISMATCH"),
    ];
    for (pointer, value, status, code) in cases {
        let mut order = right.clone();
        *order.pointer_mut(pointer).unwrap() = value.clone();
        let refusal = world.v3("POST", PREPAY, Some(&order)).await.refusal();
        assert_eq!(refusal, (*status, (*code).to_owned()), "{pointer} = {value}");
    }
    for (name, value) in [("total_fee", json!(1)), ("time_expire", json!("2020-01-01T00:00:00+08:00"))] {
        let mut order = right.clone();
        order[name] = value;
        assert_eq!(world.v3("POST", PREPAY, Some(&order)).await.refusal(), (400, "PARAM_ERROR".into()));
    }
    let name = |name: &str| {
        let mut order = right.clone();
        order.as_object_mut().unwrap().remove(name);
        order
    };
    for missing in ["appid", "mchid", "description", "out_trade_no", "notify_url", "amount", "payer"] {
        let refusal = world.v3("POST", PREPAY, Some(&name(missing))).await.refusal();
        assert_eq!(refusal, (400, "PARAM_ERROR".into()), "{missing}");
    }
    assert_eq!(world.sim.order("order-0003"), None, "a refused order was kept");
}

#[tokio::test]
async fn a_request_whose_signature_is_for_other_bytes_is_refused() {
    let world = World::new().await;
    let person = world.sim.person();
    let body = world.order(&person, "order-0004").to_string();
    let sign_error = (401, "SIGN_ERROR".to_owned());
    let good = world.authorization("POST", PREPAY, &body, now());
    let merchant = world.sim.merchant();
    let unended = {
        let signature = world.sign(&format!("POST\n{PREPAY}\n{}\nnonce\n{body}", now()));
        good.split("signature=").next().unwrap().to_owned() + &format!("signature=\"{signature}\"")
    };
    for wrong in [
        String::new(),
        "WECHATPAY2-SHA256-RSA2048 nonsense".to_owned(),
        world.authorization("POST", PREPAY, &format!("{body} "), now()),
        world.authorization("GET", PREPAY, &body, now()),
        world.authorization("POST", &format!("{PREPAY}?"), &body, now()),
        world.authorization("POST", PREPAY, &body, now() - 301),
        world.authorization("POST", PREPAY, &body, now() + 301),
        good.replace(&merchant.serial, "0123"),
        good.replace(&merchant.mchid, "1"),
        unended,
    ] {
        let answer = world.v3_as("POST", PREPAY, body.clone(), &wrong).await;
        assert_eq!(answer.refusal(), sign_error, "{wrong}");
    }
    assert_eq!(world.v3_as("POST", PREPAY, body, &good).await.status, 200);
    let lonely = world.http.get(format!("{}/v3/certificates", world.sim.url()));
    let lonely =
        lonely.header("accept", "application/json").header("authorization", "x").send().await.unwrap();
    assert_eq!(lonely.status(), 400, "no User-Agent");
}

#[tokio::test]
async fn only_the_payer_pays_and_only_with_the_right_paysign() {
    let world = World::new().await;
    let (person, other) = (world.sim.person(), world.sim.person());
    let prepay = world.v3("POST", PREPAY, Some(&world.order(&person, "order-0005"))).await.json();
    let prepay_id = prepay["prepay_id"].as_str().unwrap();
    let params = world.params(prepay_id);
    assert!(other.pays(&params).is_err());
    for (name, value) in [
        ("timeStamp", json!(now())),
        ("timeStamp", json!("1")),
        ("nonceStr", json!("another")),
        ("package", json!(prepay_id)),
        ("package", json!("prepay_id=wx0")),
        ("signType", json!("MD5")),
        ("paySign", json!(world.sign("another"))),
        ("paySign", json!("")),
    ] {
        let mut wrong = params.clone();
        wrong[name] = value;
        assert!(person.pays(&wrong).is_err(), "{wrong}");
    }
    assert_eq!(world.sim.order("order-0005"), Some(TradeState::NotPay));
    person.pays(&params).unwrap();
    assert!(person.pays(&params).is_err(), "paid twice");
}

#[tokio::test]
async fn a_closed_order_is_not_paid_and_a_paid_one_not_closed() {
    let world = World::new().await;
    let person = world.sim.person();
    let mchid = world.sim.config().mchid.clone();
    let close = async |number: &str, mchid: &str| {
        let target = format!("/v3/pay/transactions/out-trade-no/{number}/close");
        world.v3("POST", &target, Some(&json!({"mchid": mchid}))).await
    };
    let prepay = world.v3("POST", PREPAY, Some(&world.order(&person, "order-0006"))).await.json();
    let closed = close("order-0006", &mchid).await;
    assert_eq!((closed.status, closed.body.len()), (204, 0));
    assert_eq!(close("order-0006", &mchid).await.status, 204, "closing twice");
    assert!(person.pays(&world.params(prepay["prepay_id"].as_str().unwrap())).is_err());
    let again = world.v3("POST", PREPAY, Some(&world.order(&person, "order-0006"))).await;
    assert_eq!(again.refusal(), (400, "ORDER_CLOSED".into()));
    world.paid(&person, "order-0007").await;
    assert_eq!(close("order-0007", &mchid).await.refusal(), (400, "ORDERPAID".into()));
    assert_eq!(close("order-none", &mchid).await.refusal(), (404, "ORDER_NOT_EXIST".into()));
    assert_eq!(close("order-0006", "1").await.refusal(), (400, "PARAM_ERROR".into()));
    assert_eq!(world.v3("GET", &no("order-none", &mchid), None).await.refusal().1, "ORDER_NOT_EXIST");
    assert_eq!(world.v3("GET", &no("order-0007", "1"), None).await.refusal().1, "PARAM_ERROR");
    let bare = "/v3/pay/transactions/out-trade-no/order-0007";
    assert_eq!(world.v3("GET", bare, None).await.refusal().1, "PARAM_ERROR");
}

#[tokio::test]
async fn an_order_that_nobody_pays_is_closed_after_a_week() {
    let world = World::new().await;
    let person = world.sim.person();
    let prepay = world.v3("POST", PREPAY, Some(&world.order(&person, "order-0008"))).await.json();
    world.sim.advance(Duration::from_secs(7 * 86_400 + 1));
    let mchid = world.sim.config().mchid.clone();
    assert_eq!(world.v3("GET", &no("order-0008", &mchid), None).await.json()["trade_state"], "CLOSED");
    assert!(person.pays(&world.params(prepay["prepay_id"].as_str().unwrap())).is_err());
}

fn refund(number: &str, refund: &str, fen: i64) -> Value {
    json!({
        "out_trade_no": number, "out_refund_no": refund, "reason": "r",
        "amount": {"refund": fen, "total": 990, "currency": "CNY"},
    })
}

const REFUNDS: &str = "/v3/refund/domestic/refunds";

#[tokio::test]
async fn refunds_add_up_to_no_more_than_was_paid() {
    let world = World::new().await;
    let person = world.sim.person();
    world.paid(&person, "order-0009").await;
    let ask = async |body: &Value| world.v3("POST", REFUNDS, Some(body)).await;
    let first = ask(&refund("order-0009", "refund-1", 400)).await;
    assert_eq!((first.status, first.json()["status"].as_str()), (200, Some("PROCESSING")));
    let again = ask(&refund("order-0009", "refund-1", 400)).await.json();
    assert_eq!((&again["refund_id"], &again["status"]), (&first.json()["refund_id"], &json!("SUCCESS")));
    let changed = ask(&refund("order-0009", "refund-1", 401)).await;
    assert_eq!(changed.refusal(), (400, "INVALID_REQUEST".into()));
    assert_eq!(ask(&refund("order-0009", "refund-2", 591)).await.refusal().1, "INVALID_REQUEST");
    assert_eq!(ask(&refund("order-0009", "refund-3", 590)).await.status, 200);
    assert_eq!(ask(&refund("order-0009", "refund-4", 1)).await.refusal().1, "INVALID_REQUEST");
    assert_eq!(world.sim.order("order-0009"), Some(TradeState::Refund));
    let found = world.v3("GET", &format!("{REFUNDS}/refund-3"), None).await.json();
    assert_eq!((&found["status"], &found["amount"]["refund"]), (&json!("SUCCESS"), &json!(590)));
    assert!(found["success_time"].is_string());
    let none = world.v3("GET", &format!("{REFUNDS}/refund-2"), None).await;
    assert_eq!(none.refusal(), (404, "RESOURCE_NOT_EXISTS".into()));
}

#[tokio::test]
async fn a_refund_with_a_wrong_field_is_refused() {
    let world = World::new().await;
    let person = world.sim.person();
    let id = world.paid(&person, "order-0010").await;
    world.v3("POST", PREPAY, Some(&world.order(&person, "order-open"))).await;
    let mut both = refund("order-0010", "r-1", 1);
    both["transaction_id"] = json!(id);
    let mut other_total = refund("order-0010", "r-2", 1);
    other_total["amount"]["total"] = json!(991);
    let mut no_currency = refund("order-0010", "r-3", 1);
    no_currency["amount"].as_object_mut().unwrap().remove("currency");
    for (body, expected) in [
        (both, "PARAM_ERROR"),
        (no_currency, "PARAM_ERROR"),
        (refund("order-0010", "r 4", 1), "PARAM_ERROR"),
        (refund("order-0010", "r-5", 0), "PARAM_ERROR"),
        (other_total, "INVALID_REQUEST"),
        (refund("order-open", "r-6", 1), "INVALID_REQUEST"),
        (refund("order-none", "r-7", 1), "RESOURCE_NOT_EXISTS"),
    ] {
        assert_eq!(world.v3("POST", REFUNDS, Some(&body)).await.refusal().1, expected, "{body}");
    }
    assert_eq!(world.sim.order("order-0010"), Some(TradeState::Success));
}

#[tokio::test]
async fn a_refund_may_hang_fail_or_be_too_much_for_the_balance() {
    let world = World::new().await;
    let person = world.sim.person();
    world.paid(&person, "order-0011").await;
    let ask = async |number: &str| world.v3("POST", REFUNDS, Some(&refund("order-0011", number, 100))).await;
    let status = async |number: &str| {
        let found = world.v3("GET", &format!("{REFUNDS}/{number}"), None).await.json();
        found["status"].as_str().unwrap().to_owned()
    };
    world.sim.next_refund(RefundFate::NotEnough);
    assert_eq!(ask("r-1").await.refusal(), (403, "NOT_ENOUGH".into()));
    assert_eq!(ask("r-1").await.status, 200, "the same number later");
    world.sim.next_refund(RefundFate::Hangs);
    ask("r-2").await;
    assert_eq!(status("r-2").await, "PROCESSING");
    assert!(world.sim.settle_refund("r-2", RefundState::Success));
    assert!(!world.sim.settle_refund("r-2", RefundState::Closed), "it has ended");
    assert_eq!(status("r-2").await, "SUCCESS");
    world.sim.next_refund(RefundFate::Fails);
    let id = ask("r-3").await.json()["refund_id"].as_str().unwrap().to_owned();
    assert_eq!(status("r-3").await, "ABNORMAL");
    let body = json!({"out_refund_no": "r-3", "type": "MERCHANT_BANK_CARD"});
    let target = format!("{REFUNDS}/{id}/apply-abnormal-refund");
    assert_eq!(world.v3("POST", &target, Some(&body)).await.status, 200);
    assert_eq!(status("r-3").await, "SUCCESS");
}

#[tokio::test]
async fn a_bill_appears_the_day_after_and_its_digest_holds() {
    let world = World::new().await;
    let person = world.sim.person();
    world.paid(&person, "order-0012").await;
    world.paid(&person, "order-0013").await;
    world.paid(&person, "order-lost").await;
    world.v3("POST", REFUNDS, Some(&refund("order-0013", "r-13", 90))).await;
    world.sim.leave_out_of_bills("order-lost");
    let paid = world.v3("GET", &no("order-0012", &world.sim.config().mchid), None).await.json();
    let date = paid["success_time"].as_str().unwrap()[..10].to_owned();
    let target = format!("/v3/bill/tradebill?bill_date={date}&bill_type=ALL&tar_type=GZIP");
    assert_eq!(world.v3("GET", &target, None).await.refusal(), (400, "STATEMENT_CREATING".into()));
    let before = "/v3/bill/tradebill?bill_date=2020-01-01";
    assert_eq!(world.v3("GET", before, None).await.refusal(), (400, "NO_STATEMENT_EXIST".into()));
    world.sim.advance(Duration::from_secs(2 * 86_400));
    let promise = world.v3("GET", &target, None).await.json();
    let url = promise["download_url"].as_str().unwrap();
    let target = url.strip_prefix(&world.sim.url()).unwrap();
    let file = world.v3_unchecked("GET", target, None).await;
    assert!(file.headers.get("wechatpay-signature").is_none(), "a bill is not signed");
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(&*file.body).read_to_end(&mut text).unwrap();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, &text);
    assert_eq!(promise["hash_value"], hex(digest.as_ref()));
    let text = String::from_utf8(text).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 6, "{text}");
    assert!(lines[1].contains("`order-0012,") && lines[1].contains("`9.90,"), "{text}");
    assert!(lines[3].contains("`r-13,`0.90,") && !text.contains("order-lost"), "{text}");
    assert_eq!(lines[5], "`3,`19.80,`0.90,`0.00,`0.00000,`19.80,`0.90");
    world.sim.advance(Duration::from_secs(301));
    assert_eq!(world.v3_unchecked("GET", target, None).await.status, 404, "an address of five minutes ago");
    let flow = format!("/v3/bill/fundflowbill?bill_date={date}");
    let flow = world.v3("GET", &flow, None).await.json()["download_url"].as_str().unwrap().to_owned();
    let flow = world.v3_unchecked("GET", flow.strip_prefix(&world.sim.url()).unwrap(), None).await;
    assert!(String::from_utf8(flow.body).unwrap().ends_with("`3,`2,`19.80,`1,`0.90\r\n"));
}

#[tokio::test]
async fn a_bill_can_be_promised_with_the_digest_of_another_file() {
    let world = World::new().await;
    let target = format!("/v3/bill/tradebill?bill_date={}", china_today());
    world.paid(&world.sim.person(), "order-0020").await;
    world.sim.advance(Duration::from_secs(2 * 86_400));
    let digest = async || world.v3("GET", &target, None).await.json()["hash_value"].clone();
    let right = digest().await;
    let trouble = Trouble::WrongDigest;
    world.sim.fault(Fault { matching: "tradebill".to_owned(), times: 1, trouble });
    assert_ne!(digest().await, right);
    assert_eq!(digest().await, right);
}

fn china_today() -> String {
    jiff::Timestamp::from_second(now() + 8 * 3600).unwrap().strftime("%Y-%m-%d").to_string()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn certificates_are_handed_out_sealed_where_there_are_any() {
    let world = World::new().await;
    let none = world.v3("GET", "/v3/certificates", None).await;
    assert_eq!(none.refusal(), (404, "RESOURCE_NOT_EXISTS".into()));
    let world = World::with(Config { key_mode: KeyMode::Migrating, ..Config::default() }).await;
    let answer = world.v3_unchecked("GET", "/v3/certificates", None).await;
    let listed = &answer.json()["data"][0];
    assert_eq!(answer.headers["wechatpay-serial"], listed["serial_no"].as_str().unwrap());
    let api_v3_key = &world.sim.config().api_v3_key;
    let sealed = &listed["encrypt_certificate"];
    assert_eq!(sealed["associated_data"], "certificate");
    let pem = opened(api_v3_key, sealed);
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----"), "{pem}");
    let public_key = world.sim.merchant().public_key_pem.unwrap();
    assert!(!is_sealed(&public_key, &answer.headers, &answer.body), "signed by the certificate's key");
}

#[tokio::test]
async fn shipping_is_told_once_and_corrected_once() {
    let world = World::new().await;
    let person = world.sim.person();
    let id = world.paid(&person, "order-0014").await;
    let body = json!({
        "order_key": {"order_number_type": 2, "transaction_id": id}, "logistics_type": 3, "delivery_mode": 1,
        "shipping_list": [{"item_desc": "一节课"}], "upload_time": "2026-11-22T12:00:00.000+08:00",
        "payer": {"openid": person.openid()},
    });
    let tell = async |body: &Value| {
        world.post("/wxa/sec/order/upload_shipping_info", body).await["errcode"].as_i64().unwrap()
    };
    let mut no_time = body.clone();
    no_time["upload_time"] = json!("2026-11-22T12:00:00+08:00");
    assert_eq!(tell(&no_time).await, 47001, "milliseconds are wanted");
    let mut unknown = body.clone();
    unknown["order_key"]["transaction_id"] = json!("4200");
    assert_eq!(tell(&unknown).await, 10_060_004);
    assert_eq!((tell(&body).await, tell(&body).await, tell(&body).await), (0, 0, 10_060_003));
    assert_eq!(world.sim.shipped("order-0014"), 2);
}
