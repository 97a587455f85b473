//! The ledger in its tables. Postings and entries are only ever inserted; a balance moves in the same transaction, by a
//! conditional update that cannot overspend.

mod audit;
mod history;
mod holds;
mod rows;

use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _, QuerySelect as _,
};
use uuid::Uuid;

pub use audit::Audit;
pub use history::Line;

use super::{Database, Error, give_way};
use crate::domain::money::{Credits, OrderId, Posting};
use crate::domain::{Millis, UserId};
use rows::{balances, entries, postings};

pub(crate) use holds::{end_hold, find_hold, insert_hold};

/// What a user has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Balance {
    /// May be spent.
    pub available: Credits,
    /// Held by pictures that are being made.
    pub held: Credits,
}

/// How a posting went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Outcome {
    /// In the books now.
    Posted,
    /// It was in the books before; nothing changed.
    Already,
    /// The user has too little; nothing was written.
    Short,
}

impl Database {
    /// What the user has; nothing when nothing was ever posted.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn balance(&self, user: UserId) -> Result<Balance, Error> {
        balance_in(&self.connection, user).await
    }

    /// Whether a bill confirmed the payment of an order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_settled(&self, order: OrderId) -> Result<bool, Error> {
        is_posted(&self.connection, &format!("settlement:{order}")).await
    }
}

/// What the user has, as `db` sees it.
pub(crate) async fn balance_in(db: &impl ConnectionTrait, user: UserId) -> Result<Balance, Error> {
    let Some(row) = balances::Entity::find_by_id(user.0).one(db).await? else {
        return Ok(Balance::default());
    };
    let credits = |amount: i64, what: &str| {
        Credits::new(amount).ok_or_else(|| Error::Corrupt { id: user.0, what: format!("{what} is {amount}") })
    };
    Ok(Balance { available: credits(row.available, "available")?, held: credits(row.held, "held")? })
}

/// Whether something is in the books under `reference`.
pub(crate) async fn is_posted(db: &impl ConnectionTrait, reference: &str) -> Result<bool, Error> {
    let found = postings::Entity::find()
        .select_only()
        .column(postings::Column::Id)
        .filter(postings::Column::Reference.eq(reference))
        .into_tuple::<Uuid>()
        .one(db)
        .await?;
    Ok(found.is_some())
}

/// Puts `posting` into the books and moves the balance it touches, once.
///
/// # Errors
/// [`Error::Undone`] when another transaction is posting the same: begin again.
pub(crate) async fn post(
    tx: &impl ConnectionTrait,
    posting: &Posting,
    now: Millis,
) -> Result<Outcome, Error> {
    if is_posted(tx, &posting.reference).await? {
        return Ok(Outcome::Already);
    }
    if let Some((user, available, held)) = posting.user_change()
        && !move_balance(tx, user, available, held).await?
    {
        return Ok(Outcome::Short);
    }
    let id = Uuid::now_v7();
    let row = postings::ActiveModel {
        id: Set(id),
        reference: Set(posting.reference.clone()),
        kind: Set(posting.kind.as_str().to_owned()),
        subject: Set(posting.subject),
        created_at: Set(now),
    };
    postings::Entity::insert(row).exec_without_returning(tx).await.map_err(give_way)?;
    let lines = (0..).zip(&posting.entries).map(|(line, entry)| entries::ActiveModel {
        posting_id: Set(id),
        line: Set(line),
        account: Set(entry.account.as_str().to_owned()),
        user_id: Set(entry.account.user().map(|user| user.0)),
        unit: Set(entry.account.unit().as_str().to_owned()),
        amount: Set(entry.amount),
    });
    entries::Entity::insert_many(lines).exec_without_returning(tx).await?;
    Ok(Outcome::Posted)
}

/// False when one of the two would become negative; then nothing changed.
async fn move_balance(
    tx: &impl ConnectionTrait,
    user: UserId,
    available: i64,
    held: i64,
) -> Result<bool, Error> {
    use balances::Column;
    let moved = balances::Entity::update_many()
        .col_expr(Column::Available, Expr::col(Column::Available).add(available))
        .col_expr(Column::Held, Expr::col(Column::Held).add(held))
        .filter(Column::UserId.eq(user.0))
        .filter(Column::Available.gte(-available))
        .filter(Column::Held.gte(-held))
        .exec(tx)
        .await?;
    if moved.rows_affected > 0 {
        return Ok(true);
    }
    if available < 0 || held < 0 {
        return Ok(false);
    }
    let row = balances::ActiveModel { user_id: Set(user.0), available: Set(available), held: Set(held) };
    balances::Entity::insert(row).exec_without_returning(tx).await.map_err(give_way)?;
    Ok(true)
}
