//! Photos in and out of their table. A change names the state it starts from, so of two that race one finds nothing.

use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, ConnectionTrait, EntityTrait as _, IntoActiveModel as _,
    PaginatorTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
};

use super::{Database, Error, Transaction};
use crate::domain::{Millis, Photo, PhotoId, PhotoState, UserId};
use row::{Column, Entity, Model};

/// What stands before a gateway's name of a file that has to go.
pub(crate) const ASSET: &str = "asset:";

/// Files that photos leave behind.
#[derive(Debug, Default)]
pub(crate) struct Remains {
    /// They are where they were sent.
    pub(crate) here: Vec<String>,
    /// They may still be on their way: one that was removed too early would come and stay.
    pub(crate) coming: Vec<String>,
}

mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "photos")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub user_id: Uuid,
        pub state: String,
        pub file_id: Option<String>,
        pub asset_id: Option<String>,
        pub content_type: String,
        pub size_bytes: i64,
        pub width: i64,
        pub height: i64,
        pub trace_id: Option<String>,
        pub asked_at: Option<i64>,
        pub created_at: i64,
        pub due_at: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

impl Database {
    /// The photo of that id, deleted ones included.
    ///
    /// # Errors
    /// When the database fails or the row is unreadable.
    pub async fn find_photo(&self, id: PhotoId) -> Result<Option<Photo>, Error> {
        Entity::find_by_id(id.0).one(&self.connection).await?.map(read).transpose()
    }

    /// Up to `limit` photos of the user that are not deleted, newest first.
    ///
    /// # Errors
    /// When the database fails or a row is unreadable.
    pub async fn photos_of(&self, user: UserId, limit: u64) -> Result<Vec<Photo>, Error> {
        let query = Entity::find()
            .filter(Column::UserId.eq(user.0))
            .filter(Column::State.ne(PhotoState::Deleted.as_str()))
            .order_by_desc(Column::CreatedAt);
        query.limit(limit).all(&self.connection).await?.into_iter().map(read).collect()
    }

    /// How many photos the user gave since then.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn photos_since(&self, user: UserId, since: Millis) -> Result<u64, Error> {
        photos_since_in(&self.connection, user, since).await
    }

    /// Notes that its bytes are kept; false when it was deleted meanwhile, with its owner perhaps. A repeat finds that
    /// it was noted.
    ///
    /// # Errors
    /// When the database fails or the row is unreadable.
    pub async fn note_photo_kept(
        &self,
        id: PhotoId,
        asset_id: &str,
        state: PhotoState,
    ) -> Result<bool, Error> {
        Entity::update_many()
            .col_expr(Column::AssetId, Expr::value(asset_id))
            .col_expr(Column::State, Expr::value(state.as_str()))
            .filter(Column::Id.eq(id.0))
            .filter(Column::State.eq(PhotoState::Storing.as_str()))
            .exec(&self.connection)
            .await?;
        let found = self.find_photo(id).await?;
        Ok(found.is_some_and(|photo| photo.asset_id.as_deref() == Some(asset_id)))
    }

    /// Takes it upon the caller to ask for the check, unless somebody has since `overdue`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_photo_check(&self, id: PhotoId, overdue: Millis, now: Millis) -> Result<bool, Error> {
        let claimed = Entity::update_many()
            .col_expr(Column::AskedAt, Expr::value(now))
            .filter(Column::Id.eq(id.0))
            .filter(Column::State.eq(PhotoState::Checking.as_str()))
            .filter(Column::AskedAt.is_null().or(Column::AskedAt.lte(overdue)))
            .exec(&self.connection)
            .await?;
        Ok(claimed.rows_affected > 0)
    }

    /// Sets as of when it was asked for: a check that could not be had is asked for again sooner.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn date_photo_check(&self, id: PhotoId, asked_at: Millis) -> Result<(), Error> {
        Entity::update_many()
            .col_expr(Column::AskedAt, Expr::value(asked_at))
            .filter(Column::Id.eq(id.0))
            .exec(&self.connection)
            .await?;
        Ok(())
    }

    /// Notes which check it is in.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_photo_check(&self, id: PhotoId, trace_id: &str) -> Result<(), Error> {
        Entity::update_many()
            .col_expr(Column::TraceId, Expr::value(trace_id))
            .filter(Column::Id.eq(id.0))
            .filter(Column::State.eq(PhotoState::Checking.as_str()))
            .exec(&self.connection)
            .await?;
        Ok(())
    }

    /// Brings a check's word to the photo that waits for it, if both are there; says whether it was.
    ///
    /// # Errors
    /// When the database fails or a row is unreadable.
    pub async fn judge_photo(&self, trace_id: &str) -> Result<Option<PhotoState>, Error> {
        let Some(verdict) = self.verdict(trace_id).await? else { return Ok(None) };
        let state = PhotoState::by(verdict);
        let judged = Entity::update_many()
            .col_expr(Column::State, Expr::value(state.as_str()))
            .filter(Column::TraceId.eq(trace_id))
            .filter(Column::State.eq(PhotoState::Checking.as_str()))
            .exec(&self.connection)
            .await?;
        Ok((judged.rows_affected > 0).then_some(state))
    }

    /// Up to `limit` photos whose time is over.
    ///
    /// # Errors
    /// When the database fails or a row is unreadable.
    pub async fn ended_photos(&self, now: Millis, limit: u64) -> Result<Vec<Photo>, Error> {
        let query = Entity::find().filter(Column::DueAt.lte(now)).order_by_asc(Column::DueAt).limit(limit);
        query.all(&self.connection).await?.into_iter().map(read).collect()
    }
}

/// Records a photo.
pub(crate) async fn insert_photo_in(transaction: &Transaction, photo: &Photo) -> Result<(), Error> {
    row(photo).into_active_model().insert(transaction).await?;
    Ok(())
}

/// How many photos the user gave since then, as `db` sees it.
pub(crate) async fn photos_since_in(
    db: &impl ConnectionTrait,
    user: UserId,
    since: Millis,
) -> Result<u64, Error> {
    let query = Entity::find().filter(Column::UserId.eq(user.0)).filter(Column::CreatedAt.gt(since));
    Ok(query.count(db).await?)
}

/// Takes a photo away from its owner; gives what has to go, nothing when that was done before.
pub(crate) async fn delete_photo_in(transaction: &Transaction, id: PhotoId) -> Result<Remains, Error> {
    // Locked, or one that is noted as kept meanwhile would leave a file that nobody names.
    let rows = Entity::find_by_id(id.0).lock_exclusive().all(transaction).await?;
    Entity::update_many()
        .col_expr(Column::State, Expr::value(PhotoState::Deleted.as_str()))
        .col_expr(Column::FileId, Expr::value(None::<String>))
        .col_expr(Column::AssetId, Expr::value(None::<String>))
        .filter(Column::Id.eq(id.0))
        .exec(transaction)
        .await?;
    Ok(Remains::of(rows))
}

/// Removes the row of a photo; gives what has to go, nothing when somebody else has removed it.
pub(crate) async fn forget_photo_in(transaction: &Transaction, id: PhotoId) -> Result<Remains, Error> {
    let rows = Entity::find_by_id(id.0).lock_exclusive().all(transaction).await?;
    Entity::delete_by_id(id.0).exec(transaction).await?;
    Ok(Remains::of(rows))
}

/// Removes every row of the user's photos; gives what has to go.
pub(crate) async fn erase_photos_in(transaction: &Transaction, user: UserId) -> Result<Remains, Error> {
    let rows = Entity::find().filter(Column::UserId.eq(user.0)).lock_exclusive().all(transaction).await?;
    Entity::delete_many().filter(Column::UserId.eq(user.0)).exec(transaction).await?;
    Ok(Remains::of(rows))
}

impl Remains {
    /// Their bytes in the bucket, and those at the gateway.
    fn of(rows: Vec<Model>) -> Self {
        let mut remains = Self::default();
        for row in rows {
            let is_coming = row.state == PhotoState::Storing.as_str();
            let place = if is_coming { &mut remains.coming } else { &mut remains.here };
            place.extend(row.file_id);
            place.extend(row.asset_id.map(|id| format!("{ASSET}{id}")));
        }
        remains
    }
}

fn row(photo: &Photo) -> Model {
    Model {
        id: photo.id.0,
        user_id: photo.user.0,
        state: photo.state.as_str().to_owned(),
        file_id: photo.file_id.clone(),
        asset_id: photo.asset_id.clone(),
        content_type: photo.content_type.clone(),
        size_bytes: photo.size_bytes,
        width: photo.width,
        height: photo.height,
        trace_id: photo.trace_id.clone(),
        asked_at: photo.asked_at,
        created_at: photo.created_at,
        due_at: photo.ends_at,
    }
}

fn read(row: Model) -> Result<Photo, Error> {
    let corrupt = || Error::Corrupt { id: row.id, what: "state of a photo".to_owned() };
    Ok(Photo {
        id: PhotoId(row.id),
        user: UserId(row.user_id),
        state: PhotoState::named(&row.state).ok_or_else(corrupt)?,
        file_id: row.file_id,
        asset_id: row.asset_id,
        content_type: row.content_type,
        size_bytes: row.size_bytes,
        width: row.width,
        height: row.height,
        trace_id: row.trace_id,
        asked_at: row.asked_at,
        created_at: row.created_at,
        ends_at: row.due_at,
    })
}
