//! The ledger alone.

use backend_api::domain::UserId;
use backend_api::domain::money::HoldState;
use backend_api::money::{EndError, HoldError, Posted};
use futures_util::future::join_all;
use uuid::Uuid;

use super::kit::{Till, credits, till, user};
use crate::engines::{Engine, on_every_engine};

on_every_engine!(
    fifty_holds_at_once_never_overspend,
    a_grant_is_given_once_however_often_it_is_repeated,
    first_grants_of_one_user_at_once_all_count,
    one_hold_wanted_by_many_is_held_once,
    a_hold_ends_one_way_only,
    an_end_that_is_repeated_changes_nothing,
    a_hold_of_another_price_under_the_same_name_is_refused,
    any_history_leaves_the_books_right,
    the_audit_notices_what_was_changed_behind_its_back,
    a_user_reads_what_happened_newest_first,
);

async fn granted(till: &Till, number: i64) -> UserId {
    let user = user();
    assert_eq!(
        till.ledger.grant(user, credits(number), &format!("admin:{user}")).await.unwrap(),
        Posted::Now
    );
    user
}

async fn fifty_holds_at_once_never_overspend(engine: Engine) {
    let till = till(engine).await;
    let user = granted(&till, 10).await;
    let holds = (0..50).map(|_| till.ledger.hold(user, credits(1), Uuid::now_v7()));
    let outcomes = join_all(holds).await;
    let held = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(held, 10);
    for outcome in outcomes {
        if let Err(error) = outcome {
            assert!(matches!(error, HoldError::Insufficient { .. }), "{error:?}");
        }
    }
    assert_eq!(till.has(user).await, (0, 10));
    till.audit().await;
}

async fn a_grant_is_given_once_however_often_it_is_repeated(engine: Engine) {
    let till = till(engine).await;
    let user = user();
    let grants = (0..50).map(|_| till.ledger.grant(user, credits(7), "admin:once"));
    let outcomes = join_all(grants).await;
    assert_eq!(outcomes.into_iter().filter(|outcome| *outcome.as_ref().unwrap() == Posted::Now).count(), 1);
    assert_eq!(till.has(user).await, (7, 0));
    till.audit().await;
}

async fn first_grants_of_one_user_at_once_all_count(engine: Engine) {
    let till = till(engine).await;
    let user = user();
    let references: Vec<_> = (0..20).map(|number| format!("admin:{number}")).collect();
    let grants = references.iter().map(|reference| till.ledger.grant(user, credits(1), reference));
    for outcome in join_all(grants).await {
        assert_eq!(outcome.unwrap(), Posted::Now);
    }
    assert_eq!(till.has(user).await, (20, 0));
    till.audit().await;
}

async fn one_hold_wanted_by_many_is_held_once(engine: Engine) {
    let till = till(engine).await;
    let (user, id) = (granted(&till, 10).await, Uuid::now_v7());
    let holds = join_all((0..20).map(|_| till.ledger.hold(user, credits(3), id))).await;
    assert!(holds.into_iter().all(|hold| hold.unwrap().state == HoldState::Open));
    assert_eq!(till.has(user).await, (7, 3));
    till.audit().await;
}

async fn a_hold_ends_one_way_only(engine: Engine) {
    let till = till(engine).await;
    let (user, id) = (granted(&till, 10).await, Uuid::now_v7());
    till.ledger.hold(user, credits(4), id).await.unwrap();
    let (settled, released) = tokio::join!(till.ledger.settle(id), till.ledger.release(id));
    let balance = till.has(user).await;
    match (settled, released) {
        (Ok(Posted::Now), Err(EndError::Ended { state: HoldState::Settled, .. })) => {
            assert_eq!(balance, (6, 0))
        }
        (Err(EndError::Ended { state: HoldState::Released, .. }), Ok(Posted::Now)) => {
            assert_eq!(balance, (10, 0))
        }
        both => panic!("{both:?}"),
    }
    till.audit().await;
}

async fn an_end_that_is_repeated_changes_nothing(engine: Engine) {
    let till = till(engine).await;
    let user = granted(&till, 10).await;
    let (made, lost) = (Uuid::now_v7(), Uuid::now_v7());
    till.ledger.hold(user, credits(4), made).await.unwrap();
    till.ledger.hold(user, credits(5), lost).await.unwrap();
    assert_eq!(till.ledger.settle(made).await.unwrap(), Posted::Now);
    assert_eq!(till.ledger.settle(made).await.unwrap(), Posted::Already);
    assert_eq!(till.ledger.release(lost).await.unwrap(), Posted::Now);
    assert_eq!(till.ledger.release(lost).await.unwrap(), Posted::Already);
    assert_eq!(till.has(user).await, (6, 0));
    assert!(matches!(till.ledger.settle(Uuid::now_v7()).await, Err(EndError::Unknown { .. })));
    till.audit().await;
}

async fn a_hold_of_another_price_under_the_same_name_is_refused(engine: Engine) {
    let till = till(engine).await;
    let (user, id) = (granted(&till, 10).await, Uuid::now_v7());
    till.ledger.hold(user, credits(4), id).await.unwrap();
    assert!(matches!(till.ledger.hold(user, credits(5), id).await, Err(HoldError::Conflict { .. })));
    let other = granted(&till, 10).await;
    assert!(matches!(till.ledger.hold(other, credits(4), id).await, Err(HoldError::Conflict { .. })));
    assert_eq!(till.has(user).await, (6, 4));
    assert_eq!(till.has(other).await, (10, 0));
}

/// Several users, a fixed but wild mix of everything, four at a time.
async fn any_history_leaves_the_books_right(engine: Engine) {
    let till = till(engine).await;
    let users = [granted(&till, 20).await, granted(&till, 20).await, granted(&till, 20).await];
    let ids: Vec<_> = (0..12).map(|_| Uuid::now_v7()).collect();
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |bound: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed % bound).unwrap()
    };
    for _ in 0..30 {
        let steps: Vec<_> = (0..4).map(|_| (next(4), next(12), next(3))).collect();
        join_all(steps.into_iter().map(|(what, id, who)| {
            let (till, user, id) = (&till, users[who], ids[id]);
            async move {
                match what {
                    0 => drop(till.ledger.hold(user, credits(3), id).await),
                    1 => drop(till.ledger.settle(id).await),
                    2 => drop(till.ledger.release(id).await),
                    _ => drop(till.ledger.grant(user, credits(1), &format!("admin:{id}")).await),
                }
            }
        }))
        .await;
    }
    till.audit().await;
}

async fn the_audit_notices_what_was_changed_behind_its_back(engine: Engine) {
    for (damage, rule) in [
        ("UPDATE credit_balances SET available = available + 1", "balance_equals_entries"),
        (
            "UPDATE ledger_entries SET amount = amount + 1 WHERE account = 'credits_granted'",
            "posting_balances",
        ),
        ("UPDATE credit_holds SET state = 'settled'", "hold_ended_once"),
        ("DELETE FROM credit_holds", "held_equals_open_holds"),
        ("DELETE FROM ledger_postings WHERE kind = 'hold'", "hold_is_posted"),
        ("DELETE FROM credit_balances", "entries_have_a_balance"),
        ("UPDATE credit_balances SET held = -1", "nobody_is_overdrawn"),
    ] {
        let till = till(engine).await;
        let user = granted(&till, 10).await;
        till.ledger.hold(user, credits(4), Uuid::now_v7()).await.unwrap();
        till.audit().await;
        till.execute(damage).await;
        let audit = till.ledger.audit().await.unwrap();
        assert!(!audit.balanced() && audit.broken.contains_key(rule), "{damage}: {audit:?}");
    }
}

async fn a_user_reads_what_happened_newest_first(engine: Engine) {
    let till = till(engine).await;
    let (user, id) = (granted(&till, 10).await, Uuid::now_v7());
    till.ledger.hold(user, credits(4), id).await.unwrap();
    till.ledger.release(id).await.unwrap();
    granted(&till, 3).await; // somebody else's
    let lines = till.ledger.lines(user, None, 50).await.unwrap();
    let told: Vec<_> =
        lines.iter().map(|line| (line.kind.as_str(), line.account.as_str(), line.amount)).collect();
    assert_eq!(
        told,
        [
            ("release", "held", -4),
            ("release", "available", 4),
            ("hold", "available", -4),
            ("hold", "held", 4),
            ("grant", "available", 10),
        ]
    );
    assert_eq!(lines[0].subject, Some(id));
    let older = till.ledger.lines(user, Some(lines[2].posting), 50).await.unwrap();
    assert_eq!(older, lines[4..]);
}
