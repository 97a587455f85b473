//! Pictures and what checks said of them. The word of a check may come before we know that we asked for it, so it is
//! kept by its own name, and whoever comes second brings the two together.

use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, EntityTrait as _, IntoActiveModel as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _,
};
use uuid::Uuid;

use super::rows::pictures::{Column, Entity, Model};
use super::rows::verdicts;
use crate::db::{Database, Error, Transaction};
use crate::domain::artwork::Verdict;
use crate::domain::{ArtworkId, Millis, Picture};

impl Database {
    /// The pictures of an artwork, in their order.
    ///
    /// # Errors
    /// When the database fails or a row is unreadable.
    pub async fn pictures_of(&self, artwork: ArtworkId) -> Result<Vec<Picture>, Error> {
        let query = Entity::find().filter(Column::ArtworkId.eq(artwork.0)).order_by_asc(Column::Position);
        query.all(&self.connection).await?.into_iter().map(read).collect()
    }

    /// The pictures of several artworks.
    ///
    /// # Errors
    /// When the database fails or a row is unreadable.
    pub async fn pictures_of_all(&self, artworks: &[ArtworkId]) -> Result<Vec<(ArtworkId, Picture)>, Error> {
        let query = Entity::find()
            .filter(Column::ArtworkId.is_in(artworks.iter().map(|artwork| artwork.0)))
            .order_by_asc(Column::Position);
        let rows = query.all(&self.connection).await?;
        rows.into_iter().map(|row| Ok((ArtworkId(row.artwork_id), read(row)?))).collect()
    }

    /// Notes which check a picture is in, or that it is in none any more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_check(
        &self,
        artwork: ArtworkId,
        position: i32,
        trace_id: Option<&str>,
    ) -> Result<(), Error> {
        Entity::update_many()
            .col_expr(Column::TraceId, Expr::value(trace_id.map(str::to_owned)))
            .filter(Column::ArtworkId.eq(artwork.0))
            .filter(Column::Position.eq(position))
            .filter(Column::Verdict.is_null())
            .exec(&self.connection)
            .await?;
        Ok(())
    }

    /// Says what is to become of a picture, unless that was said before.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn judge_picture(
        &self,
        artwork: ArtworkId,
        position: i32,
        verdict: Verdict,
    ) -> Result<(), Error> {
        Entity::update_many()
            .col_expr(Column::Verdict, Expr::value(verdict.as_str()))
            .filter(Column::ArtworkId.eq(artwork.0))
            .filter(Column::Position.eq(position))
            .filter(Column::Verdict.is_null())
            .exec(&self.connection)
            .await?;
        Ok(())
    }

    /// Keeps what a check said. The first word stays.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_verdict(
        &self,
        trace_id: &str,
        verdict: Verdict,
        label: i64,
        now: Millis,
    ) -> Result<(), Error> {
        let row = verdicts::Model {
            trace_id: trace_id.to_owned(),
            verdict: verdict.as_str().to_owned(),
            label,
            told_at: now,
        };
        match row.into_active_model().insert(&self.connection).await.map_err(Error::from) {
            Ok(_) | Err(Error::Duplicate(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// What a check said, if its end was told.
    ///
    /// # Errors
    /// When the database fails or the row is unreadable.
    pub async fn verdict(&self, trace_id: &str) -> Result<Option<Verdict>, Error> {
        let word = verdicts::Entity::find_by_id(trace_id.to_owned()).one(&self.connection).await?;
        let corrupt = || Error::Corrupt { id: Uuid::nil(), what: "verdict of a check".to_owned() };
        word.map(|word| Verdict::named(&word.verdict).ok_or_else(corrupt)).transpose()
    }

    /// Brings a check's word to the picture that waits for it; gives its artwork. `None` when the one or the other is
    /// not there yet.
    ///
    /// # Errors
    /// When the database fails or a row is unreadable.
    pub async fn apply_verdict(&self, trace_id: &str) -> Result<Option<ArtworkId>, Error> {
        let Some(word) = self.verdict(trace_id).await? else { return Ok(None) };
        let query = Entity::find().filter(Column::TraceId.eq(trace_id));
        let Some(row) = query.one(&self.connection).await? else { return Ok(None) };
        Entity::update_many()
            .col_expr(Column::Verdict, Expr::value(word.as_str()))
            .filter(Column::ArtworkId.eq(row.artwork_id))
            .filter(Column::Position.eq(row.position))
            .filter(Column::Verdict.is_null())
            .exec(&self.connection)
            .await?;
        Ok(Some(ArtworkId(row.artwork_id)))
    }
}

/// Records the pictures that a job gave.
pub(crate) async fn insert_pictures_in(
    transaction: &Transaction,
    artwork: ArtworkId,
    pictures: &[Picture],
) -> Result<(), Error> {
    let rows = pictures.iter().map(|picture| row(artwork, picture).into_active_model());
    Entity::insert_many(rows).exec_without_returning(transaction).await?;
    Ok(())
}

/// Takes the files away from an artwork's pictures; gives them, to be removed.
pub(crate) async fn take_files_in(
    transaction: &Transaction,
    artwork: ArtworkId,
) -> Result<Vec<String>, Error> {
    let files = files_of_all(transaction, &[artwork.0]).await?;
    Entity::update_many()
        .col_expr(Column::FileId, Expr::value(None::<String>))
        .col_expr(Column::Url, Expr::value(None::<String>))
        .filter(Column::ArtworkId.eq(artwork.0))
        .exec(transaction)
        .await?;
    Ok(files)
}

/// Removes the rows of pictures; gives their files.
pub(super) async fn erase_in(transaction: &Transaction, artworks: &[Uuid]) -> Result<Vec<String>, Error> {
    let files = files_of_all(transaction, artworks).await?;
    Entity::delete_many().filter(Column::ArtworkId.is_in(artworks.iter().copied())).exec(transaction).await?;
    Ok(files)
}

async fn files_of_all(transaction: &Transaction, artworks: &[Uuid]) -> Result<Vec<String>, Error> {
    let files: Vec<Option<String>> = Entity::find()
        .select_only()
        .column(Column::FileId)
        .filter(Column::ArtworkId.is_in(artworks.iter().copied()))
        .filter(Column::FileId.is_not_null())
        .into_tuple()
        .all(transaction)
        .await?;
    Ok(files.into_iter().flatten().collect())
}

fn row(artwork: ArtworkId, picture: &Picture) -> Model {
    Model {
        artwork_id: artwork.0,
        position: picture.position,
        output_id: picture.output_id.clone(),
        file_id: picture.file_id.clone(),
        url: picture.url.clone(),
        content_type: picture.content_type.clone(),
        size_bytes: picture.size_bytes,
        width: picture.width,
        height: picture.height,
        trace_id: picture.trace_id.clone(),
        verdict: picture.verdict.map(|verdict| verdict.as_str().to_owned()),
    }
}

fn read(row: Model) -> Result<Picture, Error> {
    let corrupt = || Error::Corrupt { id: row.artwork_id, what: "verdict of a picture".to_owned() };
    let verdict = row.verdict.as_deref().map(|name| Verdict::named(name).ok_or_else(corrupt)).transpose()?;
    Ok(Picture {
        position: row.position,
        output_id: row.output_id,
        file_id: row.file_id,
        url: row.url,
        content_type: row.content_type,
        size_bytes: row.size_bytes,
        width: row.width,
        height: row.height,
        trace_id: row.trace_id,
        verdict,
    })
}
