//! Artworks as their owners see them.

use std::collections::HashMap;
use std::time::Duration;

use reqwest::Url;
use tokio::time::Instant;
use tracing::warn;

use super::Generation;
use crate::db;
use crate::domain::{Artwork, ArtworkId, ArtworkState, Picture, UserId};
use crate::error_chain::chain;
use crate::gateway_client::{AskError, FollowError, Job};

/// Artworks of a page whose checks waited for this visit and are asked for at once.
const VISITS_AT_ONCE: usize = 2;

/// An artwork, as it is now.
#[derive(Debug)]
pub struct Seen {
    /// The artwork.
    pub artwork: Artwork,
    /// Its pictures, once they may be seen, each with a link where there is one.
    pub pictures: Vec<(Picture, Option<Url>)>,
    /// From 0 to 1, while it runs.
    pub progress: Option<f64>,
    /// Jobs before it, while it waits.
    pub position: Option<u64>,
    /// Whether the gateway could not be asked just now.
    pub is_stale: bool,
}

impl Seen {
    fn of(artwork: Artwork) -> Self {
        Self { artwork, pictures: Vec::new(), progress: None, position: None, is_stale: false }
    }
}

impl Generation {
    /// One of the user's artworks, refreshed from the gateway; waits up to `wait` for the end of the making. `None` if
    /// there is none, or it is not theirs.
    ///
    /// # Errors
    /// When the database fails. A silent gateway only makes the answer stale.
    pub async fn read(&self, user: UserId, id: ArtworkId, wait: Duration) -> Result<Option<Seen>, db::Error> {
        let deadline = Instant::now() + wait;
        let database = &self.inner.database;
        let found = database.retry(|| database.find_artwork(id)).await?;
        let Some(artwork) = found.filter(|artwork| artwork.user == user && artwork.deleted_at.is_none())
        else {
            return Ok(None);
        };
        let mut seen = match (artwork.state, artwork.job_id.clone()) {
            (ArtworkState::Made, _) => Seen::of(self.show(artwork).await?),
            (state, Some(job_id)) if state.is_open() => self.follow(artwork, &job_id, deadline).await?,
            _ => Seen { is_stale: artwork.state == ArtworkState::Created, ..Seen::of(artwork) },
        };
        seen.pictures = self.visible_pictures(&seen.artwork).await?;
        Ok(Some(seen))
    }

    /// Up to `limit` of the user's artworks, newest first, older than `before`, as we know them. Links are for
    /// [`Self::read`] to give.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list(
        &self,
        user: UserId,
        only_favourites: bool,
        before: Option<ArtworkId>,
        limit: u64,
    ) -> Result<Vec<Seen>, db::Error> {
        let database = &self.inner.database;
        let mut artworks =
            database.retry(|| database.artworks_of(user, only_favourites, before, limit)).await?;
        let mut visits = 0;
        for artwork in &mut artworks {
            if artwork.state == ArtworkState::Made && visits < VISITS_AT_ONCE {
                visits += 1;
                *artwork = self.show(artwork.clone()).await?;
            }
        }
        let visible = artworks.iter().filter(|artwork| artwork.state == ArtworkState::Visible);
        let visible: Vec<ArtworkId> = visible.map(|artwork| artwork.id).collect();
        let mut pictures: HashMap<ArtworkId, Vec<(Picture, Option<Url>)>> = HashMap::new();
        if !visible.is_empty() {
            for (id, picture) in database.retry(|| database.pictures_of_all(&visible)).await? {
                pictures.entry(id).or_default().push((picture, None));
            }
        }
        let seen = artworks.into_iter().map(|artwork| Seen {
            pictures: pictures.remove(&artwork.id).unwrap_or_default(),
            ..Seen::of(artwork)
        });
        Ok(seen.collect())
    }

    /// What a link leads to, while it may be seen.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn shared(&self, token: &str) -> Result<Option<Seen>, db::Error> {
        let database = &self.inner.database;
        let found = database.retry(|| database.artwork_shared_by(token)).await?;
        let Some(artwork) = found.filter(|artwork| artwork.state == ArtworkState::Visible) else {
            return Ok(None);
        };
        let pictures = self.visible_pictures(&artwork).await?;
        Ok(Some(Seen { pictures, ..Seen::of(artwork) }))
    }

    async fn follow(&self, artwork: Artwork, job_id: &str, deadline: Instant) -> Result<Seen, db::Error> {
        let job = match self.inner.gateway.follow(job_id, deadline).await {
            Ok(job) => job,
            Err(FollowError::StillOpen { last }) => *last,
            Err(FollowError::Ask(error)) => {
                if !matches!(error, AskError::NotFound) {
                    warn!(artwork = %artwork.id, error = %chain(&error), "job cannot be read");
                }
                return Ok(Seen { is_stale: true, ..Seen::of(artwork) });
            }
        };
        let Job { position, progress, .. } = &job;
        let (position, progress) = (*position, progress.as_ref().map(|progress| progress.value));
        let artwork = self.apply(artwork, &job).await?;
        let is_open = artwork.state.is_open();
        Ok(Seen {
            position: position.filter(|_| is_open),
            progress: progress.filter(|_| is_open),
            ..Seen::of(artwork)
        })
    }

    pub(super) async fn visible_pictures(
        &self,
        artwork: &Artwork,
    ) -> Result<Vec<(Picture, Option<Url>)>, db::Error> {
        if artwork.state != ArtworkState::Visible {
            return Ok(Vec::new());
        }
        self.linked_pictures(artwork.id).await
    }

    /// The pictures of an artwork with links to them, whoever may see them.
    pub(super) async fn linked_pictures(
        &self,
        artwork: ArtworkId,
    ) -> Result<Vec<(Picture, Option<Url>)>, db::Error> {
        let database = &self.inner.database;
        let pictures = database.retry(|| database.pictures_of(artwork)).await?;
        let files: Vec<String> = pictures.iter().filter_map(|picture| picture.file_id.clone()).collect();
        let mut links: HashMap<String, Url> = HashMap::new();
        if let (Some(wechat), false) = (&self.inner.wechat, files.is_empty()) {
            match wechat.download_links(&files).await {
                Ok(urls) => links.extend(files.into_iter().zip(urls)),
                Err(error) => warn!(%artwork, error = %chain(&error), "no links to pictures"),
            }
        }
        let linked = pictures.into_iter().map(|picture| {
            let link = match &picture.file_id {
                Some(file) => links.remove(file),
                None => picture.url.as_deref().and_then(|url| Url::parse(url).ok()),
            };
            (picture, link)
        });
        Ok(linked.collect())
    }
}
