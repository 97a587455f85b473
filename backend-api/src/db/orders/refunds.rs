//! Refunds in and out of their table.

use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _, QueryOrder as _,
};

use super::rows::refunds::{ActiveModel, Column, Entity, Model};
use crate::db::{Database, Error};
use crate::domain::money::{Credits, Fen, OrderId, Refund, RefundId, RefundState};
use crate::domain::{Millis, UserId};

impl Database {
    /// The refund of that id, if there is one.
    ///
    /// # Errors
    /// When the database fails or the row is unreadable.
    pub async fn find_refund(&self, id: RefundId) -> Result<Option<Refund>, Error> {
        find_refund_in(&self.connection, id).await
    }

    /// Every refund of an order, newest first.
    ///
    /// # Errors
    /// When the database fails or a row is unreadable.
    pub async fn refunds_of(&self, order: OrderId) -> Result<Vec<Refund>, Error> {
        refunds_of_in(&self.connection, order).await
    }
}

/// The refund of that id, as `db` sees it.
pub(crate) async fn find_refund_in(db: &impl ConnectionTrait, id: RefundId) -> Result<Option<Refund>, Error> {
    Entity::find_by_id(id.0).one(db).await?.map(read).transpose()
}

/// Every refund of an order, newest first, as `db` sees them.
pub(crate) async fn refunds_of_in(db: &impl ConnectionTrait, order: OrderId) -> Result<Vec<Refund>, Error> {
    let query = Entity::find().filter(Column::OrderId.eq(order.0));
    let rows = query.order_by_desc(Column::CreatedAt).order_by_desc(Column::Id).all(db).await?;
    rows.into_iter().map(read).collect()
}

/// Records a refund that `by` asked for; `None`: the platform did it by itself.
pub(crate) async fn insert_refund(
    tx: &impl ConnectionTrait,
    refund: &Refund,
    by: Option<UserId>,
) -> Result<(), Error> {
    let row = ActiveModel {
        id: Set(refund.id.0),
        order_id: Set(refund.order.0),
        amount_fen: Set(refund.amount.get()),
        credits: Set(refund.credits.get()),
        reclaimed: Set(refund.reclaimed.get()),
        reason: Set(refund.reason.clone()),
        requested_by: Set(by.map(|user| user.0)),
        state: Set(refund.state.as_str().to_owned()),
        created_at: Set(refund.created_at),
        ended_at: Set(None),
        due_at: Set(refund.due_at),
        tries: Set(refund.tries),
    };
    Entity::insert(row).exec_without_returning(tx).await?;
    Ok(())
}

/// Moves a refund on, if it is still in the state `from`; false when it is not.
pub(crate) async fn move_refund(
    tx: &impl ConnectionTrait,
    from: RefundState,
    refund: &Refund,
    now: Millis,
) -> Result<bool, Error> {
    let ended_at = refund.state.is_ended().then_some(now);
    let moved = Entity::update_many()
        .col_expr(Column::State, Expr::value(refund.state.as_str()))
        .col_expr(Column::EndedAt, Expr::value(ended_at))
        .col_expr(Column::DueAt, Expr::value(refund.due_at))
        .col_expr(Column::Tries, Expr::value(refund.tries))
        .filter(Column::Id.eq(refund.id.0))
        .filter(Column::State.eq(from.as_str()))
        .exec(tx)
        .await?;
    Ok(moved.rows_affected > 0)
}

fn read(row: Model) -> Result<Refund, Error> {
    let id = row.id;
    let corrupt = |what: &str| Error::Corrupt { id, what: format!("{what} of a refund") };
    Ok(Refund {
        id: RefundId(id),
        order: OrderId(row.order_id),
        amount: Fen::new(row.amount_fen).ok_or_else(|| corrupt("amount"))?,
        credits: Credits::new(row.credits).ok_or_else(|| corrupt("credits"))?,
        reclaimed: Credits::new(row.reclaimed).ok_or_else(|| corrupt("reclaimed credits"))?,
        reason: row.reason,
        state: RefundState::named(&row.state).ok_or_else(|| corrupt("state"))?,
        created_at: row.created_at,
        due_at: row.due_at,
        tries: row.tries,
    })
}
