//! Reports, and the queue of those who review.

use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, EntityTrait as _, IntoActiveModel as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _,
};
use uuid::Uuid;

use super::read;
use super::rows::artworks::{Column, Entity};
use super::rows::reports;
use crate::db::{Database, Error, Transaction};
use crate::domain::{Artwork, ArtworkId, Millis, UserId};

impl Database {
    /// Up to `limit` artworks that somebody has to look at, oldest first, after `after`.
    ///
    /// # Errors
    /// When the database fails or a row is unreadable.
    pub async fn artworks_to_review(
        &self,
        after: Option<ArtworkId>,
        limit: u64,
    ) -> Result<Vec<Artwork>, Error> {
        let mut query =
            Entity::find().filter(Column::NeedsReview.eq(true)).filter(Column::DeletedAt.is_null());
        if let Some(after) = after {
            query = query.filter(Column::Id.gt(after.0));
        }
        let rows = query.order_by_asc(Column::Id).limit(limit).all(&self.connection).await?;
        rows.into_iter().map(read).collect()
    }

    /// Somebody has looked.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end_review(&self, id: ArtworkId) -> Result<(), Error> {
        Entity::update_many()
            .col_expr(Column::NeedsReview, Expr::value(false))
            .filter(Column::Id.eq(id.0))
            .exec(&self.connection)
            .await?;
        Ok(())
    }

    /// Keeps a report, one of each person, and queues the artwork for review. False when the person reported it before.
    ///
    /// # Errors
    /// When the database fails; a repeat is safe.
    pub async fn report_artwork(
        &self,
        id: ArtworkId,
        by: UserId,
        reason: &str,
        now: Millis,
    ) -> Result<bool, Error> {
        let transaction = self.begin().await?;
        let row =
            reports::Model { artwork_id: id.0, user_id: by.0, reason: reason.to_owned(), created_at: now };
        match row.into_active_model().insert(&transaction).await.map_err(Error::from) {
            Err(Error::Duplicate(_)) => return Ok(false), // the transaction is dropped
            inserted => inserted?,
        };
        Entity::update_many()
            .col_expr(Column::Reports, Expr::col(Column::Reports).add(1))
            .col_expr(Column::NeedsReview, Expr::value(true))
            .filter(Column::Id.eq(id.0))
            .exec(&transaction)
            .await?;
        self.commit(transaction).await?;
        Ok(true)
    }

    /// What people wrote about it, newest first, up to `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn report_reasons(&self, id: ArtworkId, limit: u64) -> Result<Vec<String>, Error> {
        let query = reports::Entity::find()
            .select_only()
            .column(reports::Column::Reason)
            .filter(reports::Column::ArtworkId.eq(id.0))
            .order_by_desc(reports::Column::CreatedAt)
            .limit(limit);
        Ok(query.into_tuple().all(&self.connection).await?)
    }
}

pub(super) async fn erase_reports_on(transaction: &Transaction, artworks: &[Uuid]) -> Result<(), Error> {
    reports::Entity::delete_many()
        .filter(reports::Column::ArtworkId.is_in(artworks.iter().copied()))
        .exec(transaction)
        .await?;
    Ok(())
}

pub(super) async fn erase_reports_by(transaction: &Transaction, user: UserId) -> Result<(), Error> {
    reports::Entity::delete_many().filter(reports::Column::UserId.eq(user.0)).exec(transaction).await?;
    Ok(())
}
