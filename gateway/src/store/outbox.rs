//! The outbox of a store: events written with what they tell of, read as a feed, and sent to receivers.
//!
//! An event and its pending deliveries are written in the transaction of the change itself: either all of it is there
//! after a crash, or nothing. What was delivered is noted afterwards; a crash in between sends the event again, under
//! the same id.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use futures_util::future::BoxFuture;
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use super::{
    DeadLetter, DeadQuery, Delivery, DeliveryOutcome, DueReceiver, Event, EventPage, EventQuery,
    OutboxFigures, ReceiverLag, Result, Undelivered, Webhook,
};

/// Events and deliveries of a store.
pub trait Outbox: Send + Sync {
    /// Events of a tenant in the order of their commits. One call looks at a bounded number of events, those of other
    /// tenants included: a page may be empty and yet not be at the head.
    fn events(&self, query: EventQuery) -> BoxFuture<'_, Result<EventPage>>;

    /// Where the events of a job go, and which; `None` when it has no webhook.
    fn webhook_of(&self, job: Uuid) -> BoxFuture<'_, Result<Option<Webhook>>>;

    /// The events of a job that are kept, in order.
    fn events_of(&self, job: Uuid) -> BoxFuture<'_, Result<Vec<Event>>>;

    /// What receivers do not have yet of a job, then what was given up of it.
    fn undelivered_of(&self, job: Uuid) -> BoxFuture<'_, Result<Vec<Undelivered>>>;

    /// The last cursor that was given.
    fn newest_event(&self) -> BoxFuture<'_, Result<i64>>;

    /// Wakes those who wait for events and deliveries.
    fn bells(&self) -> &Bells;

    /// Receivers for which anything waits, with the time of the first event. Events of a job wait behind its earlier
    /// ones.
    fn due_receivers(&self) -> BoxFuture<'_, Result<Vec<DueReceiver>>>;

    /// What is due for a receiver at `now`, longest due first, at most one event a job.
    fn due(&self, receiver: i64, now: i64, limit: u32) -> BoxFuture<'_, Result<Vec<Delivery>>>;

    /// Writes what became of deliveries, in one transaction of its own at `now`.
    fn settle(&self, outcomes: Vec<DeliveryOutcome>, now: i64) -> BoxFuture<'_, Result<()>>;

    /// Deliveries that were given up, oldest event first.
    fn dead_letters(&self, query: DeadQuery) -> BoxFuture<'_, Result<Vec<DeadLetter>>>;

    /// Makes dead letters pending again, at most `limit` of the query; how many, and the last cursor among them.
    fn replay_dead(&self, query: DeadQuery, now: i64) -> BoxFuture<'_, Result<(u64, i64)>>;

    /// How the receivers of a tenant, or of all, stand.
    fn lags(&self, tenant: Option<u32>, limit: u32) -> BoxFuture<'_, Result<Vec<ReceiverLag>>>;

    /// Figures of all receivers together.
    fn outbox_figures(&self) -> BoxFuture<'_, Result<OutboxFigures>>;

    /// Forgets events and dead letters from before `before`, at most `limit` of each; how many events.
    fn sweep_events(&self, before: i64, limit: u32) -> BoxFuture<'_, Result<u64>>;
}

/// Who waits for what is committed. Nobody is woken for another tenant's events.
#[derive(Debug, Default)]
pub struct Bells {
    feeds: Mutex<HashMap<u32, watch::Sender<i64>>>,
    deliveries: Notify,
}

impl Bells {
    /// Tells of events of this tenant from now on: the cursor of its newest.
    #[must_use]
    pub fn listen(&self, tenant: u32) -> watch::Receiver<i64> {
        let mut feeds = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        feeds.retain(|id, feed| *id == tenant || feed.receiver_count() > 0);
        feeds.entry(tenant).or_insert_with(|| watch::Sender::new(0)).subscribe()
    }

    /// Waits until there may be something to deliver.
    pub async fn delivery(&self) {
        self.deliveries.notified().await;
    }

    /// Events up to `newest` are committed, of these tenants.
    pub fn ring(&self, tenants: &BTreeSet<u32>, newest: i64) {
        let feeds = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        if feeds.is_empty() {
            return;
        }
        for feed in tenants.iter().filter_map(|tenant| feeds.get(tenant)) {
            feed.send_replace(newest);
        }
    }

    /// Deliveries are due.
    pub fn ring_deliveries(&self) {
        self.deliveries.notify_one();
    }
}
