//! What is done with artworks: by their owners, by who sees them, by who reviews.

use serde_json::Value;
use tracing::info;

use super::create::inputs_of;
use super::follow::Change;
use super::names::Names;
use super::{DeedError, GatewayDown, Generation, Seen};
use crate::clock::now;
use crate::db::{self, artworks as rows};
use crate::domain::artwork::{Signal, TAKEN_DOWN};
use crate::domain::{Artwork, ArtworkId, ArtworkState, UserId};
use crate::gateway_client::AskError;

/// Reports of one artwork that reviewers are shown.
const REASONS_SHOWN: u64 = 20;

/// An artwork in the queue of reviewers.
#[derive(Debug)]
pub struct Review {
    /// The artwork with its pictures, whether or not its owner sees them.
    pub seen: Seen,
    /// What was asked for.
    pub inputs: Value,
    /// What people wrote who reported it, newest first.
    pub reasons: Vec<String>,
}

impl Generation {
    /// Wants an artwork stopped. The credits are back when the gateway has stopped it.
    ///
    /// # Errors
    /// See [`DeedError`].
    pub async fn cancel(&self, user: UserId, id: ArtworkId) -> Result<Artwork, DeedError> {
        let artwork = self.theirs(user, id).await?;
        match (artwork.state, artwork.job_id.clone()) {
            (ArtworkState::Canceled, _) => Ok(artwork),
            (state, _) if !state.is_open() => Err(DeedError::Ended),
            // Whether the gateway has it is not known: the next look tells.
            (_, None) => Err(DeedError::Open),
            (_, Some(job_id)) => match self.inner.gateway.cancel(&job_id).await {
                Ok(job) => Ok(self.apply(artwork, &job).await?),
                Err(AskError::NotFound) => Err(DeedError::Ended),
                Err(error) => Err(GatewayDown(error).into()),
            },
        }
    }

    /// Says whether the owner likes it.
    ///
    /// # Errors
    /// See [`DeedError`].
    pub async fn favour(&self, user: UserId, id: ArtworkId, is_favourite: bool) -> Result<(), DeedError> {
        self.theirs(user, id).await?;
        let database = &self.inner.database;
        Ok(database.retry(|| database.set_favourite(id, is_favourite)).await?)
    }

    /// The token of a link by which others see it; the same until [`Self::unshare`].
    ///
    /// # Errors
    /// See [`DeedError`].
    pub async fn share(&self, user: UserId, id: ArtworkId) -> Result<String, DeedError> {
        let artwork = self.theirs(user, id).await?;
        if artwork.state != ArtworkState::Visible {
            return Err(DeedError::NotVisible);
        }
        if let Some(token) = artwork.share_token {
            return Ok(token);
        }
        let (database, token) = (&self.inner.database, Names::link());
        database.retry(|| database.set_share_token(id, Some(&token))).await?;
        Ok(token)
    }

    /// Makes the link lead nowhere.
    ///
    /// # Errors
    /// See [`DeedError`].
    pub async fn unshare(&self, user: UserId, id: ArtworkId) -> Result<(), DeedError> {
        self.theirs(user, id).await?;
        let database = &self.inner.database;
        Ok(database.retry(|| database.set_share_token(id, None)).await?)
    }

    /// Forgets what was asked for and removes the files. A repeat finds nothing.
    ///
    /// # Errors
    /// See [`DeedError`].
    pub async fn delete(&self, user: UserId, id: ArtworkId) -> Result<(), DeedError> {
        let artwork = self.theirs(user, id).await?;
        if artwork.state.is_open() {
            return Err(DeedError::Open);
        }
        let database = &self.inner.database;
        database
            .retry(|| async {
                let transaction = database.begin().await?;
                if rows::delete_artwork_in(&transaction, id, now()).await? {
                    let files = rows::take_files_in(&transaction, id).await?;
                    rows::doom_files_in(&transaction, &files, now()).await?;
                }
                database.commit(transaction).await
            })
            .await?;
        info!(artwork = %id, "artwork deleted");
        Ok(())
    }

    /// Somebody finds an artwork wrong that they see: their own, or one by its link.
    ///
    /// # Errors
    /// See [`DeedError`].
    pub async fn report(&self, by: UserId, id: ArtworkId, reason: &str) -> Result<(), DeedError> {
        self.theirs(by, id).await?;
        self.note_report(by, id, reason).await
    }

    /// The same of an artwork that a link leads to.
    ///
    /// # Errors
    /// See [`DeedError`].
    pub async fn report_shared(&self, by: UserId, token: &str, reason: &str) -> Result<(), DeedError> {
        let database = &self.inner.database;
        let found = database.retry(|| database.artwork_shared_by(token)).await?;
        let artwork = found.filter(|artwork| artwork.state == ArtworkState::Visible);
        self.note_report(by, artwork.ok_or(DeedError::NotFound)?.id, reason).await
    }

    async fn note_report(&self, by: UserId, id: ArtworkId, reason: &str) -> Result<(), DeedError> {
        let database = &self.inner.database;
        if database.retry(|| database.report_artwork(id, by, reason, now())).await? {
            info!(artwork = %id, "artwork reported");
        }
        Ok(())
    }

    /// What reviewers have to look at, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn reviews(&self, after: Option<ArtworkId>, limit: u64) -> Result<Vec<Review>, db::Error> {
        let database = &self.inner.database;
        let artworks = database.retry(|| database.artworks_to_review(after, limit)).await?;
        let mut reviews = Vec::with_capacity(artworks.len());
        for artwork in artworks {
            let pictures = self.linked_pictures(artwork.id).await?;
            let reasons = database.retry(|| database.report_reasons(artwork.id, REASONS_SHOWN)).await?;
            let inputs = inputs_of(&artwork).unwrap_or_default();
            let seen = Seen { artwork, pictures, progress: None, position: None, is_stale: false };
            reviews.push(Review { seen, inputs, reasons });
        }
        Ok(reviews)
    }

    /// A reviewer lets an artwork be seen.
    ///
    /// # Errors
    /// [`DeedError::NotVisible`] when there is nothing to see: it is not made, not checked, or taken down for good.
    pub async fn approve(&self, by: UserId, id: ArtworkId) -> Result<Artwork, DeedError> {
        let artwork = self.made(id).await?;
        let is_hidden =
            artwork.state == ArtworkState::Hidden && artwork.reason.as_deref() != Some(TAKEN_DOWN);
        if !is_hidden && artwork.state != ArtworkState::Visible {
            return Err(DeedError::NotVisible);
        }
        let database = &self.inner.database;
        let artwork = self.shift(artwork, &Change::of(Signal::Approved, None)).await?;
        database.retry(|| database.end_review(id)).await?;
        info!(admin = %by, artwork = %id, "artwork approved");
        self.tell(&artwork).await;
        Ok(artwork)
    }

    /// A reviewer takes an artwork away for good, files included. The credits stay spent.
    ///
    /// # Errors
    /// [`DeedError::NotFound`] when nothing was made.
    pub async fn take_down(&self, by: UserId, id: ArtworkId) -> Result<Artwork, DeedError> {
        let artwork = self.made(id).await?;
        if artwork.state.next(Signal::TakenDown).is_err() {
            return Err(DeedError::NotFound);
        }
        let database = &self.inner.database;
        database
            .retry(|| async {
                let transaction = database.begin().await?;
                if rows::take_down_in(&transaction, id, now()).await? {
                    let files = rows::take_files_in(&transaction, id).await?;
                    rows::doom_files_in(&transaction, &files, now()).await?;
                }
                database.commit(transaction).await
            })
            .await?;
        self.inner.metrics.came_into(ArtworkState::Hidden);
        info!(admin = %by, artwork = %id, "artwork taken down");
        self.made(id).await
    }

    async fn theirs(&self, user: UserId, id: ArtworkId) -> Result<Artwork, DeedError> {
        let artwork = self.made(id).await?;
        if artwork.user == user { Ok(artwork) } else { Err(DeedError::NotFound) }
    }

    async fn made(&self, id: ArtworkId) -> Result<Artwork, DeedError> {
        let database = &self.inner.database;
        let found = database.retry(|| database.find_artwork(id)).await?;
        found.filter(|artwork| artwork.deleted_at.is_none()).ok_or(DeedError::NotFound)
    }
}
