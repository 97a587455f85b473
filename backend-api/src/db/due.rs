//! Rows that background work has to look at. A due row is claimed by moving its time, so two replicas never do the same.

use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait, QueryFilter as _, QueryOrder as _, QuerySelect as _,
};
use uuid::Uuid;

use super::Error;
use crate::domain::Millis;

/// A row whose time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due<Id> {
    /// Which.
    pub id: Id,
    /// Since when.
    pub at: Millis,
}

/// A table whose rows have a time.
pub(super) trait Timed: EntityTrait {
    /// The row's id, a UUID.
    const ID: Self::Column;
    /// When it is due, if it is.
    const DUE_AT: Self::Column;
    /// How often it was claimed.
    const TRIES: Self::Column;
}

/// Up to `limit` rows whose time has come, the longest due first.
pub(super) async fn due<E: Timed, Id>(
    db: &impl ConnectionTrait,
    (now, limit): (Millis, u64),
    id_of: fn(Uuid) -> Id,
) -> Result<Vec<Due<Id>>, Error> {
    let rows = E::find()
        .select_only()
        .column(E::ID)
        .column(E::DUE_AT)
        .filter(E::DUE_AT.lte(now))
        .order_by_asc(E::DUE_AT)
        .limit(limit)
        .into_tuple::<(Uuid, i64)>()
        .all(db)
        .await?;
    Ok(rows.into_iter().map(|(id, at)| Due { id: id_of(id), at }).collect())
}

/// Takes a due row until `until`; false when somebody else took it.
pub(super) async fn claim<E: Timed>(
    db: &impl ConnectionTrait,
    due: Due<Uuid>,
    until: Millis,
) -> Result<bool, Error> {
    let claimed = E::update_many()
        .col_expr(E::DUE_AT, Expr::value(until))
        .col_expr(E::TRIES, Expr::col(E::TRIES).add(1))
        .filter(E::ID.eq(due.id))
        .filter(E::DUE_AT.eq(due.at))
        .exec(db)
        .await?;
    Ok(claimed.rows_affected > 0)
}

/// Sets when a claimed row is due next; nothing happens if something else set that meanwhile.
pub(super) async fn reschedule<E: Timed>(
    db: &impl ConnectionTrait,
    id: Uuid,
    claimed: Millis,
    next: Option<Millis>,
) -> Result<(), Error> {
    E::update_many()
        .col_expr(E::DUE_AT, Expr::value(next))
        .filter(E::ID.eq(id))
        .filter(E::DUE_AT.eq(claimed))
        .exec(db)
        .await?;
    Ok(())
}
