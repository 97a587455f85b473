//! What happened to a user's credits, newest first.

use std::collections::HashMap;

use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _};
use uuid::Uuid;

use super::rows::{entries, postings};
use crate::db::{Database, Error};
use crate::domain::money::Unit;
use crate::domain::{Millis, UserId};

/// One change of one of a user's two accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The posting; ids grow with time, and a page ends before one.
    pub posting: Uuid,
    /// What it was about: the name of a [`crate::domain::money::Kind`].
    pub kind: String,
    /// The order, refund or picture.
    pub subject: Option<Uuid>,
    /// `available` or `held`.
    pub account: String,
    /// Into the account, or out of it when negative.
    pub amount: i64,
    /// When.
    pub at: Millis,
}

impl Database {
    /// Up to `limit` changes of the user's credits, newest first, older than posting `before`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn credit_lines(
        &self,
        user: UserId,
        before: Option<Uuid>,
        limit: u64,
    ) -> Result<Vec<Line>, Error> {
        let mut query = entries::Entity::find()
            .filter(entries::Column::UserId.eq(user.0))
            .filter(entries::Column::Unit.eq(Unit::Credits.as_str()));
        if let Some(before) = before {
            query = query.filter(entries::Column::PostingId.lt(before));
        }
        let rows = query
            .order_by_desc(entries::Column::PostingId)
            .order_by_asc(entries::Column::Line)
            .limit(limit)
            .all(&self.connection)
            .await?;
        let ids = rows.iter().map(|row| row.posting_id);
        let causes: HashMap<Uuid, postings::Model> = postings::Entity::find()
            .filter(postings::Column::Id.is_in(ids))
            .all(&self.connection)
            .await?
            .into_iter()
            .map(|row| (row.id, row))
            .collect();
        rows.into_iter()
            .map(|row| {
                let id = row.posting_id;
                let cause = causes
                    .get(&id)
                    .ok_or_else(|| Error::Corrupt { id, what: "entry without posting".to_owned() })?;
                Ok(Line {
                    posting: id,
                    kind: cause.kind.clone(),
                    subject: cause.subject,
                    account: row.account,
                    amount: row.amount,
                    at: cause.created_at,
                })
            })
            .collect()
    }
}
