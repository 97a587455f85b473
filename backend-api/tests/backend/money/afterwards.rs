//! What follows a payment: shipping information and background work; and the other way to be paid, Cloud Run's.

use std::time::Duration;

use serde_json::json;
use wechat_sim::{CourierFault, Fault, Mishap, Trouble};

use super::market::{Market, number};
use crate::engines::Engine;

#[tokio::test]
async fn a_service_that_was_given_is_told_to_the_platform_where_it_wants_to_know() {
    let market = Market::with(Engine::Sqlite, |_| "[pay]\nshipping = true\n".to_owned()).await;
    let customer = market.comes().await;
    let (order, payment) = customer.orders("lesson").await;
    customer.person.pays(&payment).unwrap();
    market.quiet().await;
    let matching = "upload_shipping_info".to_owned();
    market.sim.fault(Fault { matching, times: 1, trouble: Trouble::Wx { errcode: -1 } });
    for _ in 0..3 {
        market.time_passes().await;
        market.chores().await;
    }
    assert_eq!(market.sim.shipped(&number(&order)), 1, "told again after a failure, and once");
}

async fn in_the_container() -> Market {
    Market::with(Engine::Sqlite, |sim| {
        format!(
            "[wechat]\ninside_container = true\ncontainer_base = \"{}\"\nenv = \"{}\"\n\
             [pay]\nmode = \"cloud_run\"\nservice = \"darkroom\"\n",
            sim.container_url(),
            sim.config().env
        )
    })
    .await
}

#[tokio::test]
async fn cloud_runs_simplified_pay_is_asked_before_it_is_believed() {
    let market = in_the_container().await;
    let admin = market.admin().await;
    let (order, payment) = admin.orders("lesson").await;

    // Anybody can write such a callback: it only makes us ask.
    let forged = json!({
        "returnCode": "SUCCESS", "resultCode": "SUCCESS", "outTradeNo": number(&order), "totalFee": 12_000,
    });
    let request = market.backend.bare(reqwest::Method::POST, "/callbacks/cloud-run-pay").json(&forged);
    let response = request.try_clone().unwrap().send().await.unwrap();
    assert_eq!(response.status(), 401, "not through WeChat");
    let response = request.header("x-wx-source", "forged").send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(admin.known_state(&order).await, "prepaid");

    admin.person.pays(&payment).unwrap();
    market.quiet().await;
    assert_eq!(admin.known_state(&order).await, "fulfilled");
    let path = format!("/admin/orders/{}/refund", order["id"].as_str().unwrap());
    let (status, body) = admin.post(&path, json!({"reason": "x"})).await;
    assert_eq!((status, &body["state"]), (200, &json!("processing")), "{body}");
    market.quiet().await;
    market.time_passes().await;
    market.chores().await;
    assert_eq!(admin.known_state(&order).await, "refunded");
    admin.audit().await;
}

#[tokio::test]
async fn a_lost_callback_of_the_simplified_pay_is_made_up_for_by_the_background() {
    let market = in_the_container().await;
    let admin = market.admin().await;
    market.sim.courier_fault(CourierFault { matching: String::new(), times: 20, mishap: Mishap::Lose });
    let (order, payment) = admin.orders("lesson").await;
    admin.person.pays(&payment).unwrap();
    market.quiet().await;
    market.time_passes().await;
    market.chores().await;
    assert_eq!(admin.known_state(&order).await, "fulfilled");
}

#[tokio::test]
async fn requests_of_anybody_carry_the_background_on() {
    let market = Market::with(Engine::Sqlite, |_| String::new()).await;
    let backend = market.backend.restart_with(|config| {
        config.money.chores.after_requests_every = Some(Duration::from_millis(10));
    });
    let market = Market { backend: backend.await, ..market };
    market.lead_here();
    let customer = market.comes().await;
    market.sim.courier_fault(CourierFault { matching: String::new(), times: 20, mishap: Mishap::Lose });
    let (order, payment) = customer.orders("credits_100").await;
    customer.person.pays_virtually(&payment).unwrap();
    market.time_passes().await;
    let deadline = tokio::time::Instant::now() + super::market::SOON;
    // Nobody asks about the order; the platform that runs us looks whether we live.
    while customer.known_state(&order).await != "fulfilled" {
        assert!(tokio::time::Instant::now() < deadline, "nobody looked");
        market.backend.bare(reqwest::Method::GET, "/livez").send().await.unwrap();
    }
}

#[tokio::test]
async fn without_its_settings_a_rail_says_so_and_nothing_breaks() {
    let (_gateway, backend) = crate::support::gateway_and_backend().await;
    for path in ["/callbacks/wechat-pay", "/callbacks/wechat-pay/refunds", "/callbacks/cloud-run-pay"] {
        let response = backend.bare(reqwest::Method::POST, path).json(&json!({})).send().await.unwrap();
        let (status, body) = crate::support::answer(response).await;
        assert_eq!((status, &body["error"]["code"]), (503, &json!("pay_not_configured")), "{path}");
    }
    let (status, body) = backend.get("/shop/items").await;
    assert_eq!((status, body), (200, json!({"items": []})));
}
