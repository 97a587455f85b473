//! What the gateway says of a job, and what that makes of its artwork and its credits: one step in one transaction.

use tracing::{info, warn};

use super::Generation;
use crate::clock::now;
use crate::db;
use crate::db::artworks::{insert_pictures_in, move_artwork_in};
use crate::domain::artwork::{Fate, Signal, Step};
use crate::domain::{Artwork, ArtworkState, Millis, Picture};
use crate::error_chain::chain;
use crate::gateway_client::{AskError, Job, JobStatus, Output};
use crate::money::{EndError, Ledger};

/// Rounds against others who move the same artwork.
const ROUNDS: usize = 8;
/// Pictures of one job that are kept.
const PICTURES_MAX: usize = 16;
/// Longest word for a reason.
const REASON_MAX: usize = 64;
/// Longest pause between looks at an artwork in the making.
const LOOK_AT_LEAST_EVERY: Millis = 10 * 60_000;
/// Reasons that are ours.
const NO_PICTURES: &str = "no_pictures";
const EXPIRED: &str = "expired";
const JOB_FORGOTTEN: &str = "job_forgotten";

/// A step to be taken.
pub(super) struct Change {
    pub(super) signal: Signal,
    pub(super) job_id: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) pictures: Vec<Picture>,
    /// When the background looks next.
    pub(super) due_at: Option<Millis>,
}

impl Change {
    pub(super) fn of(signal: Signal, due_at: Option<Millis>) -> Self {
        Self { signal, job_id: None, reason: None, pictures: Vec::new(), due_at }
    }
}

impl Generation {
    /// What the gateway shows of an artwork's job, brought into our books.
    ///
    /// # Errors
    /// When the database fails; a repeat is safe.
    pub(super) async fn apply(&self, artwork: Artwork, job: &Job) -> Result<Artwork, db::Error> {
        if artwork.job_id.as_ref().is_some_and(|known| *known != job.id) {
            warn!(artwork = %artwork.id, "another job names this artwork");
            return Ok(artwork);
        }
        let Some(change) = self.change_by(job) else { return Ok(artwork) };
        let before = artwork.state;
        let artwork = self.shift(artwork, &change).await?;
        match artwork.state {
            ArtworkState::Made => self.show(artwork).await,
            ArtworkState::Failed if before.is_open() => {
                self.tell(&artwork).await;
                Ok(artwork)
            }
            _ => Ok(artwork),
        }
    }

    fn change_by(&self, job: &Job) -> Option<Change> {
        let later = Some(self.next_look(now(), 0));
        let at_once = Some(now());
        let pictures = || job.outputs.iter().take(PICTURES_MAX).zip(0..).map(picture).collect::<Vec<_>>();
        let (signal, reason, pictures, due_at) = match job.status {
            JobStatus::Queued | JobStatus::Dispatching => (Signal::Taken, None, Vec::new(), later),
            JobStatus::Running | JobStatus::InDoubt | JobStatus::Collecting | JobStatus::Canceling => {
                (Signal::Started, None, Vec::new(), later)
            }
            JobStatus::Succeeded if job.outputs.is_empty() => {
                (Signal::Failed, Some(NO_PICTURES.to_owned()), Vec::new(), None)
            }
            JobStatus::Succeeded => (Signal::Succeeded, None, pictures(), at_once),
            JobStatus::Failed => {
                let code = job.error.as_ref().map_or("failed", |error| &error.code);
                (Signal::Failed, Some(code.chars().take(REASON_MAX).collect()), Vec::new(), None)
            }
            JobStatus::Expired => (Signal::Failed, Some(EXPIRED.to_owned()), Vec::new(), None),
            JobStatus::Canceled => (Signal::Canceled, None, Vec::new(), None),
            JobStatus::Unknown => return None,
        };
        Some(Change { signal, job_id: Some(job.id.clone()), reason, pictures, due_at })
    }

    /// There will be no pictures: the credits go back.
    pub(super) async fn fail(&self, artwork: Artwork, reason: &str) -> Result<Artwork, db::Error> {
        let reason = Some(reason.chars().take(REASON_MAX).collect());
        let artwork = self.shift(artwork, &Change { reason, ..Change::of(Signal::Failed, None) }).await?;
        if artwork.state == ArtworkState::Failed {
            self.tell(&artwork).await;
        }
        Ok(artwork)
    }

    /// Asks the gateway once and brings its word into our books.
    pub(super) async fn look(&self, artwork: Artwork) -> Result<Artwork, LookError> {
        let Some(job_id) = artwork.job_id.clone() else { return Ok(artwork) };
        match self.inner.gateway.job(&job_id).await {
            Ok(job) => Ok(self.apply(artwork, &job).await?),
            Err(AskError::NotFound) => Ok(self.fail(artwork, JOB_FORGOTTEN).await?),
            Err(error) => Err(LookError::Gateway(error)),
        }
    }

    /// Takes a step, with what it means for the credits, unless somebody else has taken it. Gives the artwork as it is
    /// then.
    pub(super) async fn shift(&self, mut artwork: Artwork, change: &Change) -> Result<Artwork, db::Error> {
        let database = &self.inner.database;
        for _ in 0..ROUNDS {
            let state = match artwork.state.next(change.signal) {
                Ok(Step::To(state)) => state,
                Ok(Step::Stay) => return Ok(artwork),
                Err(error) => {
                    warn!(artwork = %artwork.id, error = %chain(&error), "word about an artwork cannot be true");
                    return Ok(artwork);
                }
            };
            let next = Artwork {
                state,
                job_id: change.job_id.clone().or_else(|| artwork.job_id.clone()),
                reason: change.reason.clone(),
                updated_at: now(),
                due_at: change.due_at.filter(|_| artwork.deleted_at.is_none()),
                tries: 0,
                ..artwork.clone()
            };
            if database.retry(|| self.store(artwork.state, &next, change)).await? {
                info!(artwork = %next.id, from = %artwork.state, to = %next.state, "artwork moved on");
                self.inner.metrics.came_into(next.state);
                return Ok(next);
            }
            match database.retry(|| database.find_artwork(next.id)).await? {
                Some(found) => artwork = found,
                None => return Ok(next), // erased with its owner
            }
        }
        Err(db::begin_again())
    }

    async fn store(&self, from: ArtworkState, next: &Artwork, change: &Change) -> Result<bool, db::Error> {
        let database = &self.inner.database;
        let transaction = database.begin().await?;
        if !move_artwork_in(&transaction, from, next).await? {
            return Ok(false);
        }
        if change.signal == Signal::Succeeded {
            insert_pictures_in(&transaction, next.id, &change.pictures).await?;
        }
        if from.fate() != next.state.fate() {
            let ended = match next.state.fate() {
                Fate::Settled => Ledger::settle_in(&transaction, next.id.0).await,
                Fate::Released | Fate::Held => Ledger::release_in(&transaction, next.id.0).await,
            };
            ended.map_err(of_ending)?;
        }
        database.commit(transaction).await?;
        Ok(true)
    }

    /// When an artwork in the making is looked at next, after so many looks that told nothing new.
    pub(super) fn next_look(&self, at: Millis, tries: i32) -> Millis {
        let every = Millis::try_from(self.inner.options.look_every.as_millis()).unwrap_or(Millis::MAX);
        let doublings = u32::try_from(tries.clamp(0, 16)).unwrap_or(0);
        at + every.saturating_mul(1 << doublings).min(LOOK_AT_LEAST_EVERY.max(every))
    }
}

/// Why a look told nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookError {
    #[error(transparent)]
    Gateway(AskError),
    #[error(transparent)]
    Database(#[from] db::Error),
}

/// A hold that contradicts its artwork is a damage for people to look at.
fn of_ending(error: EndError) -> db::Error {
    match error {
        EndError::Database(error) => error,
        EndError::Unknown { id } => db::Error::Corrupt { id, what: "an artwork without its hold".to_owned() },
        EndError::Ended { id, .. } => {
            db::Error::Corrupt { id, what: "the hold of an artwork ended the other way".to_owned() }
        }
    }
}

fn picture((output, position): (&Output, i32)) -> Picture {
    let number = |number: Option<u64>| number.and_then(|number| i64::try_from(number).ok());
    let file_id = output.meta.as_ref().and_then(|meta| meta.get("fileid")).and_then(|id| id.as_str());
    Picture {
        position,
        output_id: output.id.clone(),
        file_id: file_id.map(str::to_owned),
        url: output.url.clone(),
        content_type: output.content_type.clone(),
        size_bytes: number(output.size_bytes),
        width: number(output.width),
        height: number(output.height),
        trace_id: None,
        verdict: None,
    }
}
