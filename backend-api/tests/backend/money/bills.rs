//! The platform's daily bills, fetched over HTTP and held against the books.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::{self, TimeZone};
use serde_json::{Value, json};
use wechat_sim::{Fault, Trouble};

use super::market::{Customer, Market, number};
use crate::engines::{Engine, on_every_engine};

on_every_engine!(
    the_bill_of_a_day_is_held_against_the_books,
    virtual_payments_bill_of_a_day_is_held_against_the_books,
);

/// Orders, pays and waits until it is given.
async fn bought(who: &Customer<'_>, item: &str) -> Value {
    let (order, payment) = who.orders(item).await;
    match item {
        "lesson" => who.person.pays(&payment).map(drop).unwrap(),
        _ => who.person.pays_virtually(&payment).unwrap(),
    }
    who.market.quiet().await;
    order
}

/// Gives back all of an order, or a part under that name, until the payer has it.
async fn gives_back(admin: &Customer<'_>, order: &Value, part: Option<(&str, i64)>) {
    let path = format!("/admin/orders/{}/refund", order["id"].as_str().unwrap());
    let request = admin.ask(reqwest::Method::POST, &path);
    let request = match part {
        Some((key, fen)) => request.header("Idempotency-Key", key).json(&json!({"amount_fen": fen})),
        None => request.json(&json!({})),
    };
    let (status, body) = crate::support::answer(request.send().await.unwrap()).await;
    assert_eq!(status, 200, "{body}");
    admin.market.quiet().await;
    admin.market.time_passes().await;
    admin.market.chores().await;
}

/// The day in Beijing on which an order was paid: bills are of such days.
async fn day_of(admin: &Customer<'_>, order: &Value) -> String {
    let paid_at: Timestamp = admin.order(order).await["paid_at"].as_str().unwrap().parse().unwrap();
    paid_at.to_zoned(TimeZone::fixed(tz::offset(8))).date().to_string()
}

/// Has the bill of a day checked now, alone; the platform has it by then.
async fn check(market: &Market, rail: &str, day: &str) {
    market.execute("DELETE FROM bills").await;
    let insert = format!(
        "INSERT INTO bills (rail, day, state, rows, differences, due_at, tries) \
         VALUES ('{rail}', '{day}', 'due', 0, 0, 1, 0)"
    );
    // `rows` is a word of MySQL's.
    let quoted = if market.url.starts_with("mysql") { insert.replacen("rows", "`rows`", 1) } else { insert };
    market.execute(&quoted).await;
    market.chores().await;
}

async fn bill(admin: &Customer<'_>, rail: &str, day: &str) -> (Value, Value) {
    let (status, body) = admin.get(&format!("/admin/bills?rail={rail}")).await;
    assert_eq!(status, 200, "{body}");
    let bills = body["bills"].as_array().unwrap();
    let found = bills.iter().find(|bill| bill["day"] == day).unwrap().clone();
    (found, body["differences"].clone())
}

/// What the bill of the day says and does not, twice: a second check posts nothing.
async fn holds_against(admin: &Customer<'_>, (rail, day): (&str, &str), rows: i64, missing: &Value) {
    for _ in 0..2 {
        check(admin.market, rail, day).await;
        let (checked, differences) = bill(admin, rail, day).await;
        assert_eq!((&checked["state"], &checked["rows"]), (&json!("checked"), &json!(rows)), "{checked}");
        assert_eq!(differences.as_array().unwrap().len(), 1, "{differences}");
        assert_eq!(differences[0]["kind"], "not_on_bill");
        assert_eq!(differences[0]["name"], number(missing).as_str());
    }
}

async fn fen(admin: &Customer<'_>, account: &str) -> i64 {
    admin.audit().await["accounts"]["fen"][account].as_i64().unwrap_or(0)
}

async fn the_bill_of_a_day_is_held_against_the_books(engine: Engine) {
    let market = Market::on(engine).await;
    let admin = market.admin().await;
    let mut orders = Vec::new();
    for _ in 0..3 {
        orders.push(bought(&admin, "lesson").await);
    }
    gives_back(&admin, &orders[1], Some(("rain", 5_000))).await;
    gives_back(&admin, &orders[1], Some(("rain", 5_000))).await;
    assert_eq!(admin.known_state(&orders[1]).await, "fulfilled", "the same part twice is one part");
    gives_back(&admin, &orders[1], Some(("more-rain", 1_000))).await;
    let day = day_of(&admin, &orders[0]).await;
    market.sim.advance(Duration::from_secs(36 * 3600));
    market.sim.leave_out_of_bills(&number(&orders[2]));

    // A file that is not what the platform's sum says counts for nothing.
    let matching = "/v3/bill/tradebill".to_owned();
    market.sim.fault(Fault { matching, times: 1, trouble: Trouble::WrongDigest });
    check(&market, "wechat_pay", &day).await;
    assert_eq!(bill(&admin, "wechat_pay", &day).await.0["state"], "due");
    assert_eq!(fen(&admin, "receivable_wechat_pay").await, 30_000);

    holds_against(&admin, ("wechat_pay", &day), 4, &orders[2]).await;
    assert_eq!(fen(&admin, "receivable_wechat_pay").await, 12_000, "the one that is missing is still owed");
    assert_eq!(fen(&admin, "cash_wechat_pay").await + fen(&admin, "fees_wechat_pay").await, 18_000);
}

async fn virtual_payments_bill_of_a_day_is_held_against_the_books(engine: Engine) {
    let market = Market::on(engine).await;
    let admin = market.admin().await;
    let mut orders = Vec::new();
    for _ in 0..3 {
        orders.push(bought(&admin, "credits_100").await);
    }
    gives_back(&admin, &orders[1], None).await;
    assert_eq!(admin.known_state(&orders[1]).await, "refunded");
    let day = day_of(&admin, &orders[0]).await;
    market.sim.advance(Duration::from_secs(36 * 3600));
    market.sim.leave_out_of_bills(&number(&orders[2]));

    check(&market, "virtual", &day).await;
    assert_eq!(bill(&admin, "virtual", &day).await.0["state"], "due", "the platform makes it first");
    assert_eq!(fen(&admin, "receivable_virtual").await, 1_980);

    holds_against(&admin, ("virtual", &day), 3, &orders[2]).await;
    assert_eq!(fen(&admin, "receivable_virtual").await, 990, "the one that is missing is still owed");
    let (cash, fees) = (fen(&admin, "cash_virtual").await, fen(&admin, "fees_virtual").await);
    assert_eq!((cash, fees), (981, 9), "one of two fees came back");
}

#[tokio::test]
async fn a_bill_whose_columns_are_called_otherwise_is_told_as_useless_until_the_settings_say_how() {
    for names in [
        "bill_amount = \"订单金额(元)\"\nbill_unit = \"yuan\"",
        "bill_fee = \"技术服务费(分)\"",
        "bill_refund = \"退款单号\"",
        "bill_refund_amount = \"退款(分)\"",
    ] {
        let market = Market::with(Engine::Sqlite, |_| format!("[virtual_payment]\n{names}\n")).await;
        let admin = market.admin().await;
        let state = state_of_a_days_bill(&admin).await;
        assert_eq!(state, "unusable", "{names}");
        assert_eq!(fen(&admin, "receivable_virtual").await, 990, "nothing is settled by a guess: {names}");
    }
}

#[tokio::test]
async fn a_bill_without_fees_and_refunds_is_read_where_the_settings_say_so() {
    let settings = "[virtual_payment]\nbill_fee = \"\"\nbill_refund = \"\"\n";
    let market = Market::with(Engine::Sqlite, |_| settings.to_owned()).await;
    let admin = market.admin().await;
    assert_eq!(state_of_a_days_bill(&admin).await, "checked");
    assert_eq!((fen(&admin, "cash_virtual").await, fen(&admin, "fees_virtual").await), (990, 0));
}

/// Buys credits, and has the bill of that day made and checked.
async fn state_of_a_days_bill(admin: &Customer<'_>) -> Value {
    let day = day_of(admin, &bought(admin, "credits_100").await).await;
    admin.market.sim.advance(Duration::from_secs(36 * 3600));
    check(admin.market, "virtual", &day).await; // has it made
    check(admin.market, "virtual", &day).await;
    bill(admin, "virtual", &day).await.0["state"].take()
}

#[tokio::test]
async fn bills_of_virtual_payment_are_left_alone_where_the_settings_say_so() {
    let market = Market::with(Engine::Sqlite, |_| "[virtual_payment]\nbills = false\n".to_owned()).await;
    let admin = market.admin().await;
    let (status, body) = admin.get("/admin/bills?rail=virtual").await;
    assert_eq!((status, &body["bills"]), (200, &json!([])), "{body}");
    assert!(!market.sim.requests().iter().any(|seen| seen.line.contains("download_bill")));
}
