//! Live progress over sockets. A socket is opened by a ticket that is good once and for a moment. While sockets are open
//! the gateway is asked about all their jobs in one request a period, however many sockets there are; what they show
//! beyond that is in our own books.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{Generation, Seen};
use crate::clock::now;
use crate::db;
use crate::domain::{Artwork, ArtworkId, ArtworkState, Millis, UserId};
use crate::error_chain::chain;
use crate::gateway_client::{JobStatus, Standing};

/// How long a ticket is good.
const TICKET_FOR: Duration = Duration::from_secs(30);
/// Artworks of a person that a socket shows: the newest.
const RECENT: u64 = 20;
/// Jobs of one question to the gateway.
const JOBS_MAX: usize = 100;
/// A job that nobody wanted to know of for so many periods is not asked about any more.
const PERIODS_WANTED: u32 = 3;

/// Bounds of sockets.
#[derive(Debug, Clone)]
pub struct LiveOptions {
    /// Sockets that are open at once.
    pub max_sockets: usize,
    /// How often a socket looks for news.
    pub look_every: Duration,
    /// After this a socket is closed; its owner comes with a new ticket.
    pub socket_for: Duration,
}

/// Everybody who watches. Cheap to clone.
#[derive(Clone)]
pub struct Live {
    generation: Generation,
    options: LiveOptions,
    seats: Arc<Semaphore>,
    standings: Arc<Mutex<Standings>>,
    stop: CancellationToken,
}

/// What the gateway said last of the jobs that are watched.
#[derive(Default)]
struct Standings {
    asked_at: Option<Instant>,
    wanted: HashMap<String, Instant>,
    known: HashMap<String, Standing>,
}

/// Why a socket is not opened.
#[derive(Debug, thiserror::Error)]
pub enum AdmitError {
    /// The ticket is none of ours, was used, or its moment has passed.
    #[error("the ticket is not good")]
    Ticket,
    /// All seats are taken.
    #[error("too many sockets are open")]
    Full,
    /// Whether the ticket was used is not known.
    #[error(transparent)]
    Database(#[from] db::Error),
}

/// One person's view of their artworks, for as long as they watch.
pub struct Watch {
    live: Live,
    user: UserId,
    shown: HashMap<ArtworkId, Shown>,
    is_first: bool,
    _seat: OwnedSemaphorePermit,
}

/// What was shown of an artwork: state, time of its last step, progress in thousandths.
type Shown = (ArtworkState, Millis, Option<i64>);

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Live")
    }
}

impl Live {
    /// Nobody watches yet.
    pub fn new(generation: Generation) -> Self {
        let options = generation.inner.options.live.clone();
        let seats = Arc::new(Semaphore::new(options.max_sockets));
        Self { generation, options, seats, standings: Arc::default(), stop: CancellationToken::new() }
    }

    /// A ticket for one socket, and how long it is good.
    pub fn ticket(&self, user: UserId) -> (String, Duration) {
        let lifetime = Millis::try_from(TICKET_FOR.as_millis()).unwrap_or(0);
        (self.generation.inner.names.ticket(user, now().saturating_add(lifetime)), TICKET_FOR)
    }

    /// Lets who has a good ticket watch, and uses it up.
    ///
    /// # Errors
    /// See [`AdmitError`].
    pub async fn admit(&self, ticket: &str) -> Result<Watch, AdmitError> {
        let inner = &self.generation.inner;
        let (user, ends_at) = inner.names.ticket_of(ticket).ok_or(AdmitError::Ticket)?;
        if ends_at < now() {
            return Err(AdmitError::Ticket);
        }
        let seat = self.seats.clone().try_acquire_owned().map_err(|_| AdmitError::Full)?;
        let mut noted = [0; 32];
        noted.copy_from_slice(digest(&SHA256, ticket.as_bytes()).as_ref());
        // Not repeated: a lost answer leaves the ticket used up, and its owner gets another.
        if !inner.database.note_nonce(noted, now()).await? {
            return Err(AdmitError::Ticket);
        }
        Ok(Watch { live: self.clone(), user, shown: HashMap::new(), is_first: true, _seat: seat })
    }

    /// Bounds of sockets.
    pub fn options(&self) -> &LiveOptions {
        &self.options
    }

    /// Closes every socket.
    pub fn end(&self) {
        self.stop.cancel();
    }

    /// Ends when sockets have to close.
    pub async fn ended(&self) {
        self.stop.cancelled().await;
    }

    /// What the gateway says of these jobs: at most one question a period for all who watch.
    async fn standings_of(&self, jobs: &[String]) -> HashMap<String, Standing> {
        // Held over the call, so one serves all who wait.
        let mut standings = self.standings.lock().await;
        let at = Instant::now();
        standings.wanted.extend(jobs.iter().map(|job| (job.clone(), at)));
        if standings.asked_at.is_none_or(|asked| asked.elapsed() >= self.options.look_every) {
            let oldest = self.options.look_every * PERIODS_WANTED;
            standings.wanted.retain(|_, wanted| wanted.elapsed() <= oldest);
            let asked: Vec<String> = standings.wanted.keys().take(JOBS_MAX).cloned().collect();
            match self.generation.inner.gateway.standings(&asked).await {
                Ok(found) => {
                    standings.known = found.into_iter().map(|job| (job.id.clone(), job)).collect();
                }
                Err(error) => warn!(error = %chain(&error), "jobs cannot be read"),
            }
            standings.asked_at = Some(Instant::now());
        }
        let known = jobs.iter().filter_map(|job| Some((job.clone(), standings.known.get(job)?.clone())));
        known.collect()
    }
}

impl Watch {
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
        let standings = if jobs.is_empty() { HashMap::new() } else { self.live.standings_of(&jobs).await };
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
