//! Virtual payment: what is sent is what is signed, and each code says what to do.

use std::io::Write as _;
use std::slice;
use std::time::Duration;

use backend_api::domain::OpenId;
use backend_api::wechat::bill::{BillFault, FileError};
use backend_api::wechat::xpay::{
    BillColumns, BillError, BillOptions, BillRow, DeliveredBy, Environment, Options, OrderStatus, Purchase,
    RefundColumns, RefundOrder, Unit, Virtual, VirtualError, What, pay_signature, user_signature,
};
use backend_api::wechat::{Options as PlatformOptions, Platform, TransportError};
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::civil::date;
use reqwest::Url;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::stub::{Answer, Seen, Stub, fail, say};

fn seller(stub: &Stub) -> Virtual {
    seller_of(stub.client())
}

fn seller_of(platform: Platform) -> Virtual {
    let options = Options {
        offer_id: "1450593228".to_owned(),
        app_key: "app-key".into(),
        environment: Environment::Sandbox,
        bills: None,
    };
    Virtual::new(platform, options)
}

/// Checks the signature of a call over the bytes that came, and gives its body.
fn signed_body(seen: &Seen) -> Value {
    let app_key: SecretString = "app-key".into();
    assert_eq!(seen.query["pay_sig"], pay_signature(&app_key, &seen.path, &seen.body));
    assert_eq!(seen.token(), "token-1");
    seen.json()
}

#[tokio::test]
async fn a_purchase_is_signed_over_the_text_that_the_client_gets() {
    let stub = Stub::platform(|_| fail(0)).await;
    let seller = seller(&stub);
    let (app_key, session_key): (SecretString, SecretString) = ("app-key".into(), "session-key".into());
    let what = What::Goods { product: "light_monthly", price_fen: 990 };
    let purchase = Purchase {
        out_trade_no: "PM20260719123000A1B2C3D4",
        what,
        quantity: 1,
        attach: "membership:light_monthly",
    };
    let signed = seller.sign_purchase(&purchase, &session_key);
    // the published example, byte by byte
    assert_eq!(signed.pay_sig, "e00d94ab6e3fd1f7e6a8a0b33bc9b06f6d51b871b8f3dd9ccbb8064afa82b29c");
    assert_eq!(signed.signature, "b5895c916a154b2ad05564713c789285bb6aabc2db54ca9e86662b78b4336f45");
    assert_eq!(signed.mode, "short_series_goods");
    let wire = serde_json::to_value(&signed).unwrap();
    assert_eq!(
        wire.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["mode", "signData", "paySig", "signature"]
    );

    let coins = seller.sign_purchase(&Purchase { what: What::Coins, ..purchase }, &session_key);
    let data: Value = serde_json::from_str(&coins.sign_data).unwrap();
    assert_eq!(
        (coins.mode, data.get("productId"), data["buyQuantity"].as_i64()),
        ("short_series_coin", None, Some(1))
    );
    let text = coins.sign_data.as_bytes();
    assert_eq!(coins.pay_sig, pay_signature(&app_key, "requestVirtualPayment", text));
    assert_eq!(coins.signature, user_signature(&session_key, text));
    assert!(stub.seen().is_empty());
}

#[tokio::test]
async fn an_order_is_queried_and_its_status_read() {
    let stub = Stub::platform(|_| {
        say(json!({ "errcode": 0, "order": {
            "order_id": "PM1", "wx_order_id": "W1", "status": 2, "order_fee": 990, "paid_fee": 990,
            "left_fee": 990, "paid_time": 1795320063, "provide_time": 0, "env_type": 1, "wxpay_order_id": 4200001,
        }}))
    })
    .await;
    let order = seller(&stub).query_order(&OpenId::new("o1"), "PM1").await.unwrap();
    assert_eq!((order.status, order.status.is_paid()), (OrderStatus::Paid, true));
    assert_eq!((order.order_fen, order.paid_fen, order.left_fen), (990, Some(990), Some(990)));
    assert_eq!(order.paid_at.unwrap().as_second(), 1_795_320_063);
    assert_eq!(order.wxpay_order_id.as_deref(), Some("4200001"));
    let [seen] = &stub.asked("/xpay/query_order")[..] else { panic!("one call") };
    assert_eq!(signed_body(seen), json!({ "openid": "o1", "env": 1, "order_id": "PM1" }));
    assert!(!seen.query.contains_key("signature"));
}

#[test]
fn money_is_ours_only_between_paying_and_refunding() {
    let paid: Vec<i64> = (0..10).filter(|number| OrderStatus::from(*number).is_paid()).collect();
    assert_eq!(paid, [2, 3, 4]);
}

#[tokio::test]
async fn every_other_call_is_signed_over_its_bytes_too() {
    let stub = Stub::platform(|seen| match seen.path.as_str() {
        "/xpay/query_user_balance" => say(json!({ "errcode": 0, "balance": "12", "present_balance": 2 })),
        "/xpay/download_bill" => say(json!({ "errcode": 0, "url": "https://example.com/bill" })),
        _ => fail(0),
    })
    .await;
    let (seller, openid) = (seller(&stub), OpenId::new("o1"));
    seller.notify_provide_goods(DeliveredBy::OrderId("PM1")).await.unwrap();
    seller.notify_provide_goods(DeliveredBy::WxOrderId("W1")).await.unwrap();
    let refund = RefundOrder {
        openid: &openid,
        order_id: "PM1",
        refund_order_id: "RF000001",
        left_fen: 990,
        refund_fen: 90,
        reason: 5,
        requested_by: 2,
    };
    seller.refund_order(&refund).await.unwrap();
    let key: SecretString = "session-key".into();
    let balance = seller.query_user_balance(&openid, "127.0.0.1", &key).await.unwrap();
    assert_eq!((balance.balance, balance.present_balance), (12, Some(2)));
    let url = seller.download_bill(date(2026, 11, 1), date(2026, 11, 21)).await.unwrap();
    assert_eq!(url.as_str(), "https://example.com/bill");

    let calls: Vec<Seen> = stub.seen().into_iter().filter(|seen| seen.path.starts_with("/xpay/")).collect();
    let bodies: Vec<Value> = calls.iter().map(signed_body).collect();
    assert_eq!(bodies[0], json!({ "order_id": "PM1", "env": 1 }));
    assert_eq!(bodies[1], json!({ "wx_order_id": "W1", "env": 1 }));
    assert_eq!((&bodies[2]["left_fee"], &bodies[2]["refund_fee"]), (&json!(990), &json!(90)));
    assert_eq!(bodies[4], json!({ "begin_ds": 20261101, "end_ds": 20261121 }));
    assert_eq!(calls[3].query["signature"], user_signature(&key, &calls[3].body));
}

#[tokio::test]
async fn each_code_of_virtual_payment_says_what_to_do() {
    let cases = [
        (268490001, "unknown"),
        (268490002, "platform"),
        (268490003, "settings"),
        (268490004, "done"),
        (268490005, "done"),
        (268490006, "insufficient"),
        (268490007, "platform"),
        (268490008, "settings"),
        (268490009, "login"),
        (268490011, "later"),
    ];
    for (code, expected) in cases {
        let stub = Stub::platform(move |_| fail(code)).await;
        let outcome = match seller(&stub).query_order(&OpenId::new("o1"), "PM1").await.unwrap_err() {
            VirtualError::UserUnknown => "unknown",
            VirtualError::Misconfigured(_) => "settings",
            VirtualError::AlreadyDone => "done",
            VirtualError::Insufficient => "insufficient",
            VirtualError::LoginAgain => "login",
            VirtualError::NotReady => "later",
            VirtualError::Platform(_) => "platform",
        };
        assert_eq!(outcome, expected, "{code}");
    }
}

/// Of a file that has every column.
fn columns(unit: Unit) -> BillOptions {
    let text = str::to_owned;
    let (order, amount, fee) = (text("order"), text("price"), Some(text("fee")));
    let refund = Some(RefundColumns { number: text("refund"), amount: text("back") });
    BillOptions {
        columns: BillColumns { order, amount, fee, refund, unit },
        timeout: Duration::from_secs(5),
        max_bytes: 4_096,
        max_rows: 10,
    }
}

/// Of a file that has neither fees nor refunds.
fn few_columns(unit: Unit) -> BillOptions {
    let all = columns(unit);
    BillOptions { columns: BillColumns { fee: None, refund: None, ..all.columns }, ..all }
}

/// Offers a file as the bill of a day, and reads it.
async fn read(file: &[u8], options: &BillOptions) -> Result<Vec<BillRow>, BillError> {
    let file = file.to_vec();
    let stub = Stub::platform(move |seen| match seen.path.as_str() {
        "/file" => {
            assert!(!seen.query.contains_key("access_token"), "nothing of ours goes with it");
            Answer::Reply { status: 200, headers: Vec::new(), body: file.clone() }
        }
        _ => say(json!({ "errcode": 0, "url": format!("http://{}/file?sign=1", seen.header("host")) })),
    })
    .await;
    let mut rows = Vec::new();
    let count = seller(&stub).bill(date(2026, 11, 21), options, |row| rows.push(row)).await?;
    assert_eq!(count, rows.len() as u64);
    Ok(rows)
}

fn packed(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_bill_is_read_by_its_columns_whether_it_is_packed_and_whatever_its_unit() {
    let payment = BillRow { order_id: "PM1".to_owned(), total_fen: 990, fee_milli_fen: 9_000, refund: None };
    let refund = BillRow { fee_milli_fen: -9_000, refund: Some(("RF1".to_owned(), 980)), ..payment.clone() };
    let in_fen = "\u{feff}name,order,price,fee,refund,back\r\n`a, b,`PM1,`990,`9,`,`0\r\n`a,`PM1,`990,`-9,`RF1,`980\r\n";
    let fen = columns(Unit::Fen);
    let rows = [payment.clone(), refund];
    assert_eq!(read(in_fen.as_bytes(), &fen).await.unwrap(), rows);
    assert_eq!(read(&packed(in_fen), &fen).await.unwrap(), rows);
    let in_yuan = "order,price,fee,refund,back\n\"PM1\",9.90,0.09,,";
    assert_eq!(read(in_yuan.as_bytes(), &columns(Unit::Yuan)).await.unwrap(), slice::from_ref(&payment));
    let free = BillRow { fee_milli_fen: 0, ..payment };
    assert_eq!(read(b"order,price\nPM1,9.90\n", &few_columns(Unit::Yuan)).await.unwrap(), [free]);
    assert_eq!(read(b"order,price\r\n", &fen).await.unwrap(), [], "a day without business");
}

#[tokio::test]
async fn what_is_no_bill_is_an_error_not_a_guess() {
    let fen = columns(Unit::Fen);
    let column = |name: &str| BillFault::Column(name.to_owned());
    let cases = [
        ("number,price,fee,refund,back\n`PM1,`990,`9,`,`0\n", column("order")),
        ("order,amount,fee,refund,back\n`PM1,`990,`9,`,`0\n", column("price")),
        ("order,price,charge,refund,back\n`PM1,`990,`9,`,`0\n", column("fee")),
        ("order,price,fee,return,back\n`PM1,`990,`9,`RF1,`980\n", column("refund")),
        ("order,price,fee,refund,gone\n`PM1,`990,`9,`,`0\n", column("back")),
        ("order,price,fee,refund,back\n`PM1,`9.90,`9,`,`0\n", BillFault::Amount("price".to_owned())),
        ("order,price,fee,refund,back\n`PM1,`990,`,`,`0\n", BillFault::Amount("fee".to_owned())),
        ("order,price,fee,refund,back\nPM1,9,90,9,,0\n", BillFault::Line),
        ("", BillFault::Incomplete),
    ];
    for (file, expected) in cases {
        match read(file.as_bytes(), &fen).await.unwrap_err() {
            BillError::File(FileError::Unreadable(fault)) => assert_eq!(fault, expected),
            other => panic!("{expected}: {other}"),
        }
    }
}

#[tokio::test]
async fn a_bill_that_is_cut_off_or_endless_is_an_error() {
    let fen = few_columns(Unit::Fen);
    let long = format!("order,price\n{}", "PM1,1\n".repeat(1_000));
    let error = read(&packed(&long), &fen).await.unwrap_err();
    assert!(matches!(error, BillError::File(FileError::TooLong { limit: 4_096 })), "{error}");
    let mut cut = packed(&long);
    cut.truncate(cut.len() - 9);
    let generous = BillOptions { max_bytes: 1 << 20, ..fen };
    let error = read(&cut, &generous).await.unwrap_err();
    assert!(matches!(error, BillError::File(FileError::Damaged)), "{error}");
}

#[tokio::test]
async fn a_bill_without_an_address_is_still_being_made() {
    for answer in [json!({ "errcode": 0, "url": "" }), json!({ "errcode": 268490011 })] {
        let stub = Stub::platform(move |_| say(answer.clone())).await;
        let asked = seller(&stub).bill(date(2026, 11, 21), &columns(Unit::Fen), |_| {}).await;
        assert!(matches!(asked, Err(BillError::Call(VirtualError::NotReady))), "{asked:?}");
    }
}

/// Inside the container calls go over plain HTTP through the side-car, while the platform itself is known by TLS.
#[tokio::test]
async fn a_bill_is_not_fetched_without_tls() {
    let stub = Stub::platform(|seen| match seen.path.as_str() {
        "/file" => say(json!({})),
        _ => say(json!({ "errcode": 0, "url": format!("http://{}/file?sign=1", seen.header("host")) })),
    })
    .await;
    let api_base = Url::parse("https://api.weixin.qq.com").unwrap();
    let options = PlatformOptions { api_base, container_base: Some(stub.url.clone()), ..stub.options() };
    let seller = seller_of(Platform::new(options).unwrap());
    let asked = seller.bill(date(2026, 11, 21), &columns(Unit::Fen), |_| {}).await;
    assert!(matches!(asked, Err(BillError::Download(TransportError::Insecure))), "{asked:?}");
    assert_eq!(stub.asked("/xpay/download_bill").len(), 1);
    assert_eq!(stub.asked("/file").len(), 0);
}
