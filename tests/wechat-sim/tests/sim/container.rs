//! What is different inside the container: no token, and the simplified pay.

use serde_json::{Value, json};

use crate::support::{Receiver, World};

#[tokio::test]
async fn the_side_car_wants_no_token_and_does_not_log_in() {
    let world = World::new().await;
    let body = json!({"content": "a", "version": 2, "scene": 1, "openid": world.sim.person().openid()});
    assert_eq!(world.inside("/wxa/msg_sec_check", &body).await["errcode"], 0);
    for path in ["/sns/jscode2session", "/cgi-bin/token", "/cgi-bin/stable_token"] {
        let answer = world.http.get(format!("{}{path}", world.sim.container_url())).send().await.unwrap();
        assert_eq!(answer.status(), 404, "{path}");
    }
}

fn order(world: &World, openid: &str, number: &str, fen: i64) -> Value {
    let config = world.sim.config();
    json!({
        "body": "一节课", "openid": openid, "out_trade_no": number, "spbill_create_ip": "127.0.0.1",
        "env_id": config.env, "sub_mch_id": config.mchid, "total_fee": fen, "callback_type": 2,
        "container": {"service": "backend", "path": "/callbacks/cloud-pay"},
    })
}

#[tokio::test]
async fn the_simplified_pay_runs_from_order_to_refund() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    receiver.usually("{\"errcode\":0,\"errmsg\":\"\"}");
    receiver.answers(&[(200, "{\"errcode\":1}")]);
    world.sim.container_service(&receiver.url);
    let person = world.sim.person();
    let wish = order(&world, person.openid(), "order-0001", 990);
    let made = world.inside("/_/pay/unifiedOrder", &wish).await["respdata"].clone();
    assert_eq!((&made["return_code"], &made["result_code"]), (&json!("SUCCESS"), &json!("SUCCESS")));
    let mut payment = made["payment"].clone();
    assert_eq!(payment["signType"], "MD5");
    let right = std::mem::replace(&mut payment["paySign"], json!("ANOTHER"));
    assert!(person.pays(&payment).is_err());
    payment["paySign"] = right;
    person.pays(&payment).unwrap();
    let told = world.deliveries("pay.container").await;
    assert_eq!(told.iter().map(|one| one.taken).collect::<Vec<_>>(), [false, true]);
    let heard = receiver.heard()[0].clone();
    assert!(!heard.header("x-wx-source").is_empty() && heard.header("wechatpay-signature").is_empty());
    assert_eq!((&heard.json()["outTradeNo"], &heard.json()["totalFee"]), (&json!("order-0001"), &json!(990)));

    let by_number = json!({"out_trade_no": "order-0001", "sub_mch_id": world.sim.config().mchid});
    let found = world.inside("/_/pay/queryorder", &by_number).await["respdata"].clone();
    assert_eq!((&found["trade_state"], &found["total_fee"]), (&json!("SUCCESS"), &json!(990)));
    let closed = world.inside("/_/pay/closeorder", &by_number).await["respdata"].clone();
    assert_eq!(closed["err_code"], "ORDERPAID");
    let mut refund = wish.clone();
    refund["out_refund_no"] = json!("r-1");
    refund["refund_fee"] = json!(1000);
    assert_eq!(world.inside("/_/pay/refund", &refund).await["respdata"]["result_code"], "FAIL");
    refund["refund_fee"] = json!(90);
    assert_eq!(world.inside("/_/pay/refund", &refund).await["respdata"]["result_code"], "SUCCESS");
    assert_eq!(world.deliveries("refund.container").await.len(), 1);
    let ask = json!({"out_refund_no": "r-1", "sub_mch_id": world.sim.config().mchid});
    assert_eq!(world.inside("/_/pay/queryrefund", &ask).await["respdata"]["refund_status_0"], "SUCCESS");
}

#[tokio::test]
async fn each_level_of_a_refused_order_says_what_is_wrong() {
    let world = World::new().await;
    let person = world.sim.person();
    let good = order(&world, person.openid(), "order-0002", 990);
    for (pointer, value) in [
        ("/env_id", json!("another")),
        ("/sub_mch_id", json!("1")),
        ("/callback_type", json!(1)),
        ("/container/path", json!("x")),
    ] {
        let mut wrong = good.clone();
        *wrong.pointer_mut(pointer).unwrap() = value;
        let answer = world.inside("/_/pay/unifiedOrder", &wrong).await;
        assert!(answer["errcode"] != 0 && answer["respdata"].is_null(), "{pointer}: {answer}");
    }
    let free = order(&world, person.openid(), "order-0002", 0);
    let answer = world.inside("/_/pay/unifiedOrder", &free).await;
    assert_eq!((&answer["errcode"], &answer["respdata"]["result_code"]), (&json!(0), &json!("FAIL")));
    let ask = json!({"out_trade_no": "order-0002", "sub_mch_id": world.sim.config().mchid});
    assert_eq!(world.inside("/_/pay/queryorder", &ask).await["respdata"]["err_code"], "ORDERNOTEXIST");
    world.inside("/_/pay/unifiedOrder", &good).await;
    let changed = order(&world, person.openid(), "order-0002", 991);
    assert_eq!(
        world.inside("/_/pay/unifiedOrder", &changed).await["respdata"]["err_code"],
        "INVALID_REQUEST"
    );
}
