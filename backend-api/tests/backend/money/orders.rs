//! Orders: only the platform's word counts, and it counts once.

use std::sync::atomic::Ordering;
use std::time::Duration;

use backend_api::domain::OpenId;
use backend_api::domain::money::{Fen, ItemId, Notice, OrderId, OrderState};
use backend_api::money::{Buyer, OrderError, Payment, Receipt, ReceiveError, Sighting};
use futures_util::future::join_all;
use uuid::Uuid;

use super::kit::{
    CREDITS, PRICE, Platform, buyer, credits_item, openid, paid, payment, till, till_with, user,
};
use crate::engines::{Engine, on_every_engine};

on_every_engine!(
    fifty_identical_callbacks_at_once_credit_once,
    the_clients_word_credits_nothing,
    words_that_do_not_fit_credit_nothing_and_ask_for_a_person,
    a_transaction_pays_one_order_only,
    an_order_repeated_under_its_key_is_the_same_order,
    a_lost_offer_is_made_again_for_the_same_order,
    a_callback_that_overtakes_the_offer_is_not_undone_by_it,
    a_cancelled_order_is_closed_unless_the_payer_was_faster,
    stale_orders_are_closed_and_late_payers_get_their_goods,
    what_runs_twice_at_once_is_done_once,
    an_order_that_nobody_asks_about_is_found_by_the_background,
    nobody_reads_or_cancels_the_order_of_another,
    open_orders_are_bounded,
);

/// What becomes of a right word on its way.
type Twist = fn(Payment) -> Sighting;

async fn fifty_identical_callbacks_at_once_credit_once(engine: Engine) {
    let till = till(engine).await;
    let user = user();
    let order = till.order(user).await;
    let word = paid(order.id);
    let receipts = join_all((0..50).map(|_| till.orders.told(order.id, &word))).await;
    let changes =
        receipts.into_iter().filter(|receipt| matches!(receipt.as_ref().unwrap(), Receipt::Changed(_)));
    assert_eq!(changes.count(), 1);
    assert_eq!(till.has(user).await, (CREDITS, 0));
    assert_eq!(till.sum("sales").await, -PRICE);
    assert_eq!(till.find(order.id).await.state, OrderState::Fulfilled);
    till.audit().await;
}

async fn the_clients_word_credits_nothing(engine: Engine) {
    let till = till(engine).await;
    let user = user();
    let order = till.order(user).await;
    // The client says "paid" by asking; the platform says otherwise.
    for word in [Sighting::Unpaid, Sighting::Absent] {
        till.platform.says(word);
        let seen = till.orders.read(user, order.id).await.unwrap();
        assert_eq!(seen.state, OrderState::Prepaid);
    }
    till.platform.is_silent(true);
    assert_eq!(till.orders.read(user, order.id).await.unwrap().state, OrderState::Prepaid);
    assert_eq!(till.has(user).await, (0, 0));

    till.platform.is_silent(false);
    till.platform.says(paid(order.id));
    assert_eq!(till.orders.read(user, order.id).await.unwrap().state, OrderState::Fulfilled);
    assert_eq!(till.has(user).await, (CREDITS, 0));
    till.audit().await;
}

async fn words_that_do_not_fit_credit_nothing_and_ask_for_a_person(engine: Engine) {
    let till = till(engine).await;
    let fen = |amount| Fen::new(amount).unwrap();
    let words: [(Twist, &str); 4] = [
        (|right| Sighting::Paid(Payment { payer: Some(openid("another")), ..right }), "another_payer"),
        (|right| Sighting::Paid(Payment { amount: Fen::ZERO, ..right }), "another_amount"),
        (|_| Sighting::Odd("another_merchant"), "another_merchant"),
        (|_| Sighting::Refunded, "refunded_before_it_was_paid"),
    ];
    for (word, trouble) in words {
        let user = user();
        let order = till.order(user).await;
        let _ = till.orders.told(order.id, &word(payment(order.id))).await.unwrap();
        let seen = till.find(order.id).await;
        assert_eq!((seen.state, seen.trouble.as_deref()), (OrderState::Unknown, Some(trouble)));
        assert_eq!(till.has(user).await, (0, 0), "{trouble}");
    }
    // Yuan for fen: a hundredth of the price pays nothing, and so does a hundredfold.
    for amount in [PRICE / 100, PRICE * 100] {
        let user = user();
        let order = till.order(user).await;
        let word = Sighting::Paid(Payment { amount: fen(amount), ..payment(order.id) });
        let _ = till.orders.told(order.id, &word).await.unwrap();
        assert_eq!(till.has(user).await, (0, 0), "{amount}");
        // The right word still counts.
        let _ = till.orders.told(order.id, &paid(order.id)).await.unwrap();
        assert_eq!(till.has(user).await, (CREDITS, 0), "{amount}");
    }
    let stranger = OrderId(Uuid::now_v7());
    assert!(matches!(till.orders.told(stranger, &paid(stranger)).await, Err(ReceiveError::Unknown(_))));
    till.audit().await;
}

async fn a_transaction_pays_one_order_only(engine: Engine) {
    let till = till(engine).await;
    let user = user();
    let (first, second) = (till.order(user).await, till.order(user).await);
    let _ = till.orders.told(first.id, &paid(first.id)).await.unwrap();
    let _ = till.orders.told(second.id, &paid(first.id)).await.unwrap();
    assert_eq!(till.find(second.id).await.trouble.as_deref(), Some("transaction_of_another_order"));
    assert_eq!(till.has(user).await, (CREDITS, 0));
    till.audit().await;
}

async fn an_order_repeated_under_its_key_is_the_same_order(engine: Engine) {
    let till = till(engine).await;
    let (user, buyer, item) = (user(), buyer(), credits_item());
    let placed = join_all((0..20).map(|_| till.orders.place(user, &buyer, &item, Some("key")))).await;
    let ids: Vec<_> = placed.into_iter().map(|placed| placed.unwrap().order.id).collect();
    assert!(ids.iter().all(|&id| id == ids[0]), "{ids:?}");

    let lesson = ItemId::new("lesson").unwrap();
    let other = till.orders.place(user, &buyer, &lesson, Some("key")).await;
    assert!(matches!(other, Err(OrderError::KeyReused)), "{other:?}");
    let elsewhere = till.orders.place(super::kit::user(), &buyer, &item, Some("key")).await.unwrap();
    assert_ne!(elsewhere.order.id, ids[0], "keys are each user's own");
}

async fn a_lost_offer_is_made_again_for_the_same_order(engine: Engine) {
    let till = till(engine).await;
    let (user, buyer, item) = (user(), buyer(), credits_item());
    till.platform.is_silent(true);
    let lost = till.orders.place(user, &buyer, &item, Some("key")).await;
    assert!(matches!(lost, Err(OrderError::Later(_))), "{lost:?}");
    let recorded = till.orders.list(user, None, 10).await.unwrap();
    assert_eq!(recorded[0].state, OrderState::Created);

    till.platform.is_silent(false);
    let placed = till.orders.place(user, &buyer, &item, Some("key")).await.unwrap();
    assert_eq!((placed.order.id, placed.order.state), (recorded[0].id, OrderState::Prepaid));
    assert_eq!(placed.parameters.unwrap()["package"], recorded[0].out_trade_no().as_str());
}

async fn a_callback_that_overtakes_the_offer_is_not_undone_by_it(engine: Engine) {
    let till = till(engine).await;
    let (user, buyer, item) = (user(), buyer(), credits_item());
    till.platform.is_silent(true);
    let _ = till.orders.place(user, &buyer, &item, Some("key")).await.unwrap_err();
    let order = till.orders.list(user, None, 10).await.unwrap().remove(0);
    let _ = till.orders.told(order.id, &paid(order.id)).await.unwrap();
    till.platform.is_silent(false);
    let placed = till.orders.place(user, &buyer, &item, Some("key")).await.unwrap();
    assert_eq!((placed.order.state, placed.parameters), (OrderState::Fulfilled, None));
    assert_eq!(till.has(user).await, (CREDITS, 0));
    till.audit().await;
}

async fn a_cancelled_order_is_closed_unless_the_payer_was_faster(engine: Engine) {
    let till = till(engine).await;
    let user = user();
    let (left, bought) = (till.order(user).await, till.order(user).await);
    for _ in 0..2 {
        assert_eq!(till.orders.cancel(user, left.id).await.unwrap().state, OrderState::Closed);
    }
    assert_eq!(till.platform.closed.load(Ordering::SeqCst), 1);
    till.platform.says(paid(bought.id));
    assert!(matches!(till.orders.cancel(user, bought.id).await, Err(OrderError::Paid)));
    assert_eq!(till.has(user).await, (CREDITS, 0));
    till.audit().await;
}

async fn stale_orders_are_closed_and_late_payers_get_their_goods(engine: Engine) {
    let platform = Platform { wants_notice: true, ..Platform::default() };
    let till = till_with(engine, Duration::ZERO, platform).await;
    let user = user();
    let order = till.order(user).await;
    till.platform.is_silent(true);
    till.chores.run().await.unwrap();
    assert_eq!(till.find(order.id).await.state, OrderState::Prepaid, "a silent platform closes nothing");
    till.platform.is_silent(false);
    till.chores.run().await.unwrap();
    assert_eq!(till.find(order.id).await.state, OrderState::Closed);
    assert_eq!(till.platform.closed.load(Ordering::SeqCst), 1);

    // The platform took the money before it closed, and says so now.
    let _ = till.orders.told(order.id, &paid(order.id)).await.unwrap();
    assert_eq!(till.has(user).await, (CREDITS, 0));
    till.audit().await;
}

async fn what_runs_twice_at_once_is_done_once(engine: Engine) {
    let till = till(engine).await;
    let mut orders = Vec::new();
    for _ in 0..4 {
        orders.push(till.paid(user()).await);
    }
    assert!(orders.iter().all(|order| order.notice == Notice::Due));
    let runs = join_all((0..4).map(|_| till.chores.run())).await;
    let done: u64 = runs.into_iter().map(|done| done.unwrap().orders).sum();
    assert_eq!((done, till.platform.told.load(Ordering::SeqCst)), (4, 4));
    for order in orders {
        assert_eq!(till.find(order.id).await.notice, Notice::Given);
    }
    assert_eq!(till.chores.run().await.unwrap().orders, 0, "nothing is left");
}

async fn an_order_that_nobody_asks_about_is_found_by_the_background(engine: Engine) {
    let till = till(engine).await;
    let user = user();
    let order = till.order(user).await;
    till.platform.says(paid(order.id)); // and every callback is lost
    till.chores.run().await.unwrap();
    assert_eq!(till.has(user).await, (CREDITS, 0));
    till.chores.run().await.unwrap();
    assert_eq!(till.find(order.id).await.due_at, None, "nothing more to look for");
    till.audit().await;
}

async fn nobody_reads_or_cancels_the_order_of_another(engine: Engine) {
    let till = till(engine).await;
    let order = till.order(user()).await;
    let stranger = user();
    assert!(matches!(till.orders.read(stranger, order.id).await, Err(OrderError::NotFound)));
    assert!(matches!(till.orders.cancel(stranger, order.id).await, Err(OrderError::NotFound)));
    assert_eq!(till.orders.list(stranger, None, 10).await.unwrap(), []);
    assert_eq!(till.find(order.id).await.state, OrderState::Prepaid);
}

async fn open_orders_are_bounded(engine: Engine) {
    let till = till(engine).await;
    let (user, buyer, item) = (user(), buyer(), credits_item());
    let first = till.orders.place(user, &buyer, &item, Some("first")).await.unwrap().order;
    for _ in 0..4 {
        till.order(user).await;
    }
    let over = till.orders.place(user, &buyer, &item, None).await;
    assert!(matches!(over, Err(OrderError::TooManyOpen)), "{over:?}");
    let again = till.orders.place(user, &buyer, &item, Some("first")).await.unwrap();
    assert_eq!(again.order.id, first.id, "a repeat is no new order");
    let _ = till.orders.told(first.id, &paid(first.id)).await.unwrap();
    till.orders.place(user, &buyer, &item, None).await.unwrap();
}

#[tokio::test]
async fn virtual_goods_need_a_login_that_still_signs() {
    let till = till(Engine::Sqlite).await;
    let stale = Buyer { session_key: None, openid: OpenId::new("payer") };
    let refused = till.orders.place(user(), &stale, &credits_item(), None).await;
    assert!(matches!(refused, Err(OrderError::LoginAgain)), "{refused:?}");
    let lesson = ItemId::new("lesson").unwrap();
    till.orders.place(user(), &stale, &lesson, None).await.unwrap();
}
