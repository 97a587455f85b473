//! Where the jobs stand that are watched: asked of the gateway in one request a period, however many watch. While the
//! feed is read it tells what begins and ends, and only jobs that a device has are asked about: their progress is no
//! event.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use crate::error_chain::chain;
use crate::gateway_client::{Event, GatewayClient, Job, JobStatus, Standing};

/// Jobs of one question to the gateway.
const JOBS_MAX: usize = 100;
/// A job that nobody wanted to know of for so many periods is not asked about any more.
const PERIODS_WANTED: u32 = 3;

/// What the gateway said last of the jobs that are watched.
pub(super) struct Standings {
    period: Duration,
    /// Held over the question, so one serves all who wait.
    asked_at: tokio::sync::Mutex<Option<Instant>>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// When somebody wanted to know of a job last.
    wanted: HashMap<String, Instant>,
    said: HashMap<String, Said>,
    /// When the feed began that is read now, if one is.
    followed_at: Option<Instant>,
}

/// A job's standing, and how new it is at least.
struct Said {
    at: Instant,
    standing: Standing,
}

impl Known {
    /// Takes in the answer to a question of `at`, unless the feed said something later: the answer may be older.
    fn take(&mut self, at: Instant, standing: Standing) {
        let is_newest = self.said.get(&standing.id).is_none_or(|said| said.at <= at);
        if is_newest && self.followed_at.is_none_or(|since| since <= at) {
            self.said.insert(standing.id.clone(), Said { at, standing });
        }
    }
}

/// The feed is read, until this is dropped.
pub(super) struct Followed<'a> {
    standings: &'a Standings,
    since: Instant,
}

impl Standings {
    /// Nothing is watched yet.
    pub(super) fn new(period: Duration) -> Self {
        Self { period, asked_at: tokio::sync::Mutex::default(), known: Mutex::default() }
    }

    /// What the gateway says of these jobs: at most one question a period for all who watch.
    pub(super) async fn of(&self, gateway: &GatewayClient, jobs: &[String]) -> HashMap<String, Standing> {
        let at = Instant::now();
        self.known().wanted.extend(jobs.iter().map(|job| (job.clone(), at)));
        let mut asked_at = self.asked_at.lock().await;
        if asked_at.is_none_or(|asked| asked.elapsed() >= self.period) {
            self.ask(gateway).await;
            *asked_at = Some(Instant::now());
        }
        drop(asked_at);
        let known = self.known();
        jobs.iter().filter_map(|job| Some((job.clone(), known.said.get(job)?.standing.clone()))).collect()
    }

    /// The feed tells of changes from now on. What was told before may be older than what it begins with.
    pub(super) fn follow(&self) -> Followed<'_> {
        let since = Instant::now();
        let mut known = self.known();
        known.said.clear();
        known.followed_at = Some(since);
        drop(known);
        Followed { standings: self, since }
    }

    /// Takes in what the feed says of a job; false when nobody watches it.
    pub(super) fn note(&self, event: &Event) -> bool {
        let mut known = self.known();
        if !known.wanted.contains_key(&event.job_id) {
            return false;
        }
        if let Some(Job { id, status, progress, .. }) = event.job.clone() {
            let standing = Standing { id, status, progress };
            known.said.insert(event.job_id.clone(), Said { at: Instant::now(), standing });
        }
        true
    }

    async fn ask(&self, gateway: &GatewayClient) {
        for jobs in self.worth_asking().chunks(JOBS_MAX) {
            let asked_at = Instant::now();
            match gateway.standings(jobs).await {
                Ok(found) => {
                    let mut known = self.known();
                    found.into_iter().for_each(|standing| known.take(asked_at, standing));
                }
                Err(error) => return warn!(error = %chain(&error), "jobs cannot be read"),
            }
        }
    }

    /// The jobs that are still watched, but for those that the feed will tell of.
    fn worth_asking(&self) -> Vec<String> {
        let mut known = self.known();
        let is_followed = known.followed_at.is_some();
        let Known { wanted, said, .. } = &mut *known;
        let oldest = self.period * PERIODS_WANTED;
        wanted.retain(|_, at| at.elapsed() <= oldest);
        said.retain(|job, _| wanted.contains_key(job));
        let is_told_of = |job: &String| {
            let status = said.get(job).map(|said| said.standing.status);
            is_followed && status.is_some_and(|status| status == JobStatus::Queued || status.is_ended())
        };
        wanted.keys().filter(|job| !is_told_of(job)).cloned().collect()
    }

    /// Whoever panicked with it left it whole: each change of it is one step.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Followed<'_> {
    fn drop(&mut self) {
        let mut known = self.standings.known();
        if known.followed_at == Some(self.since) {
            known.followed_at = None; // otherwise another one is read already
        }
    }
}
