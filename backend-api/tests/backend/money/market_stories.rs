//! Buying, over HTTP, with a platform that is strict and misbehaves on command.

use reqwest::Method;
use serde_json::json;
use wechat_sim::{CourierFault, Fault, Mishap, RefundFate, Trouble};

use super::market::{Customer, Market, lose, number};
use crate::engines::{Engine, on_every_engine};
use crate::support::answer;

on_every_engine!(
    fifty_identical_callbacks_at_once_fulfil_once,
    fifty_identical_events_at_once_credit_once,
    a_service_is_paid_by_wechat_pay_and_credits_by_virtual_payment,
);

fn copies(matching: &str) -> CourierFault {
    CourierFault { matching: matching.to_owned(), times: 1, mishap: Mishap::Copies { count: 50 } }
}

async fn fifty_identical_callbacks_at_once_fulfil_once(engine: Engine) {
    let market = Market::on(engine).await;
    let admin = market.admin().await;
    market.sim.courier_fault(copies("TRANSACTION.SUCCESS"));
    let (order, payment) = admin.orders("lesson").await;
    admin.person.pays(&payment).unwrap();
    market.quiet().await;
    let answers = market.answers("TRANSACTION.SUCCESS");
    assert!(answers.len() >= 50 && answers.contains(&204), "{answers:?}");
    assert_eq!(admin.known_state(&order).await, "fulfilled");
    assert_eq!(admin.audit().await["accounts"]["fen"]["sales"], -12_000);
}

async fn fifty_identical_events_at_once_credit_once(engine: Engine) {
    let market = Market::on(engine).await;
    let admin = market.admin().await;
    market.sim.courier_fault(copies("xpay_goods_deliver_notify"));
    let (order, payment) = admin.orders("credits_100").await;
    admin.person.pays_virtually(&payment).unwrap();
    market.quiet().await;
    assert_eq!(admin.known_state(&order).await, "fulfilled");
    assert_eq!(admin.credits().await, 100);
    assert_eq!(
        market.sim.virtual_order(&number(&order)),
        Some(4),
        "the platform knows that it was delivered"
    );
    assert_eq!(admin.audit().await["accounts"]["fen"]["sales"], -990);
}

async fn a_service_is_paid_by_wechat_pay_and_credits_by_virtual_payment(engine: Engine) {
    let market = Market::on(engine).await;
    let admin = market.admin().await;
    let (status, shop) = admin.get("/shop/items").await;
    let rails: Vec<_> =
        shop["items"].as_array().unwrap().iter().map(|item| (&item["id"], &item["rail"])).collect();
    assert_eq!(status, 200);
    assert_eq!(json!(rails), json!([["credits_100", "virtual"], ["lesson", "wechat_pay"]]));

    let (lesson, payment) = admin.orders("lesson").await;
    assert_eq!((&lesson["state"], &lesson["price_fen"]), (&json!("prepaid"), &json!(12_000)));
    admin.person.pays(&payment).unwrap();
    let (credits, payment) = admin.orders("credits_100").await;
    admin.person.pays_virtually(&payment).unwrap();
    market.quiet().await;
    assert_eq!(admin.known_state(&lesson).await, "fulfilled");
    assert_eq!(admin.known_state(&credits).await, "fulfilled");
    let (_, body) = admin.get("/credits").await;
    assert_eq!((&body["available"], &body["held"]), (&json!(100), &json!(0)));
    assert_eq!(body["entries"][0]["kind"], "purchase");
    admin.audit().await;
}

#[tokio::test]
async fn the_client_is_never_believed_and_the_platform_always() {
    let market = Market::on(Engine::Sqlite).await;
    let customer = market.comes().await;
    market.sim.courier_fault(lose("", 10));
    let (lesson, payment) = customer.orders("lesson").await;
    let (credits, virtual_payment) = customer.orders("credits_100").await;
    assert_eq!(customer.state(&lesson).await, "prepaid", "asked before it is paid");
    assert_eq!(customer.state(&credits).await, "prepaid");
    assert_eq!(customer.credits().await, 0);

    customer.person.pays(&payment).unwrap();
    customer.person.pays_virtually(&virtual_payment).unwrap();
    market.execute("UPDATE orders SET looked_at = 0").await;
    assert_eq!(customer.state(&lesson).await, "fulfilled", "found by a reader's look");
    market.time_passes().await;
    market.chores().await;
    assert_eq!(customer.known_state(&credits).await, "fulfilled", "found by the background");
    assert_eq!(customer.credits().await, 100);

    // The event was lost, so the platform is told that the goods were given.
    market.time_passes().await;
    market.chores().await;
    assert_eq!(market.sim.virtual_order(&number(&credits)), Some(4));
}

#[tokio::test]
async fn an_offer_whose_answer_is_lost_is_made_again_under_the_same_number() {
    let market = Market::on(Engine::Sqlite).await;
    let customer = market.comes().await;
    let trouble = Trouble::DropAfter;
    market.sim.fault(Fault { matching: "/transactions/jsapi".to_owned(), times: 2, trouble });
    let (status, body) = customer.orders_under("wish", "lesson").await;
    assert_eq!((status, &body["error"]["code"]), (503, &json!("pay_unavailable")), "{body}");
    let (status, body) = customer.orders_under("wish", "lesson").await;
    assert_eq!(status, 201, "{body}");
    customer.person.pays(&body["payment"]).unwrap();
    market.quiet().await;
    assert_eq!(market.sim.paid_orders().len(), 1);
    let (_, list) = customer.get("/orders").await;
    assert_eq!(list["orders"].as_array().unwrap().len(), 1);
    assert_eq!(list["orders"][0]["state"], "fulfilled");
}

#[tokio::test]
async fn a_stale_session_asks_for_a_new_login_and_the_same_wish_goes_on() {
    let market = Market::on(Engine::Sqlite).await;
    let mut customer = market.comes().await;
    // The platform gave another key meanwhile, which we never saw.
    let exchange = format!(
        "{}/sns/jscode2session?appid={}&secret={}&js_code={}&grant_type=authorization_code",
        market.sim.url(),
        market.sim.config().appid,
        market.sim.config().secret,
        customer.person.login_code()
    );
    market.backend.client.get(exchange).send().await.unwrap();
    let (status, body) = customer.orders_under("wish", "credits_100").await;
    assert_eq!((status, &body["error"]["code"]), (409, &json!("login_again")), "{body}");
    let (status, body) = customer.orders_under("lesson", "lesson").await;
    assert_eq!(status, 201, "a service needs no session key: {body}");

    customer.login = market.login(&customer.person).await;
    let (status, body) = customer.orders_under("wish", "credits_100").await;
    assert_eq!(status, 201, "{body}");
    customer.person.pays_virtually(&body["payment"]).unwrap();
    market.quiet().await;
    assert_eq!(customer.credits().await, 100);
}

#[tokio::test]
async fn a_cancelled_order_cannot_be_paid_and_a_paid_one_not_cancelled() {
    let market = Market::on(Engine::Sqlite).await;
    let customer = market.comes().await;
    let (left, payment) = customer.orders("lesson").await;
    let (status, body) =
        customer.post(&format!("/orders/{}/cancel", left["id"].as_str().unwrap()), json!({})).await;
    assert_eq!((status, &body["state"]), (200, &json!("closed")), "{body}");
    customer.person.pays(&payment).unwrap_err();

    market.sim.courier_fault(lose("TRANSACTION", 1));
    let (bought, payment) = customer.orders("lesson").await;
    customer.person.pays(&payment).unwrap();
    let (status, body) =
        customer.post(&format!("/orders/{}/cancel", bought["id"].as_str().unwrap()), json!({})).await;
    assert_eq!((status, &body["error"]["code"]), (409, &json!("order_paid")), "{body}");
    assert_eq!(customer.known_state(&bought).await, "fulfilled");
}

async fn refunds(
    admin: &Customer<'_>,
    order: &serde_json::Value,
    body: serde_json::Value,
) -> (u16, serde_json::Value) {
    admin.post(&format!("/admin/orders/{}/refund", order["id"].as_str().unwrap()), body).await
}

#[tokio::test]
async fn a_refund_goes_back_by_callback_by_polling_or_not_at_all() {
    let market = Market::on(Engine::Sqlite).await;
    let admin = market.admin().await;
    for (fate, polls, state) in
        [(None, false, "refunded"), (None, true, "refunded"), (Some(RefundFate::Fails), false, "fulfilled")]
    {
        let (order, payment) = admin.orders("lesson").await;
        admin.person.pays(&payment).unwrap();
        market.quiet().await;
        if polls {
            market.sim.courier_fault(lose("REFUND", 10));
        }
        let fated = fate.is_some();
        fate.into_iter().for_each(|fate| market.sim.next_refund(fate));
        let (status, body) = refunds(&admin, &order, json!({"reason": "下雨"})).await;
        assert_eq!((status, &body["amount_fen"]), (200, &json!(12_000)), "{body}");
        market.quiet().await;
        market.time_passes().await;
        market.chores().await;
        if fated {
            assert!(["fulfilled", "refunding"].contains(&admin.known_state(&order).await.as_str()));
        } else {
            assert_eq!(admin.known_state(&order).await, state);
        }
        market.sim.clear_faults();
        admin.audit().await;
    }
}

#[tokio::test]
async fn credits_go_back_with_their_money_and_apple_is_obeyed() {
    let market = Market::on(Engine::Sqlite).await;
    let admin = market.admin().await;
    let (order, payment) = admin.orders("credits_100").await;
    admin.person.pays_virtually(&payment).unwrap();
    market.quiet().await;
    let (status, body) = refunds(&admin, &order, json!({})).await;
    assert_eq!((status, &body["reclaimed"]), (200, &json!(100)), "{body}");
    assert_eq!(admin.credits().await, 0);
    market.quiet().await;
    market.time_passes().await;
    market.chores().await;
    assert_eq!(admin.known_state(&order).await, "refunded");

    admin.person.uses_ios();
    let (order, payment) = admin.orders("credits_100").await;
    admin.person.pays_virtually(&payment).unwrap();
    market.quiet().await;
    assert_eq!(admin.credits().await, 100);
    let (status, body) = refunds(&admin, &order, json!({})).await;
    assert_eq!(
        (status, &body["state"]),
        (200, &json!("failed")),
        "we cannot give back what Apple took: {body}"
    );
    assert_eq!(admin.credits().await, 100);
    assert!(admin.person.is_refunded_by_apple(&number(&order)));
    market.quiet().await;
    assert_eq!(admin.known_state(&order).await, "refunded");
    assert_eq!(admin.credits().await, 0);
    admin.audit().await;
}

#[tokio::test]
async fn a_part_of_a_price_has_a_name_and_stays_within_it_and_credits_have_no_parts() {
    let market = Market::on(Engine::Sqlite).await;
    let admin = market.admin().await;
    let (lesson, payment) = admin.orders("lesson").await;
    admin.person.pays(&payment).unwrap();
    let (pack, payment) = admin.orders("credits_100").await;
    admin.person.pays_virtually(&payment).unwrap();
    market.quiet().await;
    for (order, key, fen, expected) in [
        (&lesson, None, 100, (400, "invalid_request")),
        (&lesson, Some("a"), 0, (400, "invalid_request")),
        (&lesson, Some("a"), 12_001, (409, "refund_too_large")),
        (&pack, Some("a"), 989, (409, "refund_indivisible")),
    ] {
        let path = format!("/admin/orders/{}/refund", order["id"].as_str().unwrap());
        let request = admin.ask(Method::POST, &path).json(&json!({"amount_fen": fen}));
        let request = key.into_iter().fold(request, |request, key| request.header("Idempotency-Key", key));
        let (status, body) = answer(request.send().await.unwrap()).await;
        assert_eq!((status, body["error"]["code"].as_str().unwrap()), expected, "{body}");
    }
    assert_eq!(admin.known_state(&lesson).await, "fulfilled");
    assert_eq!(admin.credits().await, 100);
}

#[tokio::test]
async fn admins_grant_once_for_each_key_and_others_never() {
    let market = Market::on(Engine::Sqlite).await;
    let admin = market.admin().await;
    let customer = market.comes().await;
    let grant = |who: &Customer<'_>, key: &str, credits: i64| {
        let request = who.ask(Method::POST, "/admin/credits").header("Idempotency-Key", key);
        request.json(&json!({"user": customer.login.id, "credits": credits})).send()
    };
    for is_new in [true, false] {
        let (status, body) = answer(grant(&admin, "spring", 30).await.unwrap()).await;
        assert_eq!((status, body), (200, json!({"is_new": is_new, "available": 30})));
    }
    for credits in [0, -1] {
        let (status, body) = answer(grant(&admin, "odd", credits).await.unwrap()).await;
        assert_eq!((status, &body["error"]["code"]), (400, &json!("invalid_request")));
    }
    let (status, body) = answer(grant(&customer, "mine", 1_000).await.unwrap()).await;
    assert_eq!((status, &body["error"]["code"]), (403, &json!("forbidden")));
    let (status, _) = admin.post("/admin/credits", json!({"user": customer.login.id, "credits": 1})).await;
    assert_eq!(status, 400, "a grant without a key could not be repeated");
    assert_eq!(customer.credits().await, 30);
    admin.audit().await;
}

#[tokio::test]
async fn whoever_leaves_is_forgotten_by_the_books_but_not_while_something_is_open() {
    let market = Market::on(Engine::Sqlite).await;
    let customer = market.comes().await;
    let (order, payment) = customer.orders("lesson").await;
    let response = customer.ask(Method::DELETE, "/me").send().await.unwrap();
    assert_eq!(response.status(), 409);
    customer.person.pays(&payment).unwrap();
    market.quiet().await;
    let (_, copy) = customer.get("/me/export").await;
    assert_eq!(copy["money"]["orders"][0]["id"], order["id"], "{copy}");
    let response = customer.ask(Method::DELETE, "/me").send().await.unwrap();
    assert_eq!(response.status(), 204);
    let beside = market.beside().await;
    let query = "SELECT COUNT(*) AS n FROM orders WHERE payer IS NOT NULL";
    let statement =
        sea_orm::Statement::from_string(sea_orm::ConnectionTrait::get_database_backend(&beside), query);
    let row = sea_orm::ConnectionTrait::query_one_raw(&beside, statement).await.unwrap().unwrap();
    assert_eq!(row.try_get::<i64>("", "n").unwrap(), 0);
}

#[tokio::test]
async fn bad_wishes_are_refused_in_the_one_envelope() {
    let market = Market::on(Engine::Sqlite).await;
    let customer = market.comes().await;
    for (body, expected) in [
        (json!({"item": "gold"}), (404, "no_such_item")),
        (json!({"item": "../x"}), (404, "no_such_item")),
        (json!({"item": "lesson", "price_fen": 1}), (400, "invalid_request")),
        (json!({}), (400, "invalid_request")),
    ] {
        let (status, answer) = customer.post("/orders", body.clone()).await;
        assert_eq!((status, answer["error"]["code"].as_str().unwrap()), expected, "{body}");
    }
    let long = "k".repeat(129);
    let (status, _) = customer.orders_under(&long, "lesson").await;
    assert_eq!(status, 400);
    let (first, _) = (customer.orders_under("k", "lesson").await, ());
    assert_eq!(first.0, 201);
    let (status, body) = customer.orders_under("k", "credits_100").await;
    assert_eq!((status, &body["error"]["code"]), (409, &json!("key_reused")));
    let stranger = market.comes().await;
    let path = format!("/orders/{}", first.1["order"]["id"].as_str().unwrap());
    assert_eq!(stranger.get(&path).await.0, 404);
    assert_eq!(customer.get("/orders?limit=0").await.0, 400);
}
