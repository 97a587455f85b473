//! Virtual payment: what the client takes, what the server may ask, and the event that asks for delivery.

use std::time::Duration;

use serde_json::{Value, json};
use wechat_sim::{Config, Format, Guard, Person, Push};

use crate::support::{Receiver, World, hmac_hex};

async fn world() -> (World, Receiver) {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    receiver.usually("{\"ErrCode\":0,\"ErrMsg\":\"success\"}");
    let url = format!("{}/events", receiver.url);
    world.sim.push_to(Push { url, format: Format::Json, guard: Guard::Container });
    (world, receiver)
}

fn data(config: &Config, number: &str) -> Value {
    json!({
        "offerId": config.offer_id, "buyQuantity": 1, "env": 0, "currencyType": "CNY",
        "productId": "credits_100", "goodsPrice": 990, "outTradeNo": number, "attach": "a",
    })
}

fn signed(app_key: &str, session_key: &str, mode: &str, data: &Value) -> Value {
    let text = data.to_string();
    json!({
        "mode": mode, "paySig": hmac_hex(app_key, &format!("requestVirtualPayment&{text}")),
        "signature": hmac_hex(session_key, &text), "signData": text,
    })
}

fn goods(world: &World, session_key: &str, number: &str) -> Value {
    let config = world.sim.config();
    signed(&config.app_key, session_key, "short_series_goods", &data(config, number))
}

/// A server call; signed by the session key as well where one is given.
async fn call(world: &World, name: &str, body: &Value, session_key: Option<&str>) -> Value {
    let (path, text, token) = (format!("/xpay/{name}"), body.to_string(), world.token().await);
    let pay_sig = hmac_hex(&world.sim.config().app_key, &format!("{path}&{text}"));
    let mut query = vec![("access_token", token), ("pay_sig", pay_sig)];
    query.extend(session_key.map(|key| ("signature", hmac_hex(key, &text))));
    let request = world.http.post(format!("{}{path}", world.sim.url())).query(&query).body(text);
    request.send().await.unwrap().json().await.unwrap()
}

fn by_number(person: &Person, number: &str) -> Value {
    json!({"openid": person.openid(), "env": 0, "order_id": number})
}

#[tokio::test]
async fn what_was_paid_is_asked_to_be_delivered_and_counts_as_delivered_when_it_is() {
    let (world, receiver) = world().await;
    let (person, key) = world.person().await;
    receiver.answers(&[(200, "{\"ErrCode\":1,\"ErrMsg\":\"later\"}"), (200, "success"), (500, "")]);
    person.pays_virtually(&goods(&world, &key, "virtual-1")).unwrap();
    let told: Vec<bool> =
        world.deliveries("xpay_goods_deliver_notify").await.iter().map(|one| one.taken).collect();
    assert_eq!(told, [false, false, false, true]);
    let event = receiver.heard()[0].json();
    assert_eq!((&event["OutTradeNo"], &event["OpenId"]), (&json!("virtual-1"), &json!(person.openid())));
    assert_eq!(event["GoodsInfo"]["ProductId"], "credits_100");
    assert_eq!(world.sim.virtual_order("virtual-1"), Some(4));
    let order = call(&world, "query_order", &by_number(&person, "virtual-1"), None).await["order"].clone();
    assert_eq!(
        (&order["status"], &order["paid_fee"], &order["left_fee"]),
        (&json!(4), &json!(990), &json!(990))
    );
}

#[tokio::test]
async fn the_client_refuses_what_is_signed_wrongly_or_not_for_sale() {
    let (world, _receiver) = world().await;
    let (person, key) = world.person().await;
    let config = world.sim.config();
    let code = |call: &Value| person.pays_virtually(call).unwrap_err().code;
    let with = |name: &str, value: Value| {
        let mut data = data(config, "virtual-2");
        data[name] = value;
        signed(&config.app_key, &key, "short_series_goods", &data)
    };
    assert_eq!(
        code(&signed(&config.sandbox_app_key, &key, "short_series_goods", &data(config, "virtual-2"))),
        -15006
    );
    assert_eq!(
        code(&signed(&config.app_key, "another", "short_series_goods", &data(config, "virtual-2"))),
        -15005
    );
    assert_eq!(code(&json!({"mode": "short_series_goods"})), -15001);
    for (name, value, expected) in [
        ("outTradeNo", json!("_virtual-2"), -15016),
        ("outTradeNo", json!("short"), -15016),
        ("buyQuantity", json!(0), -15016),
        ("currencyType", json!("USD"), -15016),
        ("env", json!(2), -15016),
        ("offerId", json!("1"), -15016),
        ("price", json!(1), -15016),
        ("goodsPrice", json!(1), -15013),
        ("productId", json!("unpublished"), -15010),
    ] {
        assert_eq!(code(&with(name, value.clone())), expected, "{name} = {value}");
    }
    let good = goods(&world, &key, "virtual-2");
    let session = world.session(&person.login_code()).await;
    assert_eq!(code(&good), -15005, "the key of an earlier login");
    let key = session["session_key"].as_str().unwrap();
    person.pays_virtually(&goods(&world, key, "virtual-2")).unwrap();
    assert_eq!(code(&goods(&world, key, "virtual-2")), -15002);
}

#[tokio::test]
async fn coins_are_bought_spent_and_given_back() {
    let (world, _receiver) = world().await;
    let (person, key) = world.person().await;
    let config = world.sim.config();
    let coins = json!({
        "offerId": config.offer_id, "buyQuantity": 60, "env": 0, "currencyType": "CNY",
        "outTradeNo": "virtual-3", "attach": "",
    });
    person.pays_virtually(&signed(&config.app_key, &key, "short_series_coin", &coins)).unwrap();
    assert_eq!(world.deliveries("xpay_coin_pay_notify").await.len(), 1);
    let openid = person.openid();
    let about = json!({"openid": openid, "env": 0, "user_ip": "1.2.3.4"});
    assert_eq!(call(&world, "query_user_balance", &about, Some(&key)).await["balance"], 60);
    assert_eq!(call(&world, "query_user_balance", &about, None).await["errcode"], 268_490_003);
    assert_eq!(call(&world, "query_user_balance", &about, Some("old")).await["errcode"], 268_490_009);
    let mut spend = json!({
        "openid": openid, "env": 0, "user_ip": "1.2.3.4", "amount": 61, "order_id": "spend-1", "payitem": "[]",
    });
    assert_eq!(call(&world, "currency_pay", &spend, Some(&key)).await["errcode"], 268_490_006);
    spend["amount"] = json!(50);
    assert_eq!(call(&world, "currency_pay", &spend, Some(&key)).await["balance"], 10);
    assert_eq!(call(&world, "currency_pay", &spend, Some(&key)).await["errcode"], 268_490_004);
    let back = json!({
        "openid": openid, "env": 0, "user_ip": "1.2.3.4", "pay_order_id": "spend-1", "order_id": "back-1", "amount": 50,
    });
    assert_eq!(call(&world, "cancel_currency_pay", &back, Some(&key)).await["errcode"], 0);
    assert_eq!(call(&world, "cancel_currency_pay", &back, Some(&key)).await["errcode"], 268_490_005);
    assert_eq!(person.coins(), 60);
}

#[tokio::test]
async fn a_server_call_is_refused_without_its_signature_or_for_somebody_else() {
    let (world, _receiver) = world().await;
    let ((person, key), (other, _)) = (world.person().await, world.person().await);
    person.pays_virtually(&goods(&world, &key, "virtual-4")).unwrap();
    let mine = by_number(&person, "virtual-4");
    let token = world.token().await;
    let unsigned = world.post_with("/xpay/query_order", &[("access_token", &token)], &mine).await;
    assert_eq!(unsigned["errcode"], 268_490_003);
    let code = async |body: Value| call(&world, "query_order", &body, None).await["errcode"].clone();
    assert_eq!(code(by_number(&other, "virtual-4")).await, 268_490_001);
    assert_eq!(code(by_number(&person, "virtual-none")).await, 268_490_002);
    assert_eq!(code(json!({"openid": person.openid(), "env": 0})).await, 268_490_002);
    assert_eq!(code(mine).await, 0);
}

#[tokio::test]
async fn a_refund_is_told_and_never_more_than_what_is_left() {
    let (world, receiver) = world().await;
    let (person, key) = world.person().await;
    person.pays_virtually(&goods(&world, &key, "virtual-5")).unwrap();
    world.sim.quiet(crate::support::SOON).await.unwrap();
    let refund = |number: &str, left: i64, fee: i64| {
        json!({
            "openid": person.openid(), "env": 0, "order_id": "virtual-5", "refund_order_id": number,
            "left_fee": left, "refund_fee": fee, "biz_meta": "", "refund_reason": "3", "req_from": "2",
        })
    };
    let code = async |body: Value| call(&world, "refund_order", &body, None).await["errcode"].clone();
    assert_eq!(code(refund("refund-01", 991, 1)).await, 268_490_002);
    assert_eq!(code(refund("refund-01", 990, 991)).await, 268_490_002);
    assert_eq!(code(refund("refund-01", 990, 90)).await, 0);
    assert_eq!(code(refund("refund-01", 900, 90)).await, 268_490_004);
    assert_eq!(code(refund("refund-02", 900, 900)).await, 0);
    assert_eq!(world.sim.virtual_order("virtual-5"), Some(5));
    assert_eq!(world.deliveries("xpay_refund_notify").await.len(), 2);
    let told = receiver.heard();
    assert!(told.iter().any(|one| one.json()["MchRefundId"] == "refund-01" && one.json()["RefundFee"] == 90));
}

#[tokio::test]
async fn only_apple_refunds_what_was_paid_through_apple() {
    let (world, _receiver) = world().await;
    let (person, key) = world.person().await;
    person.uses_ios();
    person.pays_virtually(&goods(&world, &key, "virtual-6")).unwrap();
    let body = json!({
        "openid": person.openid(), "env": 0, "order_id": "virtual-6", "refund_order_id": "refund-06",
        "left_fee": 990, "refund_fee": 990, "biz_meta": "", "refund_reason": "3", "req_from": "2",
    });
    assert_eq!(call(&world, "refund_order", &body, None).await["errcode"], 268_490_002);
    assert!(person.is_refunded_by_apple("virtual-6") && !person.is_refunded_by_apple("virtual-6"));
    assert_eq!(world.deliveries("xpay_refund_notify").await.len(), 1);
}

#[tokio::test]
async fn goods_can_be_reported_as_provided_when_the_event_was_lost() {
    let (world, receiver) = world().await;
    let (person, key) = world.person().await;
    receiver.answers(&[(500, ""); 16]);
    person.pays_virtually(&goods(&world, &key, "virtual-7")).unwrap();
    assert_eq!(world.deliveries("xpay_goods_deliver_notify").await.len(), 16);
    assert_eq!(world.sim.virtual_order("virtual-7"), Some(2));
    let body = json!({"order_id": "virtual-7", "env": 0});
    assert_eq!(call(&world, "notify_provide_goods", &body, None).await["errcode"], 0);
    assert_eq!(world.sim.virtual_order("virtual-7"), Some(4));
}

#[tokio::test]
async fn products_are_for_sale_once_published_and_bills_list_what_was_sold() {
    let (world, _receiver) = world().await;
    let (person, key) = world.person().await;
    let config = world.sim.config();
    let upload = json!({"env": 0, "upload_item": [{"id": "new", "name": "n", "price": 100, "remark": "", "item_url": ""}]});
    assert_eq!(call(&world, "start_upload_goods", &upload, None).await["errcode"], 0);
    let mut wish = data(config, "virtual-8");
    (wish["productId"], wish["goodsPrice"]) = (json!("new"), json!(100));
    let wish = signed(&config.app_key, &key, "short_series_goods", &wish);
    assert_eq!(person.pays_virtually(&wish).unwrap_err().code, -15010);
    let publish = json!({"env": 0, "publish_item": [{"id": "new"}]});
    assert_eq!(call(&world, "start_publish_goods", &publish, None).await["errcode"], 0);
    person.pays_virtually(&wish).unwrap();
    world.sim.advance(Duration::from_secs(2 * 86_400));
    let bill = json!({"begin_ds": 20_260_101, "end_ds": 20_270_101});
    assert_eq!(call(&world, "download_bill", &bill, None).await["errcode"], 268_490_002, "a day to come");
    let paid = call(&world, "query_order", &by_number(&person, "virtual-8"), None).await;
    let paid = paid["order"]["paid_time"].as_i64().unwrap();
    let day = jiff::Timestamp::from_second(paid + 8 * 3600).unwrap().strftime("%Y%m%d").to_string();
    let day: i64 = day.parse().unwrap();
    let wish = json!({"begin_ds": day, "end_ds": day});
    let first = call(&world, "download_bill", &wish, None).await;
    assert_eq!(first["errcode"], 268_490_011, "it is being made");
    let strange = json!({"begin_ds": day, "end_ds": day, "format": "csv"});
    assert_eq!(call(&world, "download_bill", &strange, None).await["errcode"], 268_490_002);
    let bill = call(&world, "download_bill", &wish, None).await;
    let text = world.http.get(bill["url"].as_str().unwrap()).send().await.unwrap().text().await.unwrap();
    assert!(text.contains("`virtual-8,") && text.contains("`100,"), "{text}");
}
