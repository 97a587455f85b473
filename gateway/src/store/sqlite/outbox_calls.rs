//! [`Outbox`] over the reader threads and the writer.

use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::{SqliteStore, events, outbox};
use crate::store::{
    Bells, DeadLetter, DeadQuery, Delivery, DeliveryOutcome, DueReceiver, Event, EventPage, EventQuery,
    Outbox, OutboxFigures, ReceiverLag, Result, Undelivered, Webhook,
};

impl Outbox for SqliteStore {
    fn events(&self, query: EventQuery) -> BoxFuture<'_, Result<EventPage>> {
        Box::pin(self.readers.call(move |connection| {
            // Both ends and the rows between them must be of one state of the store.
            let snapshot = connection.unchecked_transaction().map_err(super::error::fault)?;
            events::page(&snapshot, &query)
        }))
    }

    fn webhook_of(&self, job: Uuid) -> BoxFuture<'_, Result<Option<Webhook>>> {
        Box::pin(self.readers.call(move |connection| outbox::webhook_of(connection, job)))
    }

    fn events_of(&self, job: Uuid) -> BoxFuture<'_, Result<Vec<Event>>> {
        Box::pin(self.readers.call(move |connection| events::of_job(connection, job)))
    }

    fn undelivered_of(&self, job: Uuid) -> BoxFuture<'_, Result<Vec<Undelivered>>> {
        Box::pin(self.readers.call(move |connection| outbox::undelivered(connection, job)))
    }

    fn newest_event(&self) -> BoxFuture<'_, Result<i64>> {
        Box::pin(self.readers.call(events::newest))
    }

    fn bells(&self) -> &Bells {
        &self.bells
    }

    fn due_receivers(&self) -> BoxFuture<'_, Result<Vec<DueReceiver>>> {
        Box::pin(self.readers.call(outbox::due_receivers))
    }

    fn due(&self, receiver: i64, now: i64, limit: u32) -> BoxFuture<'_, Result<Vec<Delivery>>> {
        Box::pin(self.readers.call(move |connection| outbox::due(connection, receiver, now, limit)))
    }

    fn settle(&self, outcomes: Vec<DeliveryOutcome>, now: i64) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.alone(move |writer| {
            outcomes.iter().try_for_each(|outcome| outbox::settle(&writer.connection, outcome, now))
        }))
    }

    fn dead_letters(&self, query: DeadQuery) -> BoxFuture<'_, Result<Vec<DeadLetter>>> {
        Box::pin(self.readers.call(move |connection| outbox::dead_letters(connection, &query)))
    }

    fn replay_dead(&self, query: DeadQuery, now: i64) -> BoxFuture<'_, Result<(u64, i64)>> {
        Box::pin(async move {
            let replayed = self.alone(move |writer| outbox::replay(&writer.connection, &query, now)).await;
            self.bells.ring_deliveries();
            replayed
        })
    }

    fn lags(&self, tenant: Option<u32>, limit: u32) -> BoxFuture<'_, Result<Vec<ReceiverLag>>> {
        Box::pin(self.readers.call(move |connection| outbox::lags(connection, tenant, limit)))
    }

    fn outbox_figures(&self) -> BoxFuture<'_, Result<OutboxFigures>> {
        Box::pin(self.readers.call(outbox::figures))
    }

    fn sweep_events(&self, before: i64, limit: u32) -> BoxFuture<'_, Result<u64>> {
        Box::pin(self.alone(move |writer| {
            outbox::sweep(&writer.connection, before, limit)?;
            events::sweep(&writer.connection, before, limit)
        }))
    }
}
