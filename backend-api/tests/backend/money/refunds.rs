//! Money back, once, and credits with it.

use std::sync::atomic::Ordering;

use backend_api::domain::UserId;
use backend_api::domain::money::{Credits, Fen, Order, OrderState, RefundState};
use backend_api::money::{RefundRequest, RefundSighting, RequestError};
use futures_util::future::join_all;
use uuid::Uuid;

use super::kit::{CREDITS, PRICE, credits, till, user};
use crate::engines::{Engine, on_every_engine};

on_every_engine!(
    a_refund_takes_the_credits_first_and_returns_the_money_once,
    a_lost_request_is_repeated_under_the_same_name,
    a_refund_that_the_platform_refuses_gives_the_credits_again,
    spent_credits_are_not_refunded_unless_they_are_written_off,
    only_what_was_paid_is_refunded,
    money_that_the_platform_gave_back_by_itself_takes_the_credits,
    a_refund_of_another_amount_is_not_believed,
    a_service_is_refunded_in_parts_up_to_its_price,
    a_name_without_an_amount_means_all_that_was_left,
    a_part_that_the_platform_refuses_may_be_wanted_again,
    credits_are_refunded_as_a_whole,
);

pub fn request(order: &Order, by: UserId) -> RefundRequest {
    let reason = "退款".to_owned();
    RefundRequest { order: order.id, amount: None, key: None, reason, even_if_spent: false, by }
}

fn word(state: RefundState) -> RefundSighting {
    RefundSighting { state, amount: Fen::new(PRICE) }
}

async fn a_refund_takes_the_credits_first_and_returns_the_money_once(engine: Engine) {
    let till = till(engine).await;
    let (user, admin) = (user(), user());
    let order = till.paid(user).await;
    let wish = request(&order, admin);
    let refunds = join_all((0..10).map(|_| till.orders.refund(&wish))).await;
    let refunds: Vec<_> = refunds.into_iter().map(Result::unwrap).collect();
    assert!(refunds.iter().all(|refund| refund.id == refunds[0].id), "{refunds:?}");
    assert_eq!(till.has(user).await, (0, 0));
    assert_eq!(till.find(order.id).await.state, OrderState::Refunding);
    till.audit().await;

    let ends =
        join_all((0..20).map(|_| till.orders.refund_told(refunds[0].id, word(RefundState::Succeeded)))).await;
    assert!(ends.into_iter().all(|refund| refund.unwrap().state == RefundState::Succeeded));
    assert_eq!(till.find(order.id).await.state, OrderState::Refunded);
    assert_eq!(till.sum("refunds").await, PRICE);
    // A late word changes nothing.
    till.orders.refund_told(refunds[0].id, word(RefundState::Failed)).await.unwrap();
    assert_eq!(till.has(user).await, (0, 0));
    till.audit().await;
}

async fn a_lost_request_is_repeated_under_the_same_name(engine: Engine) {
    let till = till(engine).await;
    let order = till.paid(user()).await;
    till.platform.is_silent(true);
    let refund = till.orders.refund(&request(&order, user())).await.unwrap();
    assert_eq!(refund.state, RefundState::Requested);
    till.platform.is_silent(false);
    till.chores.run().await.unwrap();
    let again = till.database.find_refund(refund.id).await.unwrap().unwrap();
    assert_eq!(again.state, RefundState::Processing);
    assert_eq!(
        (again.out_refund_no(), till.platform.refunds.load(Ordering::SeqCst)),
        (refund.out_refund_no(), 1)
    );

    till.platform.says_of_refund(RefundState::Succeeded); // the callback is lost, too
    till.chores.run().await.unwrap();
    assert_eq!(till.find(order.id).await.state, OrderState::Refunded);
    till.audit().await;
}

async fn a_refund_that_the_platform_refuses_gives_the_credits_again(engine: Engine) {
    let till = till(engine).await;
    let user = user();
    let order = till.paid(user).await;
    *till.platform.refuses_refunds.lock().unwrap() = true;
    let refund = till.orders.refund(&request(&order, UserId(Uuid::now_v7()))).await.unwrap();
    assert_eq!(refund.state, RefundState::Failed);
    assert_eq!(till.find(order.id).await.state, OrderState::Fulfilled);
    assert_eq!(till.has(user).await, (CREDITS, 0));
    till.audit().await;

    // It may be tried again, as another refund.
    *till.platform.refuses_refunds.lock().unwrap() = false;
    let second = till.orders.refund(&request(&order, UserId(Uuid::now_v7()))).await.unwrap();
    assert_ne!(second.id, refund.id);
    assert_eq!(till.has(user).await, (0, 0));
    till.audit().await;
}

async fn spent_credits_are_not_refunded_unless_they_are_written_off(engine: Engine) {
    let till = till(engine).await;
    let user = user();
    let order = till.paid(user).await;
    let picture = Uuid::now_v7();
    till.ledger.hold(user, credits(25), picture).await.unwrap();
    till.ledger.settle(picture).await.unwrap();
    let wish = request(&order, UserId(Uuid::now_v7()));
    let refused = till.orders.refund(&wish).await;
    let left = credits(CREDITS - 25);
    assert!(matches!(refused, Err(RequestError::Spent { left: found }) if found == left), "{refused:?}");
    assert_eq!(till.find(order.id).await.state, OrderState::Fulfilled);

    let refund = till.orders.refund(&RefundRequest { even_if_spent: true, ..wish }).await.unwrap();
    assert_eq!((refund.credits, refund.reclaimed), (credits(CREDITS), left));
    assert_eq!(till.has(user).await, (0, 0));
    assert_eq!(till.sum("credits_written_off").await, -25);
    till.orders.refund_told(refund.id, word(RefundState::Failed)).await.unwrap();
    assert_eq!(till.has(user).await, (CREDITS - 25, 0));
    assert_eq!(till.sum("credits_written_off").await, 0);
    till.audit().await;
}

async fn only_what_was_paid_is_refunded(engine: Engine) {
    let till = till(engine).await;
    let (buyer, admin) = (user(), user());
    let order = till.order(buyer).await;
    let refused = till.orders.refund(&request(&order, admin)).await;
    assert!(matches!(refused, Err(RequestError::NotPaid(OrderState::Prepaid))), "{refused:?}");
    till.orders.cancel(buyer, order.id).await.unwrap();
    let refused = till.orders.refund(&request(&order, admin)).await;
    assert!(matches!(refused, Err(RequestError::NotPaid(OrderState::Closed))), "{refused:?}");
    assert_eq!(till.platform.refunds.load(Ordering::SeqCst), 0);
}

async fn money_that_the_platform_gave_back_by_itself_takes_the_credits(engine: Engine) {
    let till = till(engine).await;
    let user = user();
    let order = till.paid(user).await;
    let picture = Uuid::now_v7();
    till.ledger.hold(user, credits(10), picture).await.unwrap();
    till.ledger.settle(picture).await.unwrap();
    for told in join_all((0..10).map(|_| till.orders.refunded_elsewhere(order.id))).await {
        told.unwrap();
    }
    assert_eq!(till.has(user).await, (0, 0));
    assert_eq!((till.sum("refunds").await, till.sum("credits_written_off").await), (PRICE, -10));
    let refunds = till.database.refunds_of(order.id).await.unwrap();
    assert_eq!(refunds.len(), 1);
    assert_ne!(refunds[0].reclaimed, Credits::ZERO);
    till.audit().await;
}

async fn a_refund_of_another_amount_is_not_believed(engine: Engine) {
    let till = till(engine).await;
    let order = till.paid(user()).await;
    let refund = till.orders.refund(&request(&order, user())).await.unwrap();
    let wrong = RefundSighting { state: RefundState::Succeeded, amount: Fen::new(PRICE - 1) };
    till.orders.refund_told(refund.id, wrong).await.unwrap();
    assert_eq!(till.find(order.id).await.state, OrderState::Refunding);
    till.audit().await;
}

pub fn part(order: &Order, key: &str, fen: i64) -> RefundRequest {
    RefundRequest { amount: Fen::new(fen), key: Some(key.to_owned()), ..request(order, user()) }
}

pub fn part_word(state: RefundState, fen: i64) -> RefundSighting {
    RefundSighting { state, amount: Fen::new(fen) }
}

async fn a_service_is_refunded_in_parts_up_to_its_price(engine: Engine) {
    let till = till(engine).await;
    let order = till.paid_lesson(user()).await;
    let first = part(&order, "first", 200);
    let refunds = join_all((0..10).map(|_| till.orders.refund(&first))).await;
    let refunds: Vec<_> = refunds.into_iter().map(Result::unwrap).collect();
    assert!(refunds.iter().all(|refund| refund.id == refunds[0].id), "one name, one refund: {refunds:?}");
    assert_eq!(till.find(order.id).await.state, OrderState::Refunding);
    let at_once = till.orders.refund(&part(&order, "second", 100)).await;
    assert!(matches!(at_once, Err(RequestError::Open)), "{at_once:?}");
    let all = till.orders.refund(&request(&order, user())).await;
    assert!(matches!(all, Err(RequestError::Open)), "a part is not all: {all:?}");

    let succeeded = part_word(RefundState::Succeeded, 200);
    for told in join_all((0..10).map(|_| till.orders.refund_told(refunds[0].id, succeeded))).await {
        assert_eq!(told.unwrap().state, RefundState::Succeeded);
    }
    assert_eq!(till.find(order.id).await.state, OrderState::Fulfilled, "the rest was not refunded");
    assert_eq!(till.sum("refunds").await, 200);
    till.audit().await;

    let again = till.orders.refund(&first).await.unwrap();
    assert_eq!((again.id, again.state), (refunds[0].id, RefundState::Succeeded));
    let other = till.orders.refund(&part(&order, "first", 201)).await;
    assert!(matches!(other, Err(RequestError::KeyReused)), "{other:?}");
    let left = Fen::new(PRICE - 200).unwrap();
    let too_large = till.orders.refund(&part(&order, "third", PRICE - 199)).await;
    assert!(
        matches!(too_large, Err(RequestError::TooLarge { left: found }) if found == left),
        "{too_large:?}"
    );

    let rest = till.orders.refund(&request(&order, user())).await.unwrap();
    assert_eq!(rest.amount, left);
    till.orders.refund_told(rest.id, part_word(RefundState::Succeeded, left.get())).await.unwrap();
    assert_eq!(till.find(order.id).await.state, OrderState::Refunded);
    assert_eq!(till.sum("refunds").await, PRICE);
    assert_eq!(till.orders.refund(&request(&order, user())).await.unwrap().id, rest.id);
    let nothing = till.orders.refund(&part(&order, "fourth", 1)).await;
    assert!(matches!(nothing, Err(RequestError::TooLarge { left: Fen::ZERO })), "{nothing:?}");
    till.audit().await;
}

async fn a_name_without_an_amount_means_all_that_was_left(engine: Engine) {
    let till = till(engine).await;
    let order = till.paid_lesson(user()).await;
    let all = |key: &str| RefundRequest { amount: None, ..part(&order, key, 1) };
    let first = till.orders.refund(&part(&order, "first", 200)).await.unwrap();
    let whole = till.orders.refund(&all("first")).await;
    assert!(matches!(whole, Err(RequestError::KeyReused)), "a part is not all: {whole:?}");
    till.orders.refund_told(first.id, part_word(RefundState::Succeeded, 200)).await.unwrap();
    let whole = till.orders.refund(&all("first")).await;
    assert!(matches!(whole, Err(RequestError::KeyReused)), "nor when it is done: {whole:?}");

    let rest = till.orders.refund(&all("rest")).await.unwrap();
    assert_eq!(rest.amount.get(), PRICE - 200);
    assert_eq!(till.orders.refund(&all("rest")).await.unwrap().id, rest.id);
    till.orders.refund_told(rest.id, part_word(RefundState::Succeeded, PRICE - 200)).await.unwrap();
    assert_eq!(till.orders.refund(&all("rest")).await.unwrap().id, rest.id);
    assert_eq!(till.orders.refund(&part(&order, "rest", PRICE - 200)).await.unwrap().id, rest.id);
    let first = till.orders.refund(&all("first")).await;
    assert!(matches!(first, Err(RequestError::KeyReused)), "{first:?}");
    assert_eq!(till.sum("refunds").await, PRICE);
    till.audit().await;
}

async fn a_part_that_the_platform_refuses_may_be_wanted_again(engine: Engine) {
    let till = till(engine).await;
    let order = till.paid_lesson(user()).await;
    *till.platform.refuses_refunds.lock().unwrap() = true;
    let refused = till.orders.refund(&part(&order, "first", 500)).await.unwrap();
    assert_eq!(refused.state, RefundState::Failed);
    assert_eq!(till.find(order.id).await.state, OrderState::Fulfilled);
    *till.platform.refuses_refunds.lock().unwrap() = false;
    assert_eq!(till.orders.refund(&part(&order, "first", 500)).await.unwrap().state, RefundState::Failed);
    let second = till.orders.refund(&part(&order, "second", 500)).await.unwrap();
    assert_eq!(second.state, RefundState::Processing, "nothing of the price was used up");
    till.audit().await;
}

async fn credits_are_refunded_as_a_whole(engine: Engine) {
    let till = till(engine).await;
    let user = user();
    let order = till.paid(user).await;
    let refused = till.orders.refund(&part(&order, "first", PRICE - 1)).await;
    assert!(matches!(refused, Err(RequestError::Indivisible)), "{refused:?}");
    assert_eq!(till.has(user).await, (CREDITS, 0));
    let whole = till.orders.refund(&part(&order, "whole", PRICE)).await.unwrap();
    assert_eq!((whole.amount.get(), till.has(user).await), (PRICE, (0, 0)));
    till.audit().await;
}
