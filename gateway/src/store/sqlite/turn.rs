//! A turn: the right to the writer, and what is sent to it.

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use tokio::sync::OwnedMutexGuard;

use super::writer::{Writer, WriterHandle};
use super::{assets, fleet, insert, records};
use crate::store::{AssetAnswer, AssetCall, FleetFact, Inserted, JobRecord, NewJob, Result, Turn};

/// Writes without an answer go with the next word that has one, so that the writer is woken once; whether they
/// succeeded is told by the commit.
pub(super) struct SqliteTurn {
    writer: WriterHandle,
    unsent: Vec<Write>,
    is_over: bool,
    /// Given back last: the roll-back is sent before the next turn's first word.
    _right: OwnedMutexGuard<()>,
}

impl SqliteTurn {
    /// A turn with the right to write; the transaction begins with its first statement.
    pub(super) fn new(writer: WriterHandle, right: OwnedMutexGuard<()>) -> Self {
        Self { writer, unsent: Vec::new(), is_over: false, _right: right }
    }

    /// Writes what is unsent, then runs `operation` in the turn.
    async fn call<T: Send + 'static>(
        &mut self,
        operation: impl FnOnce(&mut Writer) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let unsent = std::mem::take(&mut self.unsent);
        self.writer
            .call(move |writer| {
                write(writer, unsent);
                writer.in_turn(operation)
            })
            .await
    }
}

/// A statement without an answer.
enum Write {
    Record(JobRecord),
    Fact(FleetFact),
}

/// A failure is remembered, and told by the commit.
fn write(writer: &mut Writer, unsent: Vec<Write>) {
    if unsent.is_empty() {
        return;
    }
    let _ = writer.in_turn(|writer| {
        unsent.into_iter().try_for_each(|write| match write {
            Write::Record(record) => records::write(writer, record),
            Write::Fact(fact) => fleet::remember(writer, fact),
        })
    });
}

impl Turn for SqliteTurn {
    fn insert(&mut self, submissions: Vec<NewJob>) -> BoxFuture<'_, Result<Vec<Inserted>>> {
        if submissions.is_empty() {
            return ready(Ok(Vec::new())).boxed();
        }
        Box::pin(
            self.call(move |writer| {
                submissions.into_iter().map(|job| insert::submission(writer, job)).collect()
            }),
        )
    }

    fn write(&mut self, records: Vec<JobRecord>) -> BoxFuture<'_, Result<()>> {
        self.unsent.extend(records.into_iter().map(Write::Record));
        ready(Ok(())).boxed()
    }

    fn assets(&mut self, calls: Vec<AssetCall>) -> BoxFuture<'_, Result<Vec<AssetAnswer>>> {
        if calls.is_empty() {
            return ready(Ok(Vec::new())).boxed();
        }
        Box::pin(self.call(move |writer| calls.into_iter().map(|call| assets::call(writer, call)).collect()))
    }

    fn remember(&mut self, facts: Vec<FleetFact>) -> BoxFuture<'_, Result<()>> {
        self.unsent.extend(facts.into_iter().map(Write::Fact));
        ready(Ok(())).boxed()
    }

    fn commit(mut self: Box<Self>) -> BoxFuture<'static, Result<()>> {
        Box::pin(async move {
            let unsent = std::mem::take(&mut self.unsent);
            let committed = self.writer.call(move |writer| {
                write(writer, unsent);
                writer.commit()
            });
            let committed = committed.await;
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
