//! Artworks in and out of their table. A change names the state it starts from, so of two that race one finds nothing.

mod due;
mod files;
mod pictures;
mod reviews;
mod rows;

use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, ConnectionTrait, EntityTrait as _, IntoActiveModel as _,
    PaginatorTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
};

use super::{Database, Error, Transaction};
use crate::domain::artwork::{Fate, TAKEN_DOWN, Verdict};
use crate::domain::money::Credits;
use crate::domain::{Artwork, ArtworkId, ArtworkState, Millis, UserId};
use rows::artworks::{Column, Entity, Model};

pub use due::Due;
pub(crate) use files::doom_files_in;
pub(crate) use pictures::{insert_pictures_in, take_files_in};

impl Database {
    /// The artwork of that id, deleted ones included.
    ///
    /// # Errors
    /// When the database fails or the row is unreadable.
    pub async fn find_artwork(&self, id: ArtworkId) -> Result<Option<Artwork>, Error> {
        Entity::find_by_id(id.0).one(&self.connection).await?.map(read).transpose()
    }

    /// The artwork that the user gave that idempotency key.
    ///
    /// # Errors
    /// When the database fails or the row is unreadable.
    pub async fn artwork_under(&self, user: UserId, key: &str) -> Result<Option<Artwork>, Error> {
        let query = Entity::find().filter(Column::UserId.eq(user.0)).filter(Column::IdempotencyKey.eq(key));
        query.one(&self.connection).await?.map(read).transpose()
    }

    /// The artwork that this link leads to.
    ///
    /// # Errors
    /// When the database fails or the row is unreadable.
    pub async fn artwork_shared_by(&self, token: &str) -> Result<Option<Artwork>, Error> {
        let query = Entity::find().filter(Column::ShareToken.eq(token)).filter(Column::DeletedAt.is_null());
        query.one(&self.connection).await?.map(read).transpose()
    }

    /// Up to `limit` artworks of the user that are not deleted, newest first, older than `before`.
    ///
    /// # Errors
    /// When the database fails or a row is unreadable.
    pub async fn artworks_of(
        &self,
        user: UserId,
        only_favourites: bool,
        before: Option<ArtworkId>,
        limit: u64,
    ) -> Result<Vec<Artwork>, Error> {
        let mut query = Entity::find().filter(Column::UserId.eq(user.0)).filter(Column::DeletedAt.is_null());
        if only_favourites {
            query = query.filter(Column::IsFavourite.eq(true));
        }
        if let Some(before) = before {
            query = query.filter(Column::Id.lt(before.0));
        }
        let rows = query.order_by_desc(Column::Id).limit(limit).all(&self.connection).await?;
        rows.into_iter().map(read).collect()
    }

    /// How many artworks of the user are being made.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn open_artworks_of(&self, user: UserId) -> Result<u64, Error> {
        open_artworks_in(&self.connection, user).await
    }

    /// Whether any artwork waits for the gateway.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn has_open_artworks(&self) -> Result<bool, Error> {
        let query = Entity::find().filter(Column::DueAt.is_not_null()).filter(Column::State.is_in(open()));
        Ok(query
            .select_only()
            .column(Column::Id)
            .into_tuple::<uuid::Uuid>()
            .one(&self.connection)
            .await?
            .is_some())
    }

    /// Nothing can be done about it before its owner comes by.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn await_visit(&self, id: ArtworkId) -> Result<(), Error> {
        Entity::update_many()
            .col_expr(Column::DueAt, Expr::value(None::<i64>))
            .filter(Column::Id.eq(id.0))
            .filter(Column::State.eq(ArtworkState::Made.as_str()))
            .exec(&self.connection)
            .await?;
        Ok(())
    }

    /// Says whether the owner likes it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_favourite(&self, id: ArtworkId, is_favourite: bool) -> Result<(), Error> {
        Entity::update_many()
            .col_expr(Column::IsFavourite, Expr::value(is_favourite))
            .filter(Column::Id.eq(id.0))
            .exec(&self.connection)
            .await?;
        Ok(())
    }

    /// Gives it a link, or takes that away.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_share_token(&self, id: ArtworkId, token: Option<&str>) -> Result<(), Error> {
        Entity::update_many()
            .col_expr(Column::ShareToken, Expr::value(token.map(str::to_owned)))
            .filter(Column::Id.eq(id.0))
            .exec(&self.connection)
            .await?;
        Ok(())
    }

    /// Notes that its owner is being told of it; false when somebody noted that before.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_telling(&self, id: ArtworkId, now: Millis) -> Result<bool, Error> {
        let claimed = Entity::update_many()
            .col_expr(Column::ToldAt, Expr::value(now))
            .filter(Column::Id.eq(id.0))
            .filter(Column::ToldAt.is_null())
            .exec(&self.connection)
            .await?;
        Ok(claimed.rows_affected > 0)
    }
}

/// Records an artwork; [`Error::Duplicate`] when its id or its user's key is taken: then the transaction has to be dropped.
pub(crate) async fn insert_artwork_in(
    transaction: &Transaction,
    artwork: &Artwork,
    key: Option<&str>,
) -> Result<(), Error> {
    row(artwork, key).into_active_model().insert(transaction).await?;
    Ok(())
}

/// How many artworks of the user are being made.
pub(crate) async fn open_artworks_in(db: &impl ConnectionTrait, user: UserId) -> Result<u64, Error> {
    let query = Entity::find().filter(Column::UserId.eq(user.0)).filter(Column::State.is_in(open()));
    Ok(query.count(db).await?)
}

/// Stores what may change of an artwork, if it is still in the state `from`; false when it is not.
pub(crate) async fn move_artwork_in(
    transaction: &Transaction,
    from: ArtworkState,
    artwork: &Artwork,
) -> Result<bool, Error> {
    let moved = Entity::update_many()
        .col_expr(Column::State, Expr::value(artwork.state.as_str()))
        .col_expr(Column::JobId, Expr::value(artwork.job_id.clone()))
        .col_expr(Column::Reason, Expr::value(artwork.reason.clone()))
        .col_expr(Column::NeedsReview, Expr::value(needs_review(artwork)))
        .col_expr(Column::UpdatedAt, Expr::value(artwork.updated_at))
        .col_expr(Column::DueAt, Expr::value(artwork.due_at))
        .col_expr(Column::Tries, Expr::value(artwork.tries))
        .filter(Column::Id.eq(artwork.id.0))
        .filter(Column::State.eq(from.as_str()))
        .exec(transaction)
        .await?;
    Ok(moved.rows_affected > 0)
}

/// Forgets what the person wrote and takes the artwork out of every list; false when that was done before.
pub(crate) async fn delete_artwork_in(
    transaction: &Transaction,
    id: ArtworkId,
    now: Millis,
) -> Result<bool, Error> {
    let deleted = Entity::update_many()
        .col_expr(Column::DeletedAt, Expr::value(now))
        .col_expr(Column::Request, Expr::value(""))
        .col_expr(Column::Inputs, Expr::value(None::<String>))
        .col_expr(Column::ShareToken, Expr::value(None::<String>))
        .col_expr(Column::NeedsReview, Expr::value(false))
        .col_expr(Column::DueAt, Expr::value(None::<i64>))
        .filter(Column::Id.eq(id.0))
        .filter(Column::DeletedAt.is_null())
        .exec(transaction)
        .await?;
    Ok(deleted.rows_affected > 0)
}

/// Takes an artwork away from everybody for good; false when there is nothing to take.
pub(crate) async fn take_down_in(
    transaction: &Transaction,
    id: ArtworkId,
    now: Millis,
) -> Result<bool, Error> {
    let made = ArtworkState::ALL.into_iter().filter(|state| state.fate() == Fate::Settled);
    let taken = Entity::update_many()
        .col_expr(Column::State, Expr::value(ArtworkState::Hidden.as_str()))
        .col_expr(Column::Reason, Expr::value(TAKEN_DOWN))
        .col_expr(Column::NeedsReview, Expr::value(false))
        .col_expr(Column::ShareToken, Expr::value(None::<String>))
        .col_expr(Column::UpdatedAt, Expr::value(now))
        .col_expr(Column::DueAt, Expr::value(None::<i64>))
        .filter(Column::Id.eq(id.0))
        .filter(Column::State.is_in(made.map(ArtworkState::as_str)))
        .exec(transaction)
        .await?;
    Ok(taken.rows_affected > 0)
}

/// Removes every row of the user's artworks; gives the files that have to go.
pub(crate) async fn erase_artworks_in(transaction: &Transaction, user: UserId) -> Result<Vec<String>, Error> {
    let ids: Vec<uuid::Uuid> = Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(Column::UserId.eq(user.0))
        .into_tuple()
        .all(transaction)
        .await?;
    let mut files = Vec::new();
    for part in ids.chunks(200) {
        files.extend(pictures::erase_in(transaction, part).await?);
        reviews::erase_reports_on(transaction, part).await?;
    }
    reviews::erase_reports_by(transaction, user).await?;
    Entity::delete_many().filter(Column::UserId.eq(user.0)).exec(transaction).await?;
    Ok(files)
}

fn open() -> impl Iterator<Item = &'static str> {
    ArtworkState::ALL.into_iter().filter(|state| state.is_open()).map(ArtworkState::as_str)
}

/// Whether somebody should look at it: nobody has decided, or people reported what is shown.
fn needs_review(artwork: &Artwork) -> bool {
    match artwork.state {
        ArtworkState::Hidden => artwork.reason.as_deref() == Some(Verdict::Review.as_str()),
        _ => false,
    }
}

fn row(artwork: &Artwork, key: Option<&str>) -> Model {
    Model {
        id: artwork.id.0,
        user_id: artwork.user.0,
        idempotency_key: key.map(str::to_owned),
        template: artwork.template.clone(),
        credits: artwork.credits.get(),
        request: artwork.request.clone(),
        job_id: artwork.job_id.clone(),
        state: artwork.state.as_str().to_owned(),
        reason: artwork.reason.clone(),
        is_favourite: artwork.is_favourite,
        share_token: artwork.share_token.clone(),
        reports: artwork.reports,
        needs_review: needs_review(artwork),
        told_at: None,
        created_at: artwork.created_at,
        updated_at: artwork.updated_at,
        due_at: artwork.due_at,
        tries: artwork.tries,
        deleted_at: artwork.deleted_at,
        inputs: artwork.inputs.clone(),
    }
}

fn read(row: Model) -> Result<Artwork, Error> {
    let corrupt = |what: &str| Error::Corrupt { id: row.id, what: format!("{what} of an artwork") };
    Ok(Artwork {
        id: ArtworkId(row.id),
        user: UserId(row.user_id),
        credits: Credits::new(row.credits).ok_or_else(|| corrupt("credits"))?,
        state: ArtworkState::named(&row.state).ok_or_else(|| corrupt("state"))?,
        template: row.template,
        request: row.request,
        inputs: row.inputs,
        job_id: row.job_id,
        reason: row.reason,
        is_favourite: row.is_favourite,
        share_token: row.share_token,
        reports: row.reports,
        created_at: row.created_at,
        updated_at: row.updated_at,
        due_at: row.due_at,
        tries: row.tries,
        deleted_at: row.deleted_at,
    })
}
