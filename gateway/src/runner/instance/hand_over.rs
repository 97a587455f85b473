//! Hands an attempt's files over: lists them, delivers them as their tickets say, waits until they are committed.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::{FutureExt, StreamExt, stream};
use scheduler::AttemptEnd;

use super::drive::{Driver, Stop};
use crate::link::message::{Signal, StoredFile, Ticket};
use crate::runner::outputs::deliver::{Courier, DeliveryError};
use crate::runner::outputs::sink::sync_folders;
use crate::runner::outputs::spool::Item;

/// Files of one attempt under way at the same time.
const AT_ONCE: usize = 4;

/// What became of a round of deliveries.
enum Round {
    Stored,
    NeedTickets,
}

impl Driver {
    /// Returns when the files are stored and settled.
    pub(super) async fn hand_over(&mut self, mut items: Vec<Item>) -> Result<(), Stop> {
        let courier = self.courier();
        let listed = Signal::Executed { files: items.iter().map(|item| item.found.listed.clone()).collect() };
        let mut used = 0;
        self.tell(listed.clone()).await;
        while !items.iter().all(|item| item.stored.is_some()) {
            let tickets = self.next_tickets(&courier, &mut items, &mut used, &listed).await?;
            let slot = self.slot.clone();
            let round = tokio::select! {
                biased;
                () = slot.withdrawn.cancelled() => return Err(Stop::Withdrawn),
                round = self.deliver(&courier, &mut items, &tickets) => round?,
            };
            if let Round::NeedTickets = round {
                self.tell(Signal::NeedTickets).await;
            }
        }
        self.stay_stored(&items).await
    }

    fn courier(&self) -> Courier {
        let host = &self.shared.host;
        Courier {
            comfy: self.shared.comfy.clone(),
            spool: host.spool.clone(),
            attempt: self.attempt,
            original: self.original.clone(),
            max_output_bytes: self.dispatch.max_output_bytes,
            max_png_text_bytes: host.config.max_png_text_bytes,
            lanes: host.lanes.clone(),
            bucket: host.bucket.clone(),
            times: host.config.times.clone(),
        }
    }

    /// Waits for tickets that were not used yet. Meanwhile what ComfyUI could lose is spooled.
    async fn next_tickets(
        &mut self,
        courier: &Courier,
        items: &mut [Item],
        used: &mut u64,
        listed: &Signal,
    ) -> Result<Arc<Vec<Ticket>>, Stop> {
        let times = self.shared.host.config.times.clone();
        let mut recalls = self.orders.borrow().recalls;
        let mut pause = times.spool_after;
        loop {
            let orders = self.orders.borrow_and_update().clone();
            if orders.settled {
                return Err(Stop::Withdrawn);
            }
            if let Some((count, tickets)) = orders.tickets.filter(|(count, _)| count > used) {
                *used = count;
                return Ok(tickets);
            }
            if std::mem::replace(&mut recalls, orders.recalls) < orders.recalls {
                self.tell(listed.clone()).await;
            }
            let changed = tokio::time::timeout(pause, self.orders.changed());
            let slot = self.slot.clone();
            let changed = tokio::select! {
                biased;
                () = slot.withdrawn.cancelled() => return Err(Stop::Withdrawn),
                changed = changed => changed,
            };
            if changed.is_err() {
                if pause == times.spool_after {
                    self.unless_withdrawn(self.spool_all(courier, items)).await??;
                }
                pause = times.ticket_retry;
                self.tell(Signal::NeedTickets).await;
            }
        }
    }

    async fn spool_all(&self, courier: &Courier, items: &mut [Item]) -> Result<(), Stop> {
        for (index, item) in items.iter_mut().enumerate() {
            courier.ensure_spooled(index, item).await.map_err(over)?;
        }
        self.remember(items).await;
        Ok(())
    }

    async fn deliver(
        &self,
        courier: &Courier,
        items: &mut [Item],
        tickets: &[Ticket],
    ) -> Result<Round, Stop> {
        if tickets.len() != items.len() {
            tracing::error!(job = %self.attempt.job, tickets = tickets.len(), files = items.len(), "tickets do not match");
            return Ok(Round::NeedTickets);
        }
        let remote = tickets.iter().any(|ticket| matches!(ticket, Ticket::Http { .. }));
        if remote {
            // a bucket may be away for hours: ComfyUI need not keep the files
            self.spool_all(courier, items).await?;
        }
        let mut deliveries = Vec::with_capacity(items.len());
        for (index, (item, ticket)) in items.iter_mut().zip(tickets).enumerate() {
            deliveries.push(courier.deliver(index, item, ticket).boxed());
        }
        let results: Vec<Result<StoredFile, DeliveryError>> =
            stream::iter(deliveries).buffer_unordered(AT_ONCE).collect().await;
        let mut round = Round::Stored;
        for result in results {
            match result {
                Ok(_) => {}
                Err(DeliveryError::Expired) => round = Round::NeedTickets,
                Err(error) => return Err(over(error)),
            }
        }
        sync_folders(folders(tickets)).await.map_err(|error| {
            Stop::lost(AttemptEnd::HostFault, format!("the artifact folder cannot be synced: {error}"))
        })?;
        if remote {
            self.remember(items).await;
        }
        Ok(round)
    }

    /// Tells that all is stored, as often as it is asked, until it is committed.
    async fn stay_stored(&mut self, items: &[Item]) -> Result<(), Stop> {
        let stored = Signal::Stored { files: items.iter().filter_map(|item| item.stored.clone()).collect() };
        self.tell(stored.clone()).await;
        loop {
            if self.orders.borrow_and_update().settled {
                return Ok(());
            }
            let slot = self.slot.clone();
            tokio::select! {
                biased;
                () = slot.withdrawn.cancelled() => return Err(Stop::Withdrawn),
                changed = self.orders.changed() => if changed.is_err() { return Ok(()) },
            }
            if !self.orders.borrow().settled {
                self.tell(stored.clone()).await;
            }
        }
    }
}

/// The folders that files were renamed into.
fn folders(tickets: &[Ticket]) -> Vec<PathBuf> {
    let folders: BTreeSet<PathBuf> = tickets
        .iter()
        .filter_map(|ticket| match ticket {
            Ticket::File { path } => path.parent().map(PathBuf::from),
            Ticket::Http { .. } => None,
        })
        .collect();
    folders.into_iter().collect()
}

fn over(error: DeliveryError) -> Stop {
    match error {
        DeliveryError::Gone(message) => Stop::lost(AttemptEnd::OutputsGone, message),
        DeliveryError::TooLarge(message) => Stop::Over(Signal::OutputTooLarge { message }),
        DeliveryError::Host(message) => Stop::lost(AttemptEnd::HostFault, message),
        DeliveryError::Expired => Stop::lost(AttemptEnd::HostFault, "tickets expired"),
    }
}
