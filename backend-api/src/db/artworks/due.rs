//! Artworks that the background has to look at, and how far it read.

use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, EntityTrait as _, IntoActiveModel as _, QueryFilter as _,
};

use super::rows::artworks::{Column, Entity};
use super::rows::cursors;
use crate::db::due::{self, Timed};
use crate::db::{Database, Error};
use crate::domain::{ArtworkId, Millis};

/// An artwork whose time has come.
pub type Due = due::Due<ArtworkId>;

impl Timed for Entity {
    const ID: Column = Column::Id;
    const DUE_AT: Column = Column::DueAt;
    const TRIES: Column = Column::Tries;
}

impl Database {
    /// Up to `limit` artworks whose time has come, the longest due first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn due_artworks(&self, now: Millis, limit: u64) -> Result<Vec<Due>, Error> {
        due::due::<Entity, _>(&self.connection, (now, limit), ArtworkId).await
    }

    /// Takes a due artwork until `until`; false when somebody else took it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_artwork(&self, due: Due, until: Millis) -> Result<bool, Error> {
        let due = due::Due { id: due.id.0, at: due.at };
        due::claim::<Entity>(&self.connection, due, until).await
    }

    /// Sets when a claimed artwork is due next; nothing happens if something else set that meanwhile.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn reschedule_artwork(
        &self,
        id: ArtworkId,
        claimed: Millis,
        next: Option<Millis>,
    ) -> Result<(), Error> {
        due::reschedule::<Entity>(&self.connection, id.0, claimed, next).await
    }

    /// How far events of that name were read.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn event_cursor(&self, name: &str) -> Result<Option<String>, Error> {
        let row = cursors::Entity::find_by_id(name.to_owned()).one(&self.connection).await?;
        Ok(row.map(|row| row.place))
    }

    /// Notes how far they were read. Two readers may undo each other's note: events are then read again, which is
    /// harmless.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_event_cursor(&self, name: &str, place: &str) -> Result<(), Error> {
        let updated = cursors::Entity::update_many()
            .col_expr(cursors::Column::Place, Expr::value(place.to_owned()))
            .filter(cursors::Column::Name.eq(name))
            .exec(&self.connection)
            .await?;
        // MySQL counts a row that stays as it is as none.
        if updated.rows_affected > 0 || self.event_cursor(name).await?.is_some() {
            return Ok(());
        }
        let row = cursors::Model { name: name.to_owned(), place: place.to_owned() };
        match row.into_active_model().insert(&self.connection).await.map_err(Error::from) {
            Ok(_) | Err(Error::Duplicate(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
