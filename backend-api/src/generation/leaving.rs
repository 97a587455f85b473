//! What generation holds of a person: what they asked for and what was made. All of it goes with them; only the
//! holds of the ledger stay, under ids that name nobody.

use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::Generation;
use super::create::inputs_of;
use super::photos::PHOTOS_MAX;
use crate::clock::now;
use crate::db::photos::erase_photos_in;
use crate::db::{self, Transaction, artworks as rows};
use crate::domain::UserId;
use crate::identity::{Erasable, LeaveError, NotNow};

/// Photos that people gave, as a part of their own: they go with their owners, in the bucket and at the gateway.
#[derive(Debug, Clone)]
pub struct Photos(pub Generation);

/// Artworks in a copy, the newest ones.
const EXPORT_MAX: u64 = 1_000;

impl Erasable for Generation {
    fn name(&self) -> &'static str {
        "artworks"
    }

    fn export(&self, user: UserId) -> BoxFuture<'_, Result<Value, db::Error>> {
        Box::pin(async move {
            let artworks = self.inner.database.artworks_of(user, false, None, EXPORT_MAX).await?;
            let artworks = artworks.into_iter().map(|artwork| {
                json!({
                    "id": artwork.id, "template": artwork.template, "state": artwork.state,
                    "inputs": inputs_of(&artwork), "credits": artwork.credits,
                    "favourite": artwork.is_favourite, "created_at": artwork.created_at,
                })
            });
            Ok(artworks.collect::<Vec<_>>().into())
        })
    }

    fn erase<'a>(
        &'a self,
        user: UserId,
        transaction: &'a Transaction,
    ) -> BoxFuture<'a, Result<(), LeaveError>> {
        Box::pin(async move {
            if rows::open_artworks_in(transaction, user).await? > 0 {
                let message = "a picture of yours is being made: cancel it, or come back when it has ended";
                return Err(LeaveError::NotNow(NotNow { message }));
            }
            let files = rows::erase_artworks_in(transaction, user).await?;
            Ok(rows::doom_files_in(transaction, &files, now()).await?)
        })
    }
}

impl Erasable for Photos {
    fn name(&self) -> &'static str {
        "photos"
    }

    fn export(&self, user: UserId) -> BoxFuture<'_, Result<Value, db::Error>> {
        Box::pin(async move {
            let photos = self.0.inner.database.photos_of(user, PHOTOS_MAX).await?;
            let photos = photos.into_iter().map(|photo| {
                json!({
                    "id": photo.id, "state": photo.state, "content_type": photo.content_type,
                    "size_bytes": photo.size_bytes, "width": photo.width, "height": photo.height,
                    "file_id": photo.file_id, "created_at": photo.created_at, "ends_at": photo.ends_at,
                })
            });
            Ok(photos.collect::<Vec<_>>().into())
        })
    }

    fn erase<'a>(
        &'a self,
        user: UserId,
        transaction: &'a Transaction,
    ) -> BoxFuture<'a, Result<(), LeaveError>> {
        Box::pin(async move {
            let remains = erase_photos_in(transaction, user).await?;
            Ok(self.0.doom_photos_in(transaction, remains).await?)
        })
    }
}
