//! What money holds of a person: their orders and credits. The books stay, under an id that names nobody; who paid is
//! forgotten.

use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::orders::Orders;
use crate::db::{self, Transaction, orders as rows};
use crate::domain::UserId;
use crate::identity::{Erasable, LeaveError, NotNow};

/// Orders and changes of credits in a copy, the newest ones.
const EXPORT_MAX: u64 = 1_000;

impl Erasable for Orders {
    fn name(&self) -> &'static str {
        "money"
    }

    fn export(&self, user: UserId) -> BoxFuture<'_, Result<Value, db::Error>> {
        Box::pin(async move {
            let balance = self.database.balance(user).await?;
            let orders = self.database.orders_of(user, None, EXPORT_MAX).await?;
            let lines = self.database.credit_lines(user, None, EXPORT_MAX).await?;
            let orders = orders.into_iter().map(|order| {
                json!({
                    "id": order.id, "item": order.item, "price_fen": order.price, "credits": order.credits,
                    "rail": order.rail, "state": order.state, "created_at": order.created_at, "paid_at": order.paid_at,
                })
            });
            let lines = lines.into_iter().map(|line| {
                json!({
                    "kind": line.kind, "account": line.account, "amount": line.amount, "at": line.at,
                    "subject": line.subject,
                })
            });
            Ok(json!({
                "credits": {"available": balance.available, "held": balance.held},
                "orders": orders.collect::<Vec<_>>(),
                "changes": lines.collect::<Vec<_>>(),
            }))
        })
    }

    fn erase<'a>(
        &'a self,
        user: UserId,
        transaction: &'a Transaction,
    ) -> BoxFuture<'a, Result<(), LeaveError>> {
        Box::pin(async move {
            if rows::has_unfinished_orders(transaction, user).await? {
                let message =
                    "an order or refund of yours is under way: cancel it, or come back when it has ended";
                return Err(LeaveError::NotNow(NotNow { message }));
            }
            Ok(rows::forget_payer(transaction, user).await?)
        })
    }
}
