//! What the platform signed, and what it did not.

use reqwest::Method;
use serde_json::json;
use wechat_sim::{CourierFault, Fault, Mishap, Seal, Trouble};

use super::market::{Market, lose, number};
use crate::engines::Engine;
use crate::support::answer;

#[tokio::test]
async fn what_the_platform_did_not_sign_is_refused_and_changes_nothing() {
    let market = Market::on(Engine::Sqlite).await;
    let seals = [
        Seal::Forged,
        Seal::SignTest,
        Seal::WrongSerial,
        Seal::Stale,
        Seal::Early,
        Seal::Tampered,
        Seal::Missing,
    ];
    for seal in seals {
        let customer = market.comes().await;
        let mishap = Mishap::SealedOnly { seal };
        market.sim.courier_fault(CourierFault { matching: "TRANSACTION".to_owned(), times: 1, mishap });
        let (order, payment) = customer.orders("lesson").await;
        let before = market.sim.deliveries().len();
        customer.person.pays(&payment).unwrap();
        market.quiet().await;
        let answers: Vec<_> = market.sim.deliveries()[before..].iter().map(|sent| sent.status).collect();
        assert!(
            !answers.is_empty() && answers.iter().all(|status| *status == Some(401)),
            "{seal:?}: {answers:?}"
        );
        assert_eq!(customer.known_state(&order).await, "prepaid", "{seal:?}");
    }
}

/// What is not signed is not even opened: whatever is wrong inside, the answer is that nobody signed it.
#[tokio::test]
async fn nothing_in_a_callback_is_read_before_its_signature() {
    let market = Market::on(Engine::Sqlite).await;
    let serial = market.sim.merchant().public_key_id.unwrap();
    let sealed = json!({
        "id": "1", "create_time": "2026-11-22T00:00:00+08:00", "resource_type": "encrypt-resource",
        "event_type": "TRANSACTION.SUCCESS", "summary": "x",
        "resource": {
            "original_type": "transaction", "algorithm": "AEAD_AES_256_GCM", "ciphertext": "bm90IHNlYWxlZA==",
            "associated_data": "transaction", "nonce": "123456789012",
        },
    });
    for body in ["", "{}", "not json", "\u{0}", &sealed.to_string()] {
        for signature in ["", "x", "WECHATPAY/SIGNTEST/x", "bm90IGEgc2lnbmF0dXJl"] {
            let request = market.backend.bare(Method::POST, "/callbacks/wechat-pay").body(body.to_owned());
            let request = request
                .header("wechatpay-timestamp", jiff::Timestamp::now().as_second().to_string())
                .header("wechatpay-nonce", "nonce")
                .header("wechatpay-serial", &serial)
                .header("wechatpay-signature", signature);
            let (status, answer) = answer(request.send().await.unwrap()).await;
            assert_eq!((status, &answer["code"]), (401, &json!("FAIL")), "{body:?} {signature:?}");
        }
    }
}

#[tokio::test]
async fn a_probe_is_refused_and_the_callback_behind_it_is_taken() {
    let market = Market::on(Engine::Sqlite).await;
    let customer = market.comes().await;
    let mishap = Mishap::SealedFirst { seal: Seal::SignTest };
    market.sim.courier_fault(CourierFault { matching: "TRANSACTION".to_owned(), times: 1, mishap });
    let (order, payment) = customer.orders("lesson").await;
    customer.person.pays(&payment).unwrap();
    market.quiet().await;
    assert_eq!(market.answers("TRANSACTION.SUCCESS"), [401, 204]);
    assert_eq!(customer.known_state(&order).await, "fulfilled");
}

#[tokio::test]
async fn an_answer_that_the_platform_did_not_sign_makes_nothing_paid() {
    let market = Market::on(Engine::Sqlite).await;
    let customer = market.comes().await;
    market.sim.courier_fault(lose("TRANSACTION", 10));
    let (order, payment) = customer.orders("lesson").await;
    customer.person.pays(&payment).unwrap();
    let trouble = Trouble::Seal { seal: Seal::Forged };
    market.sim.fault(Fault { matching: "/out-trade-no/".to_owned(), times: 1, trouble });
    assert_eq!(customer.state(&order).await, "prepaid");
    market.execute("UPDATE orders SET looked_at = 0").await;
    assert_eq!(customer.state(&order).await, "fulfilled");
}

#[tokio::test]
async fn events_that_are_neither_signed_nor_on_wechats_own_way_are_refused() {
    let market = Market::on(Engine::Sqlite).await;
    let customer = market.comes().await;
    let (order, _) = customer.orders("credits_100").await;
    let event = json!({
        "ToUserName": "x", "FromUserName": customer.person.openid(), "CreateTime": 1, "MsgType": "event",
        "Event": "xpay_goods_deliver_notify", "OpenId": customer.person.openid(), "OutTradeNo": number(&order), "Env": 0,
        "GoodsInfo": {"ProductId": "credits_100", "Quantity": 1},
    });
    for query in ["", "?signature=0000000000000000000000000000000000000000&timestamp=1&nonce=2"] {
        let request = market.backend.bare(Method::POST, &format!("/callbacks/wechat-events{query}"));
        let response = request.header("x-wx-source", "wx").json(&event).send().await.unwrap();
        assert_eq!(response.status(), 401, "{query}");
    }
    assert_eq!(customer.known_state(&order).await, "prepaid");
    market.sim.check_receiver().await.unwrap();
}
