//! The platform's bill against the books.

use backend_api::domain::money::{Order, Rail, RefundState};
use backend_api::money::{BillLine, BillRefund, RefundRequest};

use super::kit::{PRICE, Till, till, user};
use crate::engines::{Engine, on_every_engine};

on_every_engine!(
    a_bill_that_fits_moves_what_is_owed_to_cash_and_fees_once,
    every_difference_is_found_and_told,
    a_bill_that_is_not_there_yet_is_asked_for_again,
);

/// The fee of one order: 3.6 fen, which rounds to 4.
const FEE_MILLI_FEN: i64 = 3_600;

fn line(order: &Order) -> BillLine {
    BillLine {
        order: Some(order.id),
        name: order.out_trade_no().as_str().to_owned(),
        amount_fen: PRICE,
        fee_milli_fen: FEE_MILLI_FEN,
        refund: None,
    }
}

/// Yesterday's bill is the one that is checked, so yesterday is when all was paid.
async fn a_day_passes(till: &Till) {
    till.execute("UPDATE orders SET paid_at = paid_at - 86400000 WHERE paid_at IS NOT NULL").await;
}

async fn differences(till: &Till) -> Vec<(String, String)> {
    let found = till.database.differences(Rail::Virtual, 50).await.unwrap();
    let mut found: Vec<_> = found.into_iter().map(|found| (found.kind, found.name)).collect();
    found.sort();
    found
}

async fn a_bill_that_fits_moves_what_is_owed_to_cash_and_fees_once(engine: Engine) {
    let till = till(engine).await;
    let (kept, returned) = (till.paid(user()).await, till.paid(user()).await);
    let (order, reason) = (returned.id, String::new());
    let wish = RefundRequest { order, amount: None, key: None, reason, even_if_spent: false, by: user() };
    let refund = till.orders.refund(&wish).await.unwrap();
    till.platform.says_of_refund(RefundState::Succeeded);
    till.chores.run().await.unwrap();
    a_day_passes(&till).await;
    let back = BillLine {
        fee_milli_fen: -FEE_MILLI_FEN,
        refund: Some(BillRefund {
            refund: Some(refund.id),
            name: refund.out_refund_no().as_str().to_owned(),
            amount_fen: PRICE,
        }),
        ..line(&returned)
    };
    till.execute("UPDATE bills SET due_at = 0").await; // the run above found an empty one
    *till.platform.bill.lock().unwrap() = vec![line(&kept), line(&returned), back];

    till.chores.run().await.unwrap();
    till.execute("UPDATE bills SET due_at = 0").await; // checked a second time
    till.chores.run().await.unwrap();
    assert_eq!(differences(&till).await, []);
    assert_eq!(till.sum("receivable_virtual").await, 0);
    assert_eq!((till.sum("cash_virtual").await, till.sum("fees_virtual").await), (PRICE - 4, 4));
    let bill = till.database.bills(Rail::Virtual, 1).await.unwrap().remove(0);
    assert_eq!((bill.state.as_str(), bill.rows, bill.differences), ("checked", 3, 0));
    till.audit().await;
}

async fn every_difference_is_found_and_told(engine: Engine) {
    let till = till(engine).await;
    let (dearer, missing, unpaid) =
        (till.paid(user()).await, till.paid(user()).await, till.order(user()).await);
    a_day_passes(&till).await;
    let stranger = BillLine { order: None, name: "not-ours".to_owned(), ..line(&dearer) };
    let refund = BillLine {
        refund: Some(BillRefund { refund: None, name: "no-refund-of-ours".to_owned(), amount_fen: 1 }),
        ..line(&dearer)
    };
    let wrong = BillLine { amount_fen: PRICE + 1, ..line(&dearer) };
    *till.platform.bill.lock().unwrap() = vec![wrong, line(&unpaid), stranger, refund];
    till.chores.run().await.unwrap();
    let name = |order: &Order| order.out_trade_no().as_str().to_owned();
    let mut expected = vec![
        ("another_amount".to_owned(), name(&dearer)),
        ("not_on_bill".to_owned(), name(&missing)),
        ("not_paid_here".to_owned(), name(&unpaid)),
        ("unknown_order".to_owned(), "not-ours".to_owned()),
        ("unknown_refund".to_owned(), "no-refund-of-ours".to_owned()),
    ];
    expected.sort();
    assert_eq!(differences(&till).await, expected);
    assert_eq!(till.sum("cash_virtual").await, 0);
    till.audit().await;
}

async fn a_bill_that_is_not_there_yet_is_asked_for_again(engine: Engine) {
    let till = till(engine).await;
    till.platform.is_silent(true);
    till.chores.run().await.unwrap();
    let bill = till.database.bills(Rail::Virtual, 1).await.unwrap().remove(0);
    assert_eq!((bill.state.as_str(), bill.tries), ("due", 1));
    till.platform.is_silent(false);
    till.chores.run().await.unwrap();
    let bill = till.database.bills(Rail::Virtual, 1).await.unwrap().remove(0);
    assert_eq!((bill.state.as_str(), bill.due_at), ("checked", None));
}
