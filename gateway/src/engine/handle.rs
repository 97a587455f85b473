//! The engine as everybody else sees it: a cheap handle. Reads go to the store and the board; whatever decides goes
//! through the engine's inbox and is answered after its commit.

use std::sync::Arc;

use arc_swap::ArcSwap;
use scheduler::{Class, Explanation, Forecast, JobSpec, Refusal};
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

use super::board::{Board, LiveState, Watch};
use super::clock::Clock;
use super::feeds::Feeds;
use super::forwards::Forwards;
use super::world;
use crate::fleet::FleetView;
use crate::link::message::Secret;
use crate::store::{AssetAnswer, AssetCall, NewJob, Store, StoredResponse};

/// Why a submission was not accepted. Nothing of it is in the store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// Not now: the queue is full or the process is going away. The idempotency key is free again.
    #[error("not now: {0:?}")]
    Refused(Refusal),
    /// The idempotency key was used before.
    #[error("the idempotency key was used before")]
    DuplicateKey {
        /// The earlier job, internal id.
        job: Uuid,
        /// Whether the body was the same.
        same_body: bool,
        /// The first answer, where the face replays.
        response: Option<StoredResponse>,
    },
    /// A live job of the tenant has this public id.
    #[error("the id belongs to a live job")]
    DuplicateId,
    /// References that name nothing the tenant holds.
    #[error("missing assets: {0:?}")]
    MissingAssets(Vec<String>),
    /// The store failed: whether the job is in it is unknown; ask again with the same key.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Why jobs that were submitted together were not accepted. Nothing of any of them is in the store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitAllError {
    /// Some of them stand in the way of all: their places and why.
    #[error("{} of the jobs cannot be accepted", .0.len())]
    Jobs(Vec<(usize, SubmitError)>),
    /// All of them, for one reason.
    #[error(transparent)]
    All(#[from] SubmitError),
}

impl From<Unavailable> for SubmitAllError {
    fn from(unavailable: Unavailable) -> Self {
        Self::All(unavailable.into())
    }
}

/// The engine cannot answer now: its store failed, or it is recovering or gone. Try again after a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the job store is not available")]
pub struct Unavailable;

/// Whether the engine can decide (DESIGN §13 `/readyz`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// Reading the store and asking the runners.
    Recovering,
    /// Serving.
    Ready,
    /// The store failed; it is being tried again.
    StoreFailed,
    /// Going away: no new work.
    Draining,
}

/// A question or an order to the engine.
pub(super) enum Input {
    Submit { job: Box<NewJob>, partner_key: Option<Secret>, answer: oneshot::Sender<Result<(), SubmitError>> },
    SubmitAll { jobs: Vec<NewJob>, answer: oneshot::Sender<Result<(), SubmitAllError>> },
    Forecast { spec: Box<JobSpec>, answer: oneshot::Sender<Forecast> },
    Cancel { job: Uuid, answer: oneshot::Sender<()> },
    ChangeClass { job: Uuid, class: Class, answer: oneshot::Sender<()> },
    Assets { call: AssetCall, answer: oneshot::Sender<AssetAnswer> },
    Explain { job: Uuid, answer: oneshot::Sender<Option<Explanation>> },
    Cordon { instance: Arc<str>, on: bool, answer: oneshot::Sender<bool> },
    Drain,
}

/// The engine, from outside.
#[derive(Clone)]
pub struct EngineHandle {
    pub(super) inbox: mpsc::Sender<Input>,
    pub(super) board: Arc<Board>,
    pub(super) feeds: Arc<Feeds>,
    pub(super) forwards: Forwards,
    pub(super) fleet: Arc<ArcSwap<FleetView>>,
    pub(super) readiness: watch::Receiver<Readiness>,
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Clock,
}

impl std::fmt::Debug for EngineHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EngineHandle").field("readiness", &*self.readiness.borrow()).finish_non_exhaustive()
    }
}

impl EngineHandle {
    /// Submits a job; returns after it is on disk and admitted.
    ///
    /// # Errors
    /// See [`SubmitError`]; in every case but `Unavailable` nothing was kept.
    pub async fn submit(&self, job: NewJob, partner_key: Option<Secret>) -> Result<(), SubmitError> {
        self.ask(|answer| Input::Submit { job: Box::new(job), partner_key, answer }).await?
    }

    /// Submits jobs of one tenant together: all of them or none. Only the first may have an idempotency key.
    ///
    /// # Errors
    /// See [`SubmitAllError`]; unless the store failed, nothing was kept.
    pub async fn submit_all(&self, jobs: Vec<NewJob>) -> Result<(), SubmitAllError> {
        self.ask(|answer| Input::SubmitAll { jobs, answer }).await?
    }

    /// What this job would meet were it submitted now. Nothing is kept of it.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn forecast(&self, job: &NewJob) -> Result<Forecast, Unavailable> {
        let spec = Box::new(world::spec_of(job));
        self.ask(|answer| Input::Forecast { spec, answer }).await
    }

    /// Asks for the end of a job; returns after the intent is on disk. Does nothing to a job that has ended or is
    /// collecting (DESIGN §5).
    ///
    /// # Errors
    /// [`Unavailable`]: the intent may or may not be on disk.
    pub async fn cancel(&self, job: Uuid) -> Result<(), Unavailable> {
        self.ask(|answer| Input::Cancel { job, answer }).await
    }

    /// Moves a waiting job to another service level.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn change_class(&self, job: Uuid, class: Class) -> Result<(), Unavailable> {
        self.ask(|answer| Input::ChangeClass { job, class, answer }).await
    }

    /// Carries out a call about assets in a turn.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn assets(&self, call: AssetCall) -> Result<AssetAnswer, Unavailable> {
        self.ask(|answer| Input::Assets { call, answer }).await
    }

    /// Why a job waits; `None` for a job that is not open.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn explain(&self, job: Uuid) -> Result<Option<Explanation>, Unavailable> {
        self.ask(|answer| Input::Explain { job, answer }).await
    }

    /// Takes an instance out of service for new work, or back in; `false` when there is none of that name.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn cordon(&self, instance: Arc<str>, on: bool) -> Result<bool, Unavailable> {
        self.ask(|answer| Input::Cordon { instance, on, answer }).await
    }

    /// Closes the door: new submissions are refused, nothing more is placed, what runs may finish.
    pub async fn drain(&self) {
        let _ = self.inbox.send(Input::Drain).await;
    }

    /// The fleet as of the last turn that changed it.
    #[must_use]
    pub fn fleet(&self) -> Arc<FleetView> {
        self.fleet.load_full()
    }

    /// The live state of a job, if it has one. Look here first, then read the row.
    #[must_use]
    pub fn live(&self, job: Uuid) -> Option<LiveState> {
        self.board.look(job)
    }

    /// Watches a job for changes.
    #[must_use]
    pub fn watch(&self, job: Uuid) -> Watch {
        self.board.watch(job)
    }

    /// What jobs that somebody follows frame by frame have to tell.
    #[must_use]
    pub fn feeds(&self) -> &Arc<Feeds> {
        &self.feeds
    }

    /// The way to the routes of instances.
    #[must_use]
    pub fn forwards(&self) -> &Forwards {
        &self.forwards
    }

    /// Whether the engine can decide.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        *self.readiness.borrow()
    }

    /// The engine's time, milliseconds since the epoch: the time of every row.
    #[must_use]
    pub fn now(&self) -> i64 {
        self.clock.now().0
    }

    /// The store, for reads.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    async fn ask<T>(&self, input: impl FnOnce(oneshot::Sender<T>) -> Input) -> Result<T, Unavailable> {
        if matches!(self.readiness(), Readiness::Recovering | Readiness::StoreFailed) {
            return Err(Unavailable);
        }
        let (tx, rx) = oneshot::channel();
        self.inbox.send(input(tx)).await.map_err(|_| Unavailable)?;
        rx.await.map_err(|_| Unavailable)
    }
}
