//! What the background has to look at. A due row is claimed by moving its time, so two replicas never do the same.

use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _};
use uuid::Uuid;

use super::rows::{orders, refunds};
use crate::db::{Database, Error};
use crate::domain::Millis;
use crate::domain::money::{OrderId, RefundId};

/// A row whose time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due<Id> {
    /// Which.
    pub id: Id,
    /// Since when.
    pub at: Millis,
}

impl Database {
    /// Up to `limit` orders whose time has come, the longest due first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn due_orders(&self, now: Millis, limit: u64) -> Result<Vec<Due<OrderId>>, Error> {
        use orders::{Column, Entity};
        let rows = Entity::find()
            .select_only()
            .column(Column::Id)
            .column(Column::DueAt)
            .filter(Column::DueAt.lte(now))
            .order_by_asc(Column::DueAt)
            .limit(limit)
            .into_tuple::<(Uuid, i64)>()
            .all(&self.connection)
            .await?;
        Ok(rows.into_iter().map(|(id, at)| Due { id: OrderId(id), at }).collect())
    }

    /// Takes a due order until `until`; false when somebody else took it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_order(&self, due: Due<OrderId>, until: Millis) -> Result<bool, Error> {
        use orders::{Column, Entity};
        let claimed = Entity::update_many()
            .col_expr(Column::DueAt, Expr::value(until))
            .col_expr(Column::Tries, Expr::col(Column::Tries).add(1))
            .filter(Column::Id.eq(due.id.0))
            .filter(Column::DueAt.eq(due.at))
            .exec(&self.connection)
            .await?;
        Ok(claimed.rows_affected > 0)
    }

    /// Sets when a claimed order is due next; nothing happens if something else set that meanwhile.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn reschedule_order(
        &self,
        id: OrderId,
        claimed: Millis,
        next: Option<Millis>,
    ) -> Result<(), Error> {
        use orders::{Column, Entity};
        Entity::update_many()
            .col_expr(Column::DueAt, Expr::value(next))
            .filter(Column::Id.eq(id.0))
            .filter(Column::DueAt.eq(claimed))
            .exec(&self.connection)
            .await?;
        Ok(())
    }

    /// Notes that the platform is being asked about an order at a reader's wish; false when it was asked after `since`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_look(&self, id: OrderId, now: Millis, since: Millis) -> Result<bool, Error> {
        use orders::{Column, Entity};
        let claimed = Entity::update_many()
            .col_expr(Column::LookedAt, Expr::value(now))
            .filter(Column::Id.eq(id.0))
            .filter(Column::LookedAt.lte(since))
            .exec(&self.connection)
            .await?;
        Ok(claimed.rows_affected > 0)
    }

    /// Up to `limit` refunds whose time has come, the longest due first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn due_refunds(&self, now: Millis, limit: u64) -> Result<Vec<Due<RefundId>>, Error> {
        use refunds::{Column, Entity};
        let rows = Entity::find()
            .select_only()
            .column(Column::Id)
            .column(Column::DueAt)
            .filter(Column::DueAt.lte(now))
            .order_by_asc(Column::DueAt)
            .limit(limit)
            .into_tuple::<(Uuid, i64)>()
            .all(&self.connection)
            .await?;
        Ok(rows.into_iter().map(|(id, at)| Due { id: RefundId(id), at }).collect())
    }

    /// Takes a due refund until `until`; false when somebody else took it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_refund(&self, due: Due<RefundId>, until: Millis) -> Result<bool, Error> {
        use refunds::{Column, Entity};
        let claimed = Entity::update_many()
            .col_expr(Column::DueAt, Expr::value(until))
            .col_expr(Column::Tries, Expr::col(Column::Tries).add(1))
            .filter(Column::Id.eq(due.id.0))
            .filter(Column::DueAt.eq(due.at))
            .exec(&self.connection)
            .await?;
        Ok(claimed.rows_affected > 0)
    }

    /// Sets when a claimed refund is due next; nothing happens if something else set that meanwhile.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn reschedule_refund(
        &self,
        id: RefundId,
        claimed: Millis,
        next: Option<Millis>,
    ) -> Result<(), Error> {
        use refunds::{Column, Entity};
        Entity::update_many()
            .col_expr(Column::DueAt, Expr::value(next))
            .filter(Column::Id.eq(id.0))
            .filter(Column::DueAt.eq(claimed))
            .exec(&self.connection)
            .await?;
        Ok(())
    }
}
