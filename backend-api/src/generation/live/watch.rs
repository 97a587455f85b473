//! One person's view of their artworks, for as long as they watch.

use std::collections::HashMap;

use tokio::sync::{OwnedSemaphorePermit, watch};

use super::Live;
use super::audience::Presence;
use crate::db;
use crate::domain::{Artwork, ArtworkId, ArtworkState, Millis, UserId};
use crate::gateway_client::{JobStatus, Standing};
use crate::generation::Seen;

/// Artworks of a person that a socket shows: the newest.
const RECENT: u64 = 20;

/// What somebody was shown, and what keeps their place.
pub struct Watch {
    live: Live,
    user: UserId,
    shown: HashMap<ArtworkId, Shown>,
    is_first: bool,
    presence: Presence,
    _seat: OwnedSemaphorePermit,
}

/// What was shown of an artwork: state, time of its last step, progress in thousandths.
type Shown = (ArtworkState, Millis, Option<i64>);

impl Watch {
    pub(super) fn new(live: Live, user: UserId, place: (OwnedSemaphorePermit, Presence)) -> Self {
        let (seat, presence) = place;
        Self { live, user, shown: HashMap::new(), is_first: true, presence, _seat: seat }
    }

    /// Changes when there may be news before the next look.
    pub fn bell(&self) -> watch::Receiver<()> {
        self.presence.bell()
    }

    /// What has changed since the last call: at first everything that is not ended.
    ///
    /// # Errors
    /// When the database fails; a repeat is safe.
    pub async fn news(&mut self) -> Result<Vec<Seen>, db::Error> {
        let generation = self.live.generation.clone();
        let (database, user) = (&generation.inner.database, self.user);
        let artworks = database.retry(|| database.artworks_of(user, false, None, RECENT)).await?;
        let jobs: Vec<String> = artworks
            .iter()
            .filter(|artwork| artwork.state.is_open())
            .filter_map(|artwork| artwork.job_id.clone())
            .collect();
        let standings = if jobs.is_empty() {
            HashMap::new()
        } else {
            self.live.standings.of(&generation.inner.gateway, &jobs).await
        };
        let mut news = Vec::new();
        for artwork in artworks {
            let standing = artwork.job_id.as_ref().and_then(|job| standings.get(job));
            let progress = standing.and_then(|standing| standing.progress.as_ref()).map(|made| made.value);
            let artwork = if is_ahead(standing, &artwork) {
                generation.look(artwork.clone()).await.unwrap_or(artwork)
            } else {
                artwork
            };
            if self.is_news(&artwork, progress) {
                let pictures = generation.visible_pictures(&artwork).await?;
                let progress = progress.filter(|_| artwork.state.is_open());
                news.push(Seen { artwork, pictures, progress, position: None, is_stale: false });
            }
        }
        self.is_first = false;
        Ok(news)
    }

    fn is_news(&mut self, artwork: &Artwork, progress: Option<f64>) -> bool {
        #[expect(clippy::cast_possible_truncation, reason = "a share of one, in thousandths")]
        let thousandths = progress.map(|share| (share.clamp(0.0, 1.0) * 1_000.0) as i64);
        let now = (artwork.state, artwork.updated_at, thousandths);
        let before = self.shown.insert(artwork.id, now);
        let is_ended =
            !artwork.state.is_open() && !matches!(artwork.state, ArtworkState::Made | ArtworkState::Checking);
        if self.is_first && is_ended {
            return false;
        }
        before != Some(now)
    }
}

/// Whether the gateway knows more of a job than we do.
fn is_ahead(standing: Option<&Standing>, artwork: &Artwork) -> bool {
    let Some(standing) = standing else { return false };
    let runs = matches!(standing.status, JobStatus::Running | JobStatus::Collecting);
    standing.status.is_ended() || (runs && artwork.state == ArtworkState::Submitted)
}
