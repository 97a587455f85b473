//! A turn: the right to the writer, and what is sent to it.

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use tokio::sync::OwnedMutexGuard;

use super::writer::WriterHandle;
use super::{assets, fleet, insert, records};
use crate::store::{AssetAnswer, AssetCall, FleetFact, Inserted, JobRecord, NewJob, Result, Turn};

/// Writes without an answer are sent on at once; whether they succeeded is told by the commit.
pub(super) struct SqliteTurn {
    writer: WriterHandle,
    is_over: bool,
    /// Given back last: the roll-back is sent before the next turn's first word.
    _right: OwnedMutexGuard<()>,
}

impl SqliteTurn {
    /// A turn with the right to write; the transaction begins with its first statement.
    pub(super) fn new(writer: WriterHandle, right: OwnedMutexGuard<()>) -> Self {
        Self { writer, is_over: false, _right: right }
    }
}

impl Turn for SqliteTurn {
    fn insert(&mut self, submissions: Vec<NewJob>) -> BoxFuture<'_, Result<Vec<Inserted>>> {
        if submissions.is_empty() {
            return ready(Ok(Vec::new())).boxed();
        }
        Box::pin(self.writer.call(move |writer| {
            writer.in_turn(|writer| {
                submissions.into_iter().map(|job| insert::submission(writer, job)).collect()
            })
        }))
    }

    fn write(&mut self, records: Vec<JobRecord>) -> BoxFuture<'_, Result<()>> {
        if records.is_empty() {
            return ready(Ok(())).boxed();
        }
        let sent = self.writer.send(move |writer| {
            let _ = writer
                .in_turn(|writer| records.into_iter().try_for_each(|record| records::write(writer, record))); // remembered, and told by the commit
        });
        ready(sent).boxed()
    }

    fn assets(&mut self, calls: Vec<AssetCall>) -> BoxFuture<'_, Result<Vec<AssetAnswer>>> {
        if calls.is_empty() {
            return ready(Ok(Vec::new())).boxed();
        }
        Box::pin(self.writer.call(move |writer| {
            writer.in_turn(|writer| calls.into_iter().map(|call| assets::call(writer, call)).collect())
        }))
    }

    fn remember(&mut self, facts: Vec<FleetFact>) -> BoxFuture<'_, Result<()>> {
        if facts.is_empty() {
            return ready(Ok(())).boxed();
        }
        let sent = self.writer.send(move |writer| {
            let _ =
                writer.in_turn(|writer| facts.into_iter().try_for_each(|fact| fleet::remember(writer, fact))); // remembered, and told by the commit
        });
        ready(sent).boxed()
    }

    fn commit(mut self: Box<Self>) -> BoxFuture<'static, Result<()>> {
        Box::pin(async move {
            let committed = self.writer.call(|writer| writer.commit()).await;
            self.is_over = true;
            committed
        })
    }
}

impl Drop for SqliteTurn {
    fn drop(&mut self) {
        if !self.is_over {
            // Without a writer there is nothing to roll back.
            let _ = self.writer.send(|writer| writer.rollback());
        }
    }
}
