//! One job, followed from now on: every change of it that is on disk is seen, none twice. It watches first and reads
//! the row afterwards, so nothing that happens in between is missed.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::super::error::ApiError;
use super::super::state::{Shared, StreamPermit};
use super::super::view::Seen;
use crate::engine::{LiveState, Watch};
use crate::store::{OutputRow, StoredState};
use crate::tenant::Caller;

/// A job that is followed.
pub(super) struct Follower {
    app: Arc<Shared>,
    watch: Watch,
    /// The job as it was when it was last read.
    seen: Seen,
    /// Commits that the last read has seen.
    committed: u64,
    _permit: StreamPermit,
}

impl Follower {
    /// Follows a job of the caller's; it counts as an event stream.
    pub(super) async fn open(
        app: &Arc<Shared>,
        caller: &Caller,
        public_id: String,
    ) -> Result<Self, ApiError> {
        let store = app.engine.store();
        let found = store.job_by_public_id(caller.tenant.id, public_id).await?;
        let id = found.ok_or_else(ApiError::not_found)?.id;
        let permit = app.enter_stream(caller)?;
        // Only now is it known to be the caller's: an entry made for a foreign id would cost memory.
        let mut watch = app.engine.watch(id);
        let state = watch.state();
        let row = store.job(id).await?.ok_or_else(ApiError::not_found)?;
        let committed = state.committed;
        Ok(Self { app: app.clone(), watch, seen: Seen::new(row, Some(state)), committed, _permit: permit })
    }

    /// The job as it was last read.
    pub(super) fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Which job.
    pub(super) fn job(&self) -> Uuid {
        self.seen.row.id
    }

    /// What is known beyond the row.
    pub(super) fn state(&mut self) -> LiveState {
        self.watch.state()
    }

    /// Waits until something about it changed, on disk or not.
    pub(super) async fn changed(&mut self) {
        self.watch.changed().await;
    }

    /// Whether the row has changed since it was read.
    pub(super) fn is_behind(&self, state: &LiveState) -> bool {
        state.committed != self.committed || state.phase.is_some_and(scheduler::Phase::is_terminal)
    }

    /// Whether this state is about the attempt that the row has open.
    pub(super) fn is_of_row(&self, state: &LiveState) -> bool {
        self.seen.row.state == StoredState::Placed && state.attempt == self.seen.row.attempt
    }

    /// Reads the job again, with its outputs once it has ended.
    pub(super) async fn read(&mut self) -> Result<Vec<OutputRow>, ApiError> {
        let state = self.watch.state();
        let read = self.app.engine.store().job_with_outputs(self.job()).await?;
        let (row, outputs) = read.ok_or_else(ApiError::not_found)?;
        self.committed = state.committed;
        self.seen = Seen::new(row, Some(state));
        Ok(outputs)
    }

    /// Waits until its revision is another than `known` (than the one it has now where that is left out), until it has
    /// ended, or so long.
    pub(super) async fn wait(mut self, known: Option<u64>, patience: Duration) -> Result<Seen, ApiError> {
        let until = Instant::now() + patience;
        let known = known.unwrap_or(self.seen.row.revision);
        while self.seen.row.revision == known && !self.seen.phase.is_terminal() {
            let app = self.app.clone();
            tokio::select! {
                () = self.changed() => {}
                () = tokio::time::sleep_until(until) => break,
                () = app.closing.cancelled() => break,
            }
            let state = self.state();
            if self.is_behind(&state) {
                self.read().await?;
            }
        }
        Ok(self.seen)
    }
}
