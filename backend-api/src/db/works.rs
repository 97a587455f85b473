//! Works in and out of their table.

use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, EntityTrait as _, IntoActiveModel as _, QueryFilter as _,
};

use super::entity::{Column, Entity, Model};
use super::{Database, Error};
use crate::domain::{Millis, Work, WorkId};

/// How a conditional write went.
#[derive(Debug)]
#[must_use]
pub enum Saved {
    /// Stored; this is the work with its new revision.
    Written(Box<Work>),
    /// Somebody stored a newer revision meanwhile; read again.
    Superseded,
}

impl Database {
    /// Records a new work; durable when it returns.
    ///
    /// # Errors
    /// When the database fails; the work may then be recorded or not.
    pub async fn insert_work(&self, work: &Work) -> Result<(), Error> {
        row(work)?.into_active_model().insert(&self.connection).await?;
        Ok(())
    }

    /// The work of that id, if there is one.
    ///
    /// # Errors
    /// When the database fails or the row is unreadable.
    pub async fn find_work(&self, id: WorkId) -> Result<Option<Work>, Error> {
        Entity::find_by_id(id.0).one(&self.connection).await?.map(work).transpose()
    }

    /// Stores what may change of a work, if its revision is still the stored one.
    ///
    /// # Errors
    /// When the database fails; the change may then be stored or not.
    pub async fn save_work(&self, work: Work, now: Millis) -> Result<Saved, Error> {
        let row = row(&work)?;
        let next = Work { revision: work.revision + 1, updated_at: now, ..work };
        let update = Entity::update_many()
            .col_expr(Column::JobId, Expr::value(row.job_id))
            .col_expr(Column::Status, Expr::value(row.status))
            .col_expr(Column::Outputs, Expr::value(row.outputs))
            .col_expr(Column::ErrorCode, Expr::value(row.error_code))
            .col_expr(Column::Revision, Expr::value(next.revision))
            .col_expr(Column::UpdatedAt, Expr::value(next.updated_at))
            .filter(Column::Id.eq(row.id))
            .filter(Column::Revision.eq(row.revision))
            .exec(&self.connection)
            .await?;
        Ok(match update.rows_affected {
            0 => Saved::Superseded,
            _ => Saved::Written(Box::new(next)),
        })
    }
}

fn row(work: &Work) -> Result<Model, Error> {
    Ok(Model {
        id: work.id.0,
        user_key: work.user_key.clone(),
        request: work.request.clone(),
        job_id: work.job_id.clone(),
        status: work.status.as_str().to_owned(),
        outputs: serde_json::to_string(&work.outputs)
            .map_err(|error| Error::Corrupt { id: work.id.0, what: error.to_string() })?,
        error_code: work.error_code.clone(),
        revision: work.revision,
        created_at: work.created_at,
        updated_at: work.updated_at,
    })
}

fn work(row: Model) -> Result<Work, Error> {
    let corrupt = |what: String| Error::Corrupt { id: row.id, what };
    Ok(Work {
        id: WorkId(row.id),
        status: row.status.parse().map_err(|name| corrupt(format!("unknown status {name}")))?,
        outputs: serde_json::from_str(&row.outputs).map_err(|error| corrupt(error.to_string()))?,
        user_key: row.user_key,
        request: row.request,
        job_id: row.job_id,
        error_code: row.error_code,
        revision: row.revision,
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
}
