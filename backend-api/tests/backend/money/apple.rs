//! Apple's question whether a refund would be right: answered by what became of the goods.

use backend_api::db::Database;
use backend_api::domain::money::{Order, Rail};
use backend_api::domain::{OpenId, UserId};
use backend_api::money::{Goods, Ledger};
use serde_json::Value;
use uuid::Uuid;

use super::kit::{CREDITS, Till, credits, openid, till, user};
use super::market::{Customer, Market, number};
use crate::engines::{Engine, on_every_engine, options};

on_every_engine!(
    apple_is_told_what_became_of_the_goods,
    apples_question_is_of_orders_of_virtual_payment_and_of_who_paid_them,
);

const QUESTION: &str = "xpay_subscribe_ios_refund_query_notify";

/// What Apple is told when the person asks it for the money of an order.
async fn told(customer: &Customer<'_>, order: &Value) -> Value {
    assert!(customer.person.asks_apple_for_a_refund(&number(order)));
    customer.market.quiet().await;
    let deliveries = customer.market.sim.deliveries();
    let last = deliveries.iter().rfind(|delivery| delivery.kind == QUESTION).unwrap();
    assert!(last.taken, "{last:?}");
    serde_json::from_str(&last.answer).unwrap()
}

async fn apple_is_told_what_became_of_the_goods(engine: Engine) {
    let market = Market::on(engine).await;
    let customer = market.admin().await;
    customer.person.uses_ios();
    let (order, payment) = customer.orders("credits_100").await;
    customer.person.pays_virtually(&payment).unwrap();
    market.quiet().await;
    assert_eq!(customer.credits().await, 100);

    let advice = told(&customer, &order).await;
    assert_eq!(advice["result_code"], 0, "nothing was used: {advice}");

    let ledger = Ledger::new(Database::open(&options(&market.url)).await.unwrap());
    let (user, picture) = (UserId(customer.login.id.parse().unwrap()), Uuid::now_v7());
    ledger.hold(user, credits(30), picture).await.unwrap();
    assert_eq!(told(&customer, &order).await["result_code"], 1, "a picture is being made of it");
    ledger.settle(picture).await.unwrap();
    let advice = told(&customer, &order).await;
    assert_eq!(advice["result_code"], 1);
    let evidence = advice["evidence"].as_str().unwrap();
    assert!(evidence.contains("100") && evidence.contains("30"), "{advice}");

    // Whatever we said: Apple decides.
    assert!(customer.person.is_refunded_by_apple(&number(&order)));
    market.quiet().await;
    assert_eq!(customer.known_state(&order).await, "refunded");
    assert_eq!(told(&customer, &order).await["result_code"], 0, "the goods are back");
    customer.audit().await;
}

#[tokio::test]
async fn apple_is_told_nothing_about_an_order_that_is_not_ours() {
    let market = Market::on(Engine::Sqlite).await;
    let customer = market.comes().await;
    customer.person.uses_ios();
    let (order, payment) = customer.orders("credits_100").await;
    customer.person.pays_virtually(&payment).unwrap();
    market.quiet().await;
    for (asked_before, change) in [
        "UPDATE orders SET payer = 'somebody-else'",
        "UPDATE orders SET payer = NULL, rail = 'wechat_pay'",
        "DELETE FROM orders",
    ]
    .into_iter()
    .enumerate()
    {
        market.execute(change).await;
        assert!(customer.person.asks_apple_for_a_refund(&number(&order)));
        market.quiet().await;
        let deliveries = market.sim.deliveries();
        let asked: Vec<_> = deliveries.iter().filter(|delivery| delivery.kind == QUESTION).collect();
        assert_eq!(
            asked.len(),
            3 * (asked_before + 1),
            "asked again as long as there is no answer: {change}"
        );
        let is_answered = |answer: &str| answer.contains("result_code");
        assert!(asked.iter().all(|one| !one.taken && !is_answered(&one.answer)), "{change}: {asked:?}");
    }
}

/// What is known of an order's goods, by our number and by the platform's.
async fn known(till: &Till, order: &Order, asker: Option<&OpenId>) -> [Option<Goods>; 2] {
    let (ours, theirs) = (order.out_trade_no(), order.transaction_id.as_deref().unwrap());
    let by_ours = till.orders.goods(ours.as_str(), asker).await.unwrap();
    let by_theirs = till.orders.goods(theirs, asker).await.unwrap();
    [by_ours, by_theirs].map(|found| found.map(|(_, goods)| goods))
}

async fn apples_question_is_of_orders_of_virtual_payment_and_of_who_paid_them(engine: Engine) {
    let till = till(engine).await;
    let (sold, lesson) = (till.paid(user()).await, till.paid_lesson(user()).await);
    assert_eq!((sold.rail, lesson.rail), (Rail::Virtual, Rail::WechatPay));
    let (payer, other) = (openid("payer"), openid("other"));
    let all = [Some(Goods::Unused { given: credits(CREDITS) }); 2];
    assert_eq!(known(&till, &sold, Some(&payer)).await, all);
    assert_eq!(known(&till, &sold, None).await, all, "who asks may be unknown");
    assert_eq!(known(&till, &sold, Some(&openid(""))).await, all);
    assert_eq!(known(&till, &sold, Some(&other)).await, [None; 2], "somebody else asks");
    assert_eq!(known(&till, &lesson, Some(&payer)).await, [None; 2], "Apple did not sell it");
    till.execute("UPDATE orders SET payer = NULL").await;
    assert_eq!(known(&till, &sold, Some(&other)).await, all, "the payer was forgotten");
}
