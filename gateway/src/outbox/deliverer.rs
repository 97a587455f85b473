//! The task that brings events to their receivers.
//!
//! What is to be done is read from the store; in memory are only the events under way and the health of receivers.
//! Each receiver is a lane of its own: one that fails is probed, at growing intervals, and costs the others nothing.
//! What became of many deliveries is written in one transaction.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use uuid::Uuid;

use super::attempt::{Sender, Verdict};
use super::lane::{Lane, back_off};
use super::{Bodies, KeysOf};
use crate::config;
use crate::metrics::{Metrics, WebhookResult};
use crate::outside::Outside;
use crate::store::{Delivery, DeliveryOutcome, DueReceiver, Result, Store};

/// What comes within so long is settled and looked for together.
const GATHER: Duration = Duration::from_millis(10);
/// Without any word the store is looked at so often: for what another process may have changed.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Pause after the store failed.
const STORE_RETRY: Duration = Duration::from_secs(1);
/// Least pause after an event that could not be sent through no fault of its receiver.
const NOT_SENT_PAUSE: Duration = Duration::from_secs(10);
/// Longest pause a receiver may ask for.
const LONGEST_WISH: Duration = Duration::from_secs(3600);
/// How often figures are counted.
const FIGURES_EVERY: Duration = Duration::from_secs(10);
/// How long deliveries under way may take when the process ends; what is left is sent again after the next start.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// What a deliverer is made of.
pub struct Parts {
    /// Where events wait.
    pub store: Arc<dyn Store>,
    /// The way to receivers.
    pub outside: Outside,
    /// What receivers get.
    pub bodies: Arc<dyn Bodies>,
    /// Signing keys, by the tenant's name.
    pub keys: Arc<KeysOf>,
    /// Bounds and pauses.
    pub settings: config::Webhooks,
    /// The time of every row, milliseconds since the epoch.
    pub now: Arc<dyn Fn() -> i64 + Send + Sync>,
    /// What is counted.
    pub metrics: Metrics,
    /// Cancelled when the process goes away.
    pub stop: CancellationToken,
}

/// The task.
pub struct Deliverer {
    store: Arc<dyn Store>,
    sender: Arc<Sender>,
    settings: config::Webhooks,
    now: Arc<dyn Fn() -> i64 + Send + Sync>,
    metrics: Metrics,
    stop: CancellationToken,
    lanes: HashMap<i64, Lane>,
    busy: Busy,
    rounds: usize,
    /// What became of deliveries and is not in the store yet, with the events it settles.
    outcomes: Vec<DeliveryOutcome>,
    settled: Vec<(i64, i64)>,
    ended: mpsc::Receiver<Ended>,
    end: mpsc::Sender<Ended>,
    figures_at: Instant,
}

/// A delivery that is over.
struct Ended {
    receiver: i64,
    delivery: Delivery,
    verdict: Verdict,
}

impl Deliverer {
    /// A deliverer, to be run by one task.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { store, outside, bodies, keys, settings, now, metrics, stop } = parts;
        let timeout = Duration::from_secs(settings.timeout_seconds);
        let (end, ended) = mpsc::channel(settings.concurrency.max(1));
        let busy = Busy::new(settings.concurrency);
        Self {
            store,
            busy,
            rounds: 0,
            sender: Arc::new(Sender { outside, bodies, keys, timeout }),
            settings,
            now,
            metrics,
            stop,
            lanes: HashMap::new(),
            outcomes: Vec::new(),
            settled: Vec::new(),
            ended,
            end,
            figures_at: Instant::now(),
        }
    }

    /// Delivers until it is stopped.
    pub async fn run(mut self) {
        let store = self.store.clone();
        loop {
            let wake = self.round().await.unwrap_or_else(|error| {
                warn!(%error, "the outbox cannot be read or written");
                Instant::now() + STORE_RETRY
            });
            tokio::select! {
                () = self.stop.cancelled() => break,
                () = store.outbox().bells().delivery() => {}
                Some(ended) = self.ended.recv() => self.take(ended),
                () = tokio::time::sleep_until(wake) => {}
            }
            let gathered = Instant::now() + GATHER;
            while let Ok(Some(ended)) = tokio::time::timeout_at(gathered, self.ended.recv()).await {
                self.take(ended);
            }
        }
        self.finish().await;
    }

    /// Writes what is known, then reads and starts what is due and has room. Returns when to look again without being
    /// told.
    async fn round(&mut self) -> Result<Instant> {
        self.settle().await?;
        self.count().await?;
        let mut due = self.store.outbox().due_receivers().await?;
        // Each time somebody else is first where there is no room for all.
        self.rounds = self.rounds.wrapping_add(1);
        let first = self.rounds % due.len().max(1);
        due.rotate_left(first);
        let now = (self.now)();
        let mut wake = now.saturating_add(millis(LOOK_EVERY));
        self.forget_idle_lanes(&due);
        for receiver in due {
            let lane = self.lanes.entry(receiver.receiver).or_default();
            lane.tenant = receiver.tenant;
            let ready_at = receiver.next_at.max(lane.paused_until);
            if ready_at > now {
                wake = wake.min(ready_at);
                continue;
            }
            let wanted = lane.appetite(self.settings.per_receiver).min(self.busy.room(receiver.tenant));
            if wanted > 0 {
                // Those claimed are still due as far as the store knows.
                let limit = u32::try_from(wanted + lane.claimed()).unwrap_or(u32::MAX);
                lane.claim(self.store.outbox().due(receiver.receiver, now, limit).await?);
            }
            self.start(receiver.receiver);
        }
        let pause = Duration::from_millis(u64::try_from(wake.saturating_sub(now)).unwrap_or(0));
        Ok((Instant::now() + pause).min(self.figures_at))
    }

    /// Sends what a receiver has claimed, as far as there is room.
    fn start(&mut self, receiver: i64) {
        let Some(lane) = self.lanes.get_mut(&receiver) else { return };
        while self.busy.room(lane.tenant) > 0 && !self.stop.is_cancelled() {
            let Some(delivery) = lane.start(self.settings.per_receiver) else { return };
            self.busy.add(lane.tenant);
            let (sender, end) = (self.sender.clone(), self.end.clone());
            tokio::spawn(async move {
                let verdict = sender.send(&delivery).await;
                // Nobody listens only when the process is going away.
                let _ = end.send(Ended { receiver, delivery, verdict }).await;
            });
        }
    }

    /// Notes what became of a delivery.
    fn take(&mut self, ended: Ended) {
        let Ended { receiver, delivery, verdict } = ended;
        let (cursor, now) = (delivery.event.cursor, (self.now)());
        self.settled.push((receiver, cursor));
        let lane = self.lanes.entry(receiver).or_default();
        lane.ended();
        self.busy.remove(lane.tenant);
        match verdict {
            Verdict::Delivered => {
                self.metrics.webhook(WebhookResult::Delivered);
                if lane.well(now) >= millis(Duration::from_secs(self.settings.longest_pause_seconds)) {
                    self.outcomes.push(DeliveryOutcome::Back { receiver });
                }
                self.outcomes.push(DeliveryOutcome::Delivered { cursor });
            }
            Verdict::Gone => {
                self.metrics.webhook(WebhookResult::Gone);
                lane.well(now);
                self.outcomes.push(DeliveryOutcome::Dead { cursor, reason: "answered 410".to_owned() });
            }
            Verdict::NotSent(reason) => {
                warn!(event = delivery.event.id(), tenant = delivery.tenant_name, reason, "event not sent");
                self.failed(receiver, &delivery, now, NOT_SENT_PAUSE, reason);
            }
            Verdict::Failed { reason, retry_after } => {
                let wish = retry_after.unwrap_or_default().min(LONGEST_WISH);
                self.failed(receiver, &delivery, now, wish, reason);
            }
        }
        self.start(receiver);
    }

    /// Leaves the receiver alone for a while, and the event for longer; both as long as is wished for at least.
    fn failed(&mut self, receiver: i64, delivery: &Delivery, now: i64, wish: Duration, reason: String) {
        let first = Duration::from_millis(self.settings.first_retry_ms);
        let longest = Duration::from_secs(self.settings.longest_pause_seconds);
        if let Some(lane) = self.lanes.get_mut(&receiver) {
            lane.failed(now, |failures| back_off(first, longest, failures, dice()).max(wish));
        }
        let longest = Duration::from_secs(self.settings.longest_retry_seconds);
        let pause = back_off(first, longest, delivery.tries.saturating_add(1), dice()).max(wish);
        let next_at = now.saturating_add(millis(pause));
        let outcome = self.again_or_dead(delivery, now, next_at, reason.clone());
        let is_dead = matches!(outcome, DeliveryOutcome::Dead { .. });
        self.metrics.webhook(if is_dead { WebhookResult::GivenUp } else { WebhookResult::Failed });
        self.outcomes.push(outcome);
        if is_dead {
            // Whatever waited as long behind it has waited long enough too.
            let before = now.saturating_sub(self.give_up());
            self.outcomes.push(DeliveryOutcome::TooOld { receiver, before, reason });
        }
    }

    fn again_or_dead(&self, delivery: &Delivery, now: i64, next_at: i64, reason: String) -> DeliveryOutcome {
        let cursor = delivery.event.cursor;
        if now.saturating_sub(delivery.since) >= self.give_up() {
            return DeliveryOutcome::Dead { cursor, reason };
        }
        DeliveryOutcome::Again { cursor, next_at, reason }
    }

    /// Writes what became of deliveries. What could not be written stays, and its events stay under way.
    async fn settle(&mut self) -> Result<()> {
        if self.outcomes.is_empty() {
            return Ok(());
        }
        self.store.outbox().settle(self.outcomes.clone(), (self.now)()).await?;
        self.outcomes.clear();
        for (receiver, cursor) in self.settled.drain(..) {
            if let Some(lane) = self.lanes.get_mut(&receiver) {
                lane.settled(cursor);
            }
        }
        Ok(())
    }

    async fn count(&mut self) -> Result<()> {
        let now = Instant::now();
        if now >= self.figures_at {
            self.figures_at = now + FIGURES_EVERY;
            let figures = self.store.outbox().outbox_figures().await?;
            self.metrics.outbox(figures, (self.now)());
        }
        Ok(())
    }

    /// Forgets receivers for which nothing waits, how badly ever they did.
    fn forget_idle_lanes(&mut self, due: &[DueReceiver]) {
        if self.lanes.len() > due.len() {
            let waiting: HashSet<i64> = due.iter().map(|due| due.receiver).collect();
            self.lanes.retain(|id, lane| waiting.contains(id) || lane.claimed() > 0);
        }
    }

    /// Hears what answers in time; what does not is sent again after the next start.
    async fn finish(&mut self) {
        let deadline = Instant::now() + LAST_ANSWERS;
        while self.busy.all > 0 {
            match tokio::time::timeout_at(deadline, self.ended.recv()).await {
                Ok(Some(ended)) => self.take(ended),
                Ok(None) | Err(_) => break,
            }
        }
        if let Err(error) = self.settle().await {
            warn!(%error, "the last deliveries could not be noted; they will be repeated");
        }
    }

    fn give_up(&self) -> i64 {
        millis(Duration::from_secs(self.settings.give_up_seconds))
    }
}

/// Deliveries under way, against their bounds.
struct Busy {
    most: usize,
    per_tenant: usize,
    all: usize,
    tenants: HashMap<u32, usize>,
}

impl Busy {
    fn new(most: usize) -> Self {
        Self { most, per_tenant: most.div_ceil(4), all: 0, tenants: HashMap::new() }
    }

    fn room(&self, tenant: u32) -> usize {
        let own = self.tenants.get(&tenant).copied().unwrap_or(0);
        self.most.saturating_sub(self.all).min(self.per_tenant.saturating_sub(own))
    }

    fn add(&mut self, tenant: u32) {
        self.all += 1;
        *self.tenants.entry(tenant).or_default() += 1;
    }

    fn remove(&mut self, tenant: u32) {
        self.all = self.all.saturating_sub(1);
        if let Some(own) = self.tenants.get_mut(&tenant) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                self.tenants.remove(&tenant);
            }
        }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn dice() -> u16 {
    let [a, b, ..] = *Uuid::new_v4().as_bytes();
    u16::from_le_bytes([a, b])
}
