//! Inside the container: no token, and the simplified pay.

use backend_api::wechat::cloud_run_pay::{CloudRunPay, Error, Hint, Options, Order, RefundOrder};
use backend_api::wechat::platform::Scene;

use crate::world::{World, openid};

#[tokio::test]
async fn the_side_car_vouches_and_no_token_is_fetched() {
    let world = World::new().await;
    let (inside, person) = (world.inside(), world.sim.person());
    inside.code2session(&person.login_code()).await.unwrap();
    inside.check_text(&openid(&person), "a", Scene::Social).await.unwrap();
    assert!(world.sim.requests().iter().all(|seen| !seen.line.contains("token")));
}

#[tokio::test]
async fn the_simplified_pay_is_used_from_order_to_refund() {
    let world = World::new().await;
    world.sim.container_service(&world.receiver.url);
    *world.receiver.says.lock().unwrap() = Hint::ANSWER.to_owned();
    let (person, config) = (world.sim.person(), world.sim.config());
    let options = Options {
        merchant_id: config.mchid.clone(),
        env: config.env.clone(),
        service: "backend".to_owned(),
        callback_path: "/callbacks/cloud-run-pay".to_owned(),
    };
    assert!(matches!(CloudRunPay::new(world.platform.clone(), options.clone()), Err(Error::NotInside)));
    let pay = CloudRunPay::new(world.inside(), options).unwrap();
    let payer = openid(&person);
    let order = Order {
        out_trade_no: "order-0001",
        description: "一节课",
        total_fen: 990,
        payer: &payer,
        client_ip: "127.0.0.1",
    };
    let payment = pay.order(&order).await.unwrap();
    assert_eq!(pay.query("order-0001").await.unwrap().trade_state, "NOTPAY");
    person.pays(&payment.0).unwrap();
    let (_, headers, body) = world.heard().await.pop().unwrap();
    assert!(headers.contains_key("x-wx-source"));
    assert_eq!(Hint::read(&body).unwrap().out_trade_no, "order-0001");
    let found = pay.query("order-0001").await.unwrap();
    assert_eq!((found.trade_state.as_str(), found.total_fen), ("SUCCESS", Some(990)));
    assert!(matches!(pay.close("order-0001").await, Err(Error::AlreadyPaid)));
    assert!(matches!(pay.query("order-none").await, Err(Error::NotFound)));
    let refund = RefundOrder {
        out_trade_no: "order-0001",
        out_refund_no: "r-1",
        total_fen: 990,
        refund_fen: 90,
        reason: "下雨",
    };
    pay.refund(&refund).await.unwrap();
    let refunded = pay.query_refund("r-1").await.unwrap();
    assert_eq!((refunded.state.as_str(), refunded.refund_fen), ("SUCCESS", Some(90)));
}
