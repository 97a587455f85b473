//! Files that have to go: they lie outside the database, so they are noted in the transaction that gives them up, and
//! removed later.

use sea_orm::sea_query::{Expr, ExprTrait as _, OnConflict};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
};

use super::rows::doomed::{ActiveModel, Column, Entity};
use crate::db::{Database, Error, Transaction};
use crate::domain::Millis;

/// Notes files that nobody may see any more, to be removed from then on. Of one that is noted already the time is set
/// anew, also while somebody removes it: then it is removed once more.
pub(crate) async fn doom_files_in(
    transaction: &Transaction,
    files: &[String],
    due_at: Millis,
) -> Result<(), Error> {
    let anew = OnConflict::column(Column::FileId).update_column(Column::DueAt).to_owned();
    for part in files.chunks(200) {
        let rows = part.iter().map(|file| ActiveModel {
            file_id: Set(file.clone()),
            due_at: Set(due_at),
            tries: Set(0),
        });
        Entity::insert_many(rows).on_conflict(anew.clone()).exec_without_returning(transaction).await?;
    }
    Ok(())
}

impl Database {
    /// Up to `limit` files that have to go, claimed until `until`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_doomed_files(
        &self,
        now: Millis,
        until: Millis,
        limit: u64,
    ) -> Result<Vec<String>, Error> {
        let rows: Vec<(String, i64)> = Entity::find()
            .select_only()
            .column(Column::FileId)
            .column(Column::DueAt)
            .filter(Column::DueAt.lte(now))
            .order_by_asc(Column::DueAt)
            .limit(limit)
            .into_tuple()
            .all(&self.connection)
            .await?;
        let mut claimed = Vec::new();
        for (file, due_at) in rows {
            let taken = Entity::update_many()
                .col_expr(Column::DueAt, Expr::value(until))
                .col_expr(Column::Tries, Expr::col(Column::Tries).add(1))
                .filter(Column::FileId.eq(&file))
                .filter(Column::DueAt.eq(due_at))
                .exec(&self.connection)
                .await?;
            if taken.rows_affected > 0 {
                claimed.push(file);
            }
        }
        Ok(claimed)
    }

    /// They are gone, removed under the claim until then. One that was noted anew or claimed by others since stays noted.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_doomed_files(&self, files: &[String], claimed_until: Millis) -> Result<(), Error> {
        Entity::delete_many()
            .filter(Column::FileId.is_in(files))
            .filter(Column::DueAt.eq(claimed_until))
            .exec(&self.connection)
            .await?;
        Ok(())
    }
}
