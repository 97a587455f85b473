//! Orders in and out of their table. A change names the state it starts from, so of two that race one finds nothing.

mod due;
mod refunds;
mod rows;

use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, EntityTrait as _, PaginatorTrait as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _,
};
use uuid::Uuid;

use super::{Database, Error, Transaction};
use crate::domain::money::{Credits, Fen, ItemId, Notice, Order, OrderId, OrderState, Prepared, Rail};
use crate::domain::{Millis, OpenId, UserId};
use rows::orders::{ActiveModel, Column, Entity, Model};

pub use super::due::Due;
pub(crate) use refunds::{find_refund_in, insert_refund, move_refund, refunds_of_in};

/// How a new order went.
#[derive(Debug)]
#[must_use]
pub enum Recorded {
    /// It is recorded.
    New,
    /// The user has one under that key, or in the end one is found: this one.
    Earlier(Box<Order>),
}

impl Database {
    /// Records an order; durable when it returns. Under a key that the user gave before, finds that order instead.
    ///
    /// # Errors
    /// When the database fails; a repeat finds what the first call recorded.
    pub async fn record_order(&self, order: &Order, key: Option<&str>) -> Result<Recorded, Error> {
        let row = row(order, key);
        match Entity::insert(row).exec_without_returning(&self.connection).await.map_err(Error::from) {
            Ok(_) => Ok(Recorded::New),
            Err(Error::Duplicate(error)) => match self.earlier_order(order, key).await? {
                Some(earlier) => Ok(Recorded::Earlier(Box::new(earlier))),
                None => Err(Error::Duplicate(error)),
            },
            Err(error) => Err(error),
        }
    }

    async fn earlier_order(&self, order: &Order, key: Option<&str>) -> Result<Option<Order>, Error> {
        if let Some(key) = key
            && let Some(earlier) = self.order_under(order.user, key).await?
        {
            return Ok(Some(earlier));
        }
        self.find_order(order.id).await
    }

    /// The order that the user gave that idempotency key, if there is one.
    ///
    /// # Errors
    /// When the database fails or the row is unreadable.
    pub async fn order_under(&self, user: UserId, key: &str) -> Result<Option<Order>, Error> {
        let query = Entity::find().filter(Column::UserId.eq(user.0)).filter(Column::IdempotencyKey.eq(key));
        query.one(&self.connection).await?.map(read).transpose()
    }

    /// The order of that id, if there is one.
    ///
    /// # Errors
    /// When the database fails or the row is unreadable.
    pub async fn find_order(&self, id: OrderId) -> Result<Option<Order>, Error> {
        find_order_in(&self.connection, id).await
    }

    /// The order that a transaction of the platform paid, if there is one.
    ///
    /// # Errors
    /// When the database fails or the row is unreadable.
    pub async fn order_paid_by(&self, transaction_id: &str) -> Result<Option<Order>, Error> {
        let query = Entity::find().filter(Column::TransactionId.eq(transaction_id));
        query.one(&self.connection).await?.map(read).transpose()
    }

    /// Up to `limit` orders of the user, newest first, older than `before`.
    ///
    /// # Errors
    /// When the database fails or a row is unreadable.
    pub async fn orders_of(
        &self,
        user: UserId,
        before: Option<OrderId>,
        limit: u64,
    ) -> Result<Vec<Order>, Error> {
        let mut query = Entity::find().filter(Column::UserId.eq(user.0));
        if let Some(before) = before {
            query = query.filter(Column::Id.lt(before.0));
        }
        let rows = query.order_by_desc(Column::Id).limit(limit).all(&self.connection).await?;
        rows.into_iter().map(read).collect()
    }

    /// How many orders of the user may still be paid.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn open_orders_of(&self, user: UserId, since: Millis) -> Result<u64, Error> {
        let open = OrderState::ALL.into_iter().filter(|state| state.is_open()).map(OrderState::as_str);
        let query = Entity::find()
            .filter(Column::UserId.eq(user.0))
            .filter(Column::State.is_in(open))
            .filter(Column::CreatedAt.gte(since));
        Ok(query.count(&self.connection).await?)
    }

    /// Up to `limit` orders of a rail that were paid from `since` and before `until`, after `after`, by id.
    ///
    /// # Errors
    /// When the database fails or a row is unreadable.
    pub async fn orders_paid(
        &self,
        rail: Rail,
        (since, until): (Millis, Millis),
        after: OrderId,
        limit: u64,
    ) -> Result<Vec<Order>, Error> {
        let query = Entity::find()
            .filter(Column::Rail.eq(rail.as_str()))
            .filter(Column::PaidAt.gte(since))
            .filter(Column::PaidAt.lt(until))
            .filter(Column::Id.gt(after.0))
            .order_by_asc(Column::Id)
            .limit(limit);
        query.all(&self.connection).await?.into_iter().map(read).collect()
    }
}

/// The order of that id, as `db` sees it.
pub(crate) async fn find_order_in(db: &impl ConnectionTrait, id: OrderId) -> Result<Option<Order>, Error> {
    Entity::find_by_id(id.0).one(db).await?.map(read).transpose()
}

/// The order of that id as it is now, and stays until `tx` ends: other transactions that would move it, or hold it, wait.
pub(crate) async fn hold_order_in(tx: &Transaction, id: OrderId) -> Result<Option<Order>, Error> {
    Entity::update_many()
        .col_expr(Column::State, Expr::col(Column::State))
        .filter(Column::Id.eq(id.0))
        .exec(tx)
        .await?;
    find_order_in(tx, id).await
}

/// Whether an order other than `order` was paid by that transaction.
pub(crate) async fn is_paid_by_another(
    db: &impl ConnectionTrait,
    transaction_id: &str,
    order: OrderId,
) -> Result<bool, Error> {
    let other = Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(Column::TransactionId.eq(transaction_id))
        .filter(Column::Id.ne(order.0))
        .into_tuple::<Uuid>()
        .one(db)
        .await?;
    Ok(other.is_some())
}

/// Whether an order of the user may still be paid, or its money is on its way back.
pub(crate) async fn has_unfinished_orders(db: &impl ConnectionTrait, user: UserId) -> Result<bool, Error> {
    let unfinished =
        OrderState::ALL.into_iter().filter(|&state| state.is_open() || state == OrderState::Refunding);
    let query = Entity::find()
        .filter(Column::UserId.eq(user.0))
        .filter(Column::State.is_in(unfinished.map(OrderState::as_str)));
    Ok(query.count(db).await? > 0)
}

/// Forgets who paid the user's orders.
pub(crate) async fn forget_payer(tx: &impl ConnectionTrait, user: UserId) -> Result<(), Error> {
    Entity::update_many()
        .col_expr(Column::Payer, Expr::value(None::<String>))
        .filter(Column::UserId.eq(user.0))
        .exec(tx)
        .await?;
    Ok(())
}

/// Stores what may change of an order, if it is still in the state `from`; false when it is not.
pub(crate) async fn move_order(
    tx: &impl ConnectionTrait,
    from: OrderState,
    order: &Order,
) -> Result<bool, Error> {
    let moved = Entity::update_many()
        .col_expr(Column::State, Expr::value(order.state.as_str()))
        .col_expr(Column::PrepayId, Expr::value(order.prepared.as_ref().map(|given| given.prepay_id.clone())))
        .col_expr(Column::PreparedAt, Expr::value(order.prepared.as_ref().map(|given| given.at)))
        .col_expr(Column::TransactionId, Expr::value(order.transaction_id.clone()))
        .col_expr(Column::Trouble, Expr::value(order.trouble.clone()))
        .col_expr(Column::Notice, Expr::value(order.notice.as_str()))
        .col_expr(Column::PaidAt, Expr::value(order.paid_at))
        .col_expr(Column::DueAt, Expr::value(order.due_at))
        .col_expr(Column::Tries, Expr::value(order.tries))
        .filter(Column::Id.eq(order.id.0))
        .filter(Column::State.eq(from.as_str()))
        .exec(tx)
        .await?;
    Ok(moved.rows_affected > 0)
}

fn row(order: &Order, key: Option<&str>) -> ActiveModel {
    ActiveModel {
        id: Set(order.id.0),
        user_id: Set(order.user.0),
        idempotency_key: Set(key.map(str::to_owned)),
        rail: Set(order.rail.as_str().to_owned()),
        item: Set(order.item.as_str().to_owned()),
        title: Set(order.title.clone()),
        price_fen: Set(order.price.get()),
        credits: Set(order.credits.get()),
        payer: Set(order.payer.as_ref().map(|payer| payer.as_str().to_owned())),
        state: Set(order.state.as_str().to_owned()),
        prepay_id: Set(order.prepared.as_ref().map(|given| given.prepay_id.clone())),
        prepared_at: Set(order.prepared.as_ref().map(|given| given.at)),
        transaction_id: Set(order.transaction_id.clone()),
        trouble: Set(order.trouble.clone()),
        notice: Set(order.notice.as_str().to_owned()),
        created_at: Set(order.created_at),
        expires_at: Set(order.expires_at),
        paid_at: Set(order.paid_at),
        looked_at: Set(0),
        due_at: Set(order.due_at),
        tries: Set(order.tries),
    }
}

fn read(row: Model) -> Result<Order, Error> {
    let id = row.id;
    let corrupt = |what: &str| Error::Corrupt { id, what: format!("{what} of an order") };
    Ok(Order {
        id: OrderId(id),
        user: UserId(row.user_id),
        rail: Rail::named(&row.rail).ok_or_else(|| corrupt("rail"))?,
        item: ItemId::new(&row.item).ok_or_else(|| corrupt("item"))?,
        title: row.title,
        price: Fen::new(row.price_fen).ok_or_else(|| corrupt("price"))?,
        credits: Credits::new(row.credits).ok_or_else(|| corrupt("credits"))?,
        state: OrderState::named(&row.state).ok_or_else(|| corrupt("state"))?,
        transaction_id: row.transaction_id,
        trouble: row.trouble,
        created_at: row.created_at,
        expires_at: row.expires_at,
        paid_at: row.paid_at,
        payer: row.payer.map(OpenId::new),
        prepared: row.prepay_id.zip(row.prepared_at).map(|(prepay_id, at)| Prepared { prepay_id, at }),
        notice: Notice::named(&row.notice).ok_or_else(|| corrupt("notice"))?,
        due_at: row.due_at,
        tries: row.tries,
    })
}
