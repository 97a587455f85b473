//! Virtual payment: what we sign is what the client takes, what it pays is what we are told and find.

use backend_api::wechat::events::{self, DeliveryKind, Event};
use backend_api::wechat::xpay::{DeliveredBy, OrderStatus, Purchase, RefundOrder, VirtualError, What};
use secrecy::SecretString;
use wechat_sim::{Format, Guard, Person, Push};

use crate::world::{World, openid};

/// A world whose receiver hears of deliveries, and somebody who logged in.
async fn world(format: Format) -> (World, Person, SecretString) {
    let world = World::new().await;
    let url = "https://callbacks.example.com/events".to_owned();
    world.sim.push_to(Push { url, format, guard: Guard::Container });
    *world.receiver.says.lock().unwrap() = r#"{"ErrCode":0,"ErrMsg":"success"}"#.to_owned();
    let person = world.sim.person();
    let session = world.platform.code2session(&person.login_code()).await.unwrap();
    (world, person, session.session_key)
}

fn credits(number: &str) -> Purchase<'_> {
    let what = What::Goods { product: "credits_100", price_fen: 990 };
    Purchase { out_trade_no: number, what, quantity: 1, attach: "order:1" }
}

#[tokio::test]
async fn credits_are_sold_delivered_and_refunded() {
    for format in [Format::Json, Format::Xml] {
        let (world, person, key) = world(format).await;
        let shop = world.shop();
        let call = serde_json::to_value(shop.sign_purchase(&credits("virtual-1"), &key)).unwrap();
        person.pays_virtually(&call).unwrap();
        let (_, _, body) = world.heard().await.pop().unwrap();
        let Event::Deliver(told) = events::parse(&body).unwrap().event else { panic!("no delivery") };
        assert_eq!((told.out_trade_no.as_str(), &told.openid), ("virtual-1", &openid(&person)));
        let bought =
            DeliveryKind::Goods { product: "credits_100".into(), quantity: 1, actual_fen: Some(990) };
        assert_eq!((told.kind, told.attach.as_deref()), (bought, Some("order:1")));

        let order = shop.query_order(&openid(&person), "virtual-1").await.unwrap();
        assert_eq!((order.status, order.order_fen, order.left_fen), (OrderStatus::Delivered, 990, Some(990)));
        let refund = RefundOrder {
            openid: &openid(&person),
            order_id: "virtual-1",
            refund_order_id: "refund-0001",
            left_fen: 990,
            refund_fen: 990,
            reason: 5,
            requested_by: 1,
        };
        shop.refund_order(&refund).await.unwrap();
        assert!(matches!(shop.refund_order(&refund).await, Err(VirtualError::AlreadyDone)));
        let (_, _, body) = world.heard().await.pop().unwrap();
        let Event::Refunded(ended) = events::parse(&body).unwrap().event else { panic!("no refund") };
        assert_eq!((ended.order_id.as_deref(), ended.refund_fen), (Some("virtual-1"), Some(990)));
        let order = shop.query_order(&openid(&person), "virtual-1").await.unwrap();
        assert_eq!(order.status, OrderStatus::Refunded);
    }
}

#[tokio::test]
async fn an_old_session_key_shows_when_it_is_used() {
    let (world, person, key) = world(Format::Json).await;
    let shop = world.shop();
    let ip = "127.0.0.1";
    assert_eq!(shop.query_user_balance(&openid(&person), ip, &key).await.unwrap().balance, 0);
    world.platform.code2session(&person.login_code()).await.unwrap();
    let call = serde_json::to_value(shop.sign_purchase(&credits("virtual-2"), &key)).unwrap();
    assert_eq!(person.pays_virtually(&call).unwrap_err().code, -15005);
    let balance = shop.query_user_balance(&openid(&person), ip, &key).await;
    assert!(matches!(balance, Err(VirtualError::LoginAgain)), "{balance:?}");
}

#[tokio::test]
async fn coins_are_bought_and_a_lost_event_made_good() {
    let (world, person, key) = world(Format::Json).await;
    let shop = world.shop();
    *world.receiver.says.lock().unwrap() = "not now".to_owned();
    let coins = Purchase { out_trade_no: "virtual-3", what: What::Coins, quantity: 60, attach: "" };
    person.pays_virtually(&serde_json::to_value(shop.sign_purchase(&coins, &key)).unwrap()).unwrap();
    let (_, _, body) = world.heard().await.pop().unwrap();
    let Event::Deliver(told) = events::parse(&body).unwrap().event else { panic!("no delivery") };
    assert!(matches!(told.kind, DeliveryKind::Coins { quantity: 60, .. }), "{told:?}");
    let status = async || shop.query_order(&openid(&person), "virtual-3").await.unwrap().status;
    assert_eq!(status().await, OrderStatus::Paid);
    shop.notify_provide_goods(DeliveredBy::OrderId("virtual-3")).await.unwrap();
    assert_eq!(status().await, OrderStatus::Delivered);
}
