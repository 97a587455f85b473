//! Whatever happens, in whatever order: postings balance and orders only move where they may.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::domain::UserId;

const SIGNALS: [Signal; 9] = [
    Signal::Prepared,
    Signal::Paid,
    Signal::Given,
    Signal::Closed,
    Signal::Contradicted,
    Signal::RefundWanted,
    Signal::RefundFailed,
    Signal::RefundedInPart,
    Signal::Refunded,
];

fn signals() -> impl Strategy<Value = Vec<Signal>> {
    prop::collection::vec(prop::sample::select(&SIGNALS[..]), 0..40)
}

/// The states an order passes when it is told all of `signals`, illegal ones refused.
fn life(signals: &[Signal]) -> Vec<OrderState> {
    let mut states = vec![OrderState::Created];
    for &signal in signals {
        if let Ok(Step::To(next)) = states[states.len() - 1].next(signal) {
            states.push(next);
        }
    }
    states
}

proptest! {
    #[test]
    fn telling_a_thing_twice_is_telling_it_once(state in prop::sample::select(&OrderState::ALL[..]), signal in prop::sample::select(&SIGNALS[..])) {
        if let Ok(Step::To(next)) = state.next(signal) {
            prop_assert_eq!(next.next(signal), Ok(Step::Stay), "{} told {:?} twice", state, signal);
        }
    }

    #[test]
    fn once_paid_an_order_never_becomes_unpaid(signals in signals()) {
        let states = life(&signals);
        let paid = states.iter().position(|state| state.was_paid()).unwrap_or(states.len());
        prop_assert!(states[paid..].iter().all(|state| state.was_paid()), "{:?}", states);
    }

    #[test]
    fn nothing_is_given_or_refunded_that_was_not_paid(signals in signals()) {
        let states = life(&signals);
        for pair in states.windows(2) {
            if matches!(pair[1], OrderState::Fulfilled | OrderState::Refunding | OrderState::Refunded) {
                prop_assert!(pair[0].was_paid(), "{:?}", states);
            }
        }
    }

    #[test]
    fn money_is_always_believed(signals in signals()) {
        let state = *life(&signals).last().unwrap();
        prop_assert!(state.next(Signal::Paid).is_ok(), "{}", state);
    }

    #[test]
    fn every_posting_balances_in_each_unit(amount in 0..=1_000_000_000_000_i64, part in 0..=1_000_000_000_000_i64, id: u128) {
        let (id, part) = (Uuid::from_u128(id), part.min(amount));
        let (user, order, refund) = (UserId(id), OrderId(id), RefundId(id));
        let (credits, some, fen, fee) =
            (Credits::new(amount).unwrap(), Credits::new(part).unwrap(), Fen::new(amount).unwrap(), Fen::new(part).unwrap());
        let mut postings = vec![
            Posting::grant(user, credits, "admin:x"),
            Posting::purchase(order, user, credits),
            Posting::hold(id, user, credits),
            Posting::settle(id, user, credits),
            Posting::release(id, user, credits),
            Posting::reclaim(refund, user, credits, some),
            Posting::restore(refund, user, credits, some),
        ];
        for rail in Rail::ALL {
            postings.push(Posting::payment(order, rail, fen));
            postings.push(Posting::refund(refund, rail, fen));
            postings.push(Posting::settlement(order, rail, fen, fee));
            postings.push(Posting::refund_settlement(refund, rail, fen, fee));
        }
        for posting in postings {
            prop_assert_eq!(posting.sum(Unit::Fen), 0, "{:?}", posting);
            prop_assert_eq!(posting.sum(Unit::Credits), 0, "{:?}", posting);
            prop_assert!(posting.entries.iter().all(|entry| entry.amount != 0), "{:?}", posting);
        }
    }

    #[test]
    fn a_failed_refund_undoes_exactly_what_it_took(amount in 0..=1_000_000_i64, part in 0..=1_000_000_i64) {
        let (user, refund) = (UserId(Uuid::from_u128(1)), RefundId(Uuid::from_u128(2)));
        let (credits, from_user) = (Credits::new(amount).unwrap(), Credits::new(part.min(amount)).unwrap());
        let mut entries = Posting::reclaim(refund, user, credits, from_user).entries;
        entries.extend(Posting::restore(refund, user, credits, from_user).entries);
        for account in [Account::Available(user), Account::CreditsWrittenOff, Account::CreditsSold] {
            let sum: i64 = entries.iter().filter(|entry| entry.account == account).map(|entry| entry.amount).sum();
            prop_assert_eq!(sum, 0, "{:?}", account);
        }
    }

    #[test]
    fn names_at_the_platform_lead_back_and_are_legal_there(id: u128) {
        let (order, refund) = (OrderId(Uuid::from_u128(id)), RefundId(Uuid::from_u128(id)));
        let (trade, back) = (OutTradeNo::of(order), OutRefundNo::of(refund));
        prop_assert_eq!(OutTradeNo::order(trade.as_str()), Some(order));
        prop_assert_eq!(OutRefundNo::refund(back.as_str()), Some(refund));
        prop_assert!(trade.as_str().len() == 32 && trade.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric()));
    }
}

#[test]
fn a_name_that_only_looks_like_ours_is_nobodys() {
    let order = OrderId(Uuid::from_u128(0xabcd));
    for name in ["", "x", &order.0.to_string(), &OutTradeNo::of(order).as_str().to_uppercase()] {
        assert_eq!(OutTradeNo::order(name), None, "{name}");
    }
}

#[test]
fn amounts_are_never_negative_nor_beyond_all_business() {
    assert_eq!(Fen::new(-1), None);
    assert_eq!(Credits::new(1_000_000_000_001), None);
    assert_eq!(Fen::new(0), Some(Fen::ZERO));
    assert_eq!(Credits::new(3).unwrap().without(Credits::new(5).unwrap()), Credits::ZERO);
}

#[test]
fn what_gives_credits_goes_over_virtual_payment_and_nothing_else_does() {
    let item = |credits| Item {
        id: ItemId::new("x").unwrap(),
        title: "x".to_owned(),
        price: Fen::new(1).unwrap(),
        credits: Credits::new(credits).unwrap(),
    };
    assert_eq!((item(0).rail(), item(1).rail()), (Rail::WechatPay, Rail::Virtual));
}

#[test]
fn every_name_is_read_back() {
    for state in OrderState::ALL {
        assert_eq!(OrderState::named(state.as_str()), Some(state));
        assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
    }
    for state in RefundState::ALL {
        assert_eq!(RefundState::named(state.as_str()), Some(state));
        assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
    }
    for rail in Rail::ALL {
        assert_eq!(Rail::named(rail.as_str()), Some(rail));
        assert_eq!(serde_json::to_value(rail).unwrap(), rail.as_str());
    }
}
