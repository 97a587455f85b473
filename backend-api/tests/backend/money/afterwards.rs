//! What follows a payment: bills, shipping information; and the other way to be paid, Cloud Run's.

use jiff::Timestamp;
use jiff::tz::{self, TimeZone};
use serde_json::{Value, json};
use std::time::Duration;
use wechat_sim::{CourierFault, Fault, Mishap, Trouble};

use super::market::{Customer, Market, number};
use crate::engines::{Engine, on_every_engine};

on_every_engine!(the_bill_of_a_day_is_held_against_the_books);

/// The day in Beijing on which an order was paid: bills are of such days.
async fn day_of(admin: &Customer<'_>, order: &Value) -> String {
    let paid_at: Timestamp = admin.order(order).await["paid_at"].as_str().unwrap().parse().unwrap();
    paid_at.to_zoned(TimeZone::fixed(tz::offset(8))).date().to_string()
}

/// Has the bill of a day checked now, alone; the platform has it by then.
async fn check(market: &Market, day: &str) {
    market.execute("DELETE FROM bills").await;
    let insert = format!(
        "INSERT INTO bills (rail, day, state, rows, differences, due_at, tries) \
         VALUES ('wechat_pay', '{day}', 'due', 0, 0, 1, 0)"
    );
    // `rows` is a word of MySQL's.
    let quoted = if market.url.starts_with("mysql") { insert.replacen("rows", "`rows`", 1) } else { insert };
    market.execute(&quoted).await;
    market.chores().await;
}

async fn bill(admin: &Customer<'_>, day: &str) -> (Value, Value) {
    let (status, body) = admin.get("/admin/bills?rail=wechat_pay").await;
    assert_eq!(status, 200, "{body}");
    let bills = body["bills"].as_array().unwrap();
    let found = bills.iter().find(|bill| bill["day"] == day).unwrap().clone();
    (found, body["differences"].clone())
}

async fn the_bill_of_a_day_is_held_against_the_books(engine: Engine) {
    let market = Market::on(engine).await;
    let admin = market.admin().await;
    let mut orders = Vec::new();
    for _ in 0..3 {
        let (order, payment) = admin.orders("lesson").await;
        admin.person.pays(&payment).unwrap();
        orders.push(order);
    }
    market.quiet().await;
    let day = day_of(&admin, &orders[0]).await;
    market.sim.advance(Duration::from_secs(36 * 3600));
    market.sim.leave_out_of_bills(&number(&orders[2]));

    // A file that is not what the platform's sum says counts for nothing.
    let matching = "/v3/bill/tradebill".to_owned();
    market.sim.fault(Fault { matching, times: 1, trouble: Trouble::WrongDigest });
    check(&market, &day).await;
    assert_eq!(bill(&admin, &day).await.0["state"], "due");
    let audit = admin.audit().await;
    assert_eq!(audit["accounts"]["fen"]["receivable_wechat_pay"], 36_000);

    for _ in 0..2 {
        check(&market, &day).await;
        let (checked, differences) = bill(&admin, &day).await;
        assert_eq!((&checked["state"], &checked["rows"]), (&json!("checked"), &json!(2)), "{checked}");
        assert_eq!(differences.as_array().unwrap().len(), 1, "{differences}");
        assert_eq!(differences[0]["kind"], "not_on_bill");
        assert_eq!(differences[0]["name"], number(&orders[2]).as_str());
        let audit = admin.audit().await;
        let fen = |account: &str| audit["accounts"]["fen"][account].as_i64().unwrap_or(0);
        assert_eq!(fen("receivable_wechat_pay"), 12_000, "the one that is missing is still owed");
        assert_eq!(fen("cash_wechat_pay") + fen("fees_wechat_pay"), 24_000);
    }
}

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
        config.money.chores.after_requests_every = Duration::from_millis(10);
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
