//! The one writer: a thread that owns the writing connection and does what it is sent, in order.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc;

use rusqlite::Connection;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::error::StoreFault;
use crate::store::{Bells, Result, StoreError};

/// The latest time anybody told the store. Expiry is judged by it, so that no clock is read in here.
pub(super) type SeenTime = Arc<AtomicI64>;

type Operation = Box<dyn FnOnce(&mut Writer) + Send>;

/// The way to the writer thread. The thread ends when the last of these is gone.
#[derive(Clone)]
pub(super) struct WriterHandle {
    operations: mpsc::Sender<Operation>,
}

/// What the writer thread owns.
pub(super) struct Writer {
    /// The connection; all statements of a turn run on it.
    pub(super) connection: Connection,
    /// See [`SeenTime`].
    pub(super) seen: SeenTime,
    /// Jobs inserted in the open turn.
    pub(super) fresh: HashMap<Uuid, Fresh>,
    /// Events of the open turn.
    pub(super) news: News,
    /// Who is told of them after the commit.
    bells: Arc<Bells>,
    /// What `meta.latest_time` says.
    stored_time: i64,
    turn: TurnState,
}

/// A job of the open turn: it may still be refused.
pub(super) struct Fresh {
    /// Its row.
    pub(super) seq: i64,
    /// The key it claimed.
    pub(super) claim: Option<[u8; 16]>,
    /// The event of its acceptance.
    pub(super) event: i64,
}

/// Whom the events of a turn concern.
#[derive(Default)]
pub(super) struct News {
    tenants: BTreeSet<u32>,
    newest: i64,
    deliveries: bool,
}

impl News {
    /// There is an event, and perhaps a delivery of it.
    pub(super) fn note(&mut self, tenant: u32, cursor: i64, is_sent: bool) {
        self.tenants.insert(tenant);
        self.newest = cursor;
        self.deliveries |= is_sent;
    }

    fn tell(&mut self, bells: &Bells) {
        if !self.tenants.is_empty() {
            bells.ring(&self.tenants, self.newest);
        }
        if self.deliveries {
            bells.ring_deliveries();
        }
    }
}

enum TurnState {
    /// No transaction.
    Idle,
    /// A transaction is open.
    Open,
    /// A statement of the turn failed and nothing of it will be kept.
    Failed(StoreError),
}

impl WriterHandle {
    /// Starts the thread.
    pub(super) fn start(connection: Connection, seen: SeenTime, bells: Arc<Bells>) -> Result<Self> {
        let (operations, inbox) = mpsc::channel::<Operation>();
        let stored_time = seen.load(Ordering::Relaxed);
        let mut writer = Writer {
            connection,
            seen,
            fresh: HashMap::new(),
            news: News::default(),
            bells,
            stored_time,
            turn: TurnState::Idle,
        };
        std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || {
                for operation in inbox {
                    operation(&mut writer);
                }
            })
            .map_err(|error| StoreError::Unavailable(format!("no thread for the writer: {error}")))?;
        Ok(Self { operations })
    }

    /// Runs `operation` after everything sent before it, and waits for its result.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&mut Writer) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (reply, result) = oneshot::channel();
        self.send(move |writer| {
            let _ = reply.send(operation(writer)); // the caller may have left
        })?;
        result.await.map_err(|_| gone())?
    }

    /// Runs `operation` after everything sent before it, without waiting.
    pub(super) fn send(&self, operation: impl FnOnce(&mut Writer) + Send + 'static) -> Result<()> {
        self.operations.send(Box::new(operation)).map_err(|_| gone())
    }
}

impl Writer {
    /// Runs a statement of the open turn, which begins with its first one. After a failure all others fail too.
    pub(super) fn in_turn<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        match &self.turn {
            TurnState::Open => {}
            TurnState::Failed(error) => return Err(again(error)),
            TurnState::Idle => {
                if let Err(error) =
                    self.connection.prepare_cached("BEGIN IMMEDIATE").and_then(|mut begin| begin.execute([]))
                {
                    return Err(self.fail(Err::<(), _>(error).or_fault()));
                }
                self.turn = TurnState::Open;
            }
        }
        match work(self) {
            Ok(value) => Ok(value),
            failure => Err(self.fail(failure.map(drop))),
        }
    }

    /// Makes the turn durable; nothing was written when it never began.
    pub(super) fn commit(&mut self) -> Result<()> {
        let result = match &self.turn {
            TurnState::Idle => Ok(()),
            TurnState::Failed(error) => Err(again(error)),
            TurnState::Open => self.commit_open(),
        };
        self.rollback();
        result
    }

    /// Ends the turn; what it wrote and did not commit is gone.
    pub(super) fn rollback(&mut self) {
        if !self.connection.is_autocommit() {
            // After some failures SQLite has rolled back by itself; either way the next BEGIN tells.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
        self.turn = TurnState::Idle;
        self.fresh.clear();
        self.news = News::default();
    }

    /// A transaction of its own, between turns.
    pub(super) fn alone<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.rollback();
        let result = self.in_turn(work);
        let committed = self.commit();
        let value = result?;
        committed.map(|()| value)
    }

    /// Remembers that it is at least this late.
    pub(super) fn note_time(&self, at: i64) {
        self.seen.fetch_max(at, Ordering::Relaxed);
    }

    /// The latest time told.
    pub(super) fn now(&self) -> i64 {
        self.seen.load(Ordering::Relaxed)
    }

    fn commit_open(&mut self) -> Result<()> {
        let seen = self.now();
        if seen > self.stored_time {
            self.connection
                .prepare_cached("UPDATE meta SET value = ?1 WHERE name = 'latest_time'")
                .and_then(|mut update| update.execute([seen]))
                .or_fault()?;
        }
        self.connection.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([])).or_fault()?;
        self.stored_time = self.stored_time.max(seen);
        self.news.tell(&self.bells);
        Ok(())
    }

    fn fail(&mut self, failure: Result<()>) -> StoreError {
        let error = failure.err().unwrap_or_else(gone);
        self.rollback();
        self.turn = TurnState::Failed(again(&error));
        error
    }
}

fn again(error: &StoreError) -> StoreError {
    match error {
        StoreError::Unavailable(cause) => StoreError::Unavailable(cause.clone()),
        StoreError::Damaged(cause) => StoreError::Damaged(cause.clone()),
    }
}

fn gone() -> StoreError {
    StoreError::Unavailable("the writer thread has ended".into())
}
