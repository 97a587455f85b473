//! Orders and refunds that the background has to look at.

use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _};

use super::rows::{orders, refunds};
use crate::db::due::{self, Due, Timed};
use crate::db::{Database, Error};
use crate::domain::Millis;
use crate::domain::money::{OrderId, RefundId};

impl Timed for orders::Entity {
    const ID: orders::Column = orders::Column::Id;
    const DUE_AT: orders::Column = orders::Column::DueAt;
    const TRIES: orders::Column = orders::Column::Tries;
}

impl Timed for refunds::Entity {
    const ID: refunds::Column = refunds::Column::Id;
    const DUE_AT: refunds::Column = refunds::Column::DueAt;
    const TRIES: refunds::Column = refunds::Column::Tries;
}

impl Database {
    /// Up to `limit` orders whose time has come, the longest due first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn due_orders(&self, now: Millis, limit: u64) -> Result<Vec<Due<OrderId>>, Error> {
        due::due::<orders::Entity, _>(&self.connection, (now, limit), OrderId).await
    }

    /// Takes a due order until `until`; false when somebody else took it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_order(&self, due: Due<OrderId>, until: Millis) -> Result<bool, Error> {
        let due = Due { id: due.id.0, at: due.at };
        due::claim::<orders::Entity>(&self.connection, due, until).await
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
        due::reschedule::<orders::Entity>(&self.connection, id.0, claimed, next).await
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
        due::due::<refunds::Entity, _>(&self.connection, (now, limit), RefundId).await
    }

    /// Takes a due refund until `until`; false when somebody else took it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_refund(&self, due: Due<RefundId>, until: Millis) -> Result<bool, Error> {
        let due = Due { id: due.id.0, at: due.at };
        due::claim::<refunds::Entity>(&self.connection, due, until).await
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
        due::reschedule::<refunds::Entity>(&self.connection, id.0, claimed, next).await
    }
}
