//! Holds in their table: what pictures that are being made keep of their owners' credits.

use sea_orm::sea_query::Expr;
use sea_orm::{ActiveValue::Set, ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _};
use uuid::Uuid;

use super::rows::holds::{ActiveModel, Column, Entity, Model};
use crate::db::{Error, give_way};
use crate::domain::money::{Credits, Hold, HoldState};
use crate::domain::{Millis, UserId};

/// The hold of that id, if there is one.
pub(crate) async fn find_hold(db: &impl ConnectionTrait, id: Uuid) -> Result<Option<Hold>, Error> {
    Entity::find_by_id(id).one(db).await?.map(hold).transpose()
}

/// Records a hold.
///
/// # Errors
/// [`Error::Undone`] when another transaction records the same: begin again.
pub(crate) async fn insert_hold(tx: &impl ConnectionTrait, hold: &Hold, now: Millis) -> Result<(), Error> {
    let row = ActiveModel {
        id: Set(hold.id),
        user_id: Set(hold.user.0),
        credits: Set(hold.credits.get()),
        state: Set(hold.state.as_str().to_owned()),
        created_at: Set(now),
        ended_at: Set(None),
    };
    Entity::insert(row).exec_without_returning(tx).await.map_err(give_way)?;
    Ok(())
}

/// Ends an open hold; false when it is not open (any more).
pub(crate) async fn end_hold(
    tx: &impl ConnectionTrait,
    id: Uuid,
    state: HoldState,
    now: Millis,
) -> Result<bool, Error> {
    let ended = Entity::update_many()
        .col_expr(Column::State, Expr::value(state.as_str()))
        .col_expr(Column::EndedAt, Expr::value(now))
        .filter(Column::Id.eq(id))
        .filter(Column::State.eq(HoldState::Open.as_str()))
        .exec(tx)
        .await?;
    Ok(ended.rows_affected > 0)
}

fn hold(row: Model) -> Result<Hold, Error> {
    let corrupt = |what: &str| Error::Corrupt { id: row.id, what: what.to_owned() };
    Ok(Hold {
        id: row.id,
        user: UserId(row.user_id),
        credits: Credits::new(row.credits).ok_or_else(|| corrupt("credits of a hold"))?,
        state: HoldState::named(&row.state).ok_or_else(|| corrupt("state of a hold"))?,
    })
}
