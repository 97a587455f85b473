//! Background work on artworks: small steps that are found by their time in the database. Any of them may be cut off
//! and is found again; two replicas never take the same one.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::time::Instant;
use tracing::{error, warn};

use super::Generation;
use super::create::SubmitFailure;
use super::follow::LookError;
use crate::background::Background;
use crate::clock::{millis, now};
use crate::db::{self, artworks::Due};
use crate::domain::{Artwork, ArtworkState, Millis};
use crate::error_chain::chain;
use crate::gateway_client::AskError;
use crate::money::ChoreOptions;

/// The name of the gateway's feed in the table of cursors.
const FEED: &str = "gateway";
/// Events of one page, and pages of one run.
const FEED_PAGE: u32 = 100;
const FEED_PAGES_MAX: usize = 10;

/// What a run did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Done {
    /// Artworks looked at.
    pub artworks: u64,
    /// Events of the gateway that were read.
    pub events: u64,
    /// Files removed.
    pub files: u64,
    /// Of all, those that have to be tried again later.
    pub later: u64,
    /// Whether more was due than one run takes: run again.
    pub more: bool,
}

/// Carries on what was begun.
#[derive(Debug, Clone)]
pub struct Chores {
    generation: Generation,
    options: ChoreOptions,
    background: Background,
}

impl Chores {
    /// Background work on these artworks.
    pub fn new(generation: Generation, options: ChoreOptions) -> Self {
        let background = Background::new(options.after_requests_every);
        Self { generation, options, background }
    }

    /// One run over everything that is due.
    ///
    /// # Errors
    /// When the database fails before anything was found.
    pub async fn run(&self) -> Result<Done, db::Error> {
        self.background.note_run();
        let deadline = Instant::now() + self.options.run_for;
        let mut done = Done::default();
        self.read_feed(deadline, &mut done).await?;
        let (database, limit) = (&self.generation.inner.database, self.options.batch);
        let due = database.retry(|| database.due_artworks(now(), limit)).await?;
        done.more |= u64::try_from(due.len()).is_ok_and(|found| found >= limit);
        let mut steps = stream::iter(due).map(|due| self.step(due)).buffer_unordered(self.options.parallel);
        while let Ok(Some(outcome)) = tokio::time::timeout_at(deadline, steps.next()).await {
            done.artworks += u64::from(outcome.is_some());
            done.later += u64::from(outcome == Some(false));
        }
        drop(steps);
        let until = now() + millis(self.options.backoff);
        let removal = self.generation.remove_files(until, &mut done);
        let _ = tokio::time::timeout_at(deadline, removal).await; // found again
        Ok(done)
    }

    /// Starts a run beside the caller unless one began a moment ago.
    pub fn nudge(&self) {
        let chores = self.clone();
        self.background.nudge(async move { chores.run_and_log().await });
    }

    /// Runs again and again beside the caller; for processes that have time between requests.
    pub fn run_every(&self, pause: Duration) {
        let chores = self.clone();
        self.background.run_every(pause, move || {
            let chores = chores.clone();
            async move { chores.run_and_log().await }
        });
    }

    /// Ends what runs beside others. A step that it cuts off is found again.
    pub async fn end(&self) {
        self.background.end().await;
    }

    async fn run_and_log(&self) {
        if let Err(error) = self.run().await {
            error!(error = %chain(&error), "background work on artworks failed");
        }
    }

    /// Reads what the gateway tells of ended jobs. Only while something waits for it: what is missed otherwise is of
    /// nobody's.
    async fn read_feed(&self, deadline: Instant, done: &mut Done) -> Result<(), db::Error> {
        let inner = &self.generation.inner;
        let database = &inner.database;
        if !database.retry(|| database.has_open_artworks()).await? {
            return Ok(());
        }
        let mut cursor = database.retry(|| database.event_cursor(FEED)).await?;
        for _ in 0..FEED_PAGES_MAX {
            if Instant::now() >= deadline {
                done.more = true;
                return Ok(());
            }
            let page = match inner.gateway.ends(cursor.as_deref(), FEED_PAGE).await {
                Ok(page) => page,
                Err(AskError::Refused(refusal)) if refusal.code == "cursor_expired" && cursor.is_some() => {
                    warn!("gateway forgot events that were not read");
                    cursor = Some("latest".to_owned()); // each open artwork is looked at anyway
                    continue;
                }
                Err(error) => {
                    warn!(error = %chain(&error), "events cannot be read");
                    return Ok(());
                }
            };
            for event in &page.events {
                self.generation.told_by_gateway(event).await?;
            }
            done.events += u64::try_from(page.events.len()).unwrap_or(0);
            if cursor.as_ref() != Some(&page.next) {
                database.retry(|| database.note_event_cursor(FEED, &page.next)).await?;
            }
            if page.events.len() < FEED_PAGE as usize {
                return Ok(());
            }
            cursor = Some(page.next);
        }
        done.more = true;
        Ok(())
    }

    /// `None`: somebody else has it. `false`: it has to be tried again.
    async fn step(&self, due: Due) -> Option<bool> {
        let until = now() + millis(self.options.claim_for);
        let database = &self.generation.inner.database;
        let outcome = async {
            if !database.claim_artwork(due, until).await? {
                return Ok(None);
            }
            let Some(artwork) = database.find_artwork(due.id).await? else { return Ok(None) };
            let tries = artwork.tries;
            let (artwork, is_done) = match self.carry_on(artwork.clone()).await {
                Ok(artwork) => (artwork, true),
                Err(error) => {
                    warn!(artwork = %due.id, error = %chain(&error), "artwork is looked at again later");
                    (artwork, false)
                }
            };
            database.reschedule_artwork(due.id, until, self.next_look(&artwork, tries)).await?;
            Ok::<_, db::Error>(Some(is_done))
        };
        outcome.await.unwrap_or_else(|error| {
            error!(artwork = %due.id, error = %chain(&error), "background step failed");
            Some(false)
        })
    }

    /// Whatever an artwork needs next, by its state alone.
    async fn carry_on(&self, artwork: Artwork) -> Result<Artwork, LookError> {
        match artwork.state {
            ArtworkState::Created => match self.generation.submit(artwork.clone()).await {
                Ok(artwork) => Ok(artwork),
                Err(SubmitFailure::Refused(_)) => {
                    Ok(Artwork { state: ArtworkState::Failed, ..artwork }) // it is in the books
                }
                Err(SubmitFailure::Database(error)) => Err(error.into()),
            },
            ArtworkState::Submitted | ArtworkState::Running => self.generation.look(artwork).await,
            ArtworkState::Made | ArtworkState::Checking => Ok(self.generation.show(artwork).await?),
            ArtworkState::Visible | ArtworkState::Hidden | ArtworkState::Failed | ArtworkState::Canceled => {
                Ok(artwork)
            }
        }
    }

    fn next_look(&self, artwork: &Artwork, tries: i32) -> Option<Millis> {
        match artwork.state {
            ArtworkState::Checking => Some(self.generation.next_recheck()),
            state if state.is_open() || state == ArtworkState::Made => {
                Some(self.generation.next_look(now(), tries))
            }
            _ => None,
        }
    }
}
