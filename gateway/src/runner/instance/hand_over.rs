//! Hands an attempt's files over: lists them, delivers them as their tickets say, waits until they are committed.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use scheduler::AttemptEnd;

use super::board::Tickets;
use super::drive::{Driver, Stop};
use crate::link::message::{MadeOf, NodeError, PictureWork, Signal, Ticket};
use crate::runner::outputs::deliver::{Courier, DeliveryError};
use crate::runner::outputs::ledger::Ledger;
use crate::runner::outputs::list::Source;
use crate::runner::outputs::sink::{Lasts, sync_folders};
use crate::runner::outputs::spool::{Item, Manifest};

/// Files of one attempt under way at the same time.
const AT_ONCE: usize = 4;

/// What became of a round of deliveries; of several outcomes the last counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Round {
    Stored,
    NeedTickets,
    /// Nothing is wrong with the files, but here or there they are not taken now.
    NotNow,
}

/// What has to be handed over, and by what means.
struct Errand {
    courier: Courier,
    ledger: Ledger,
    files: usize,
    /// What is told to whoever has lost the list.
    told: Vec<Signal>,
}

/// How far the engine's orders were followed.
struct Followed {
    grants: u64,
    recalls: u64,
    /// The pause after the next round that comes to nothing.
    pause: Duration,
}

impl Driver {
    /// Returns when the files are stored and settled.
    pub(super) async fn hand_over(
        &mut self,
        items: Vec<Item>,
        made: Option<Vec<MadeOf>>,
    ) -> Result<(), Stop> {
        let mut errand = self.errand(items, made);
        let (first, longest) = errand.courier.times.upload_backoff;
        let mut followed = Followed { grants: 0, recalls: self.orders.borrow().recalls, pause: first };
        self.tell_all(&errand).await;
        self.make(&mut errand, &mut followed).await?;
        while errand.ledger.all_stored().await.is_none() {
            let tickets = self.next_tickets(&errand, &mut followed).await?;
            let delivery = self.deliver(&errand, &tickets).boxed();
            match self.meanwhile(&errand, &mut followed.recalls, delivery).await?? {
                Round::Stored => {}
                Round::NeedTickets => self.tell(Signal::NeedTickets).await,
                Round::NotNow => {
                    let pause = followed.pause;
                    followed.pause = (pause * 2).min(longest);
                    let waiting = self.wait(&errand, pause).boxed();
                    self.meanwhile(&errand, &mut followed.recalls, waiting).await??;
                    self.tell(Signal::NeedTickets).await;
                }
            }
        }
        self.stay_stored(&errand, &mut followed).await
    }

    async fn tell_all(&self, errand: &Errand) {
        for signal in &errand.told {
            self.tell(signal.clone()).await;
        }
    }

    /// Makes of the files what the job wants, unless an earlier process did. Only then tickets are of use.
    async fn make(&mut self, errand: &mut Errand, followed: &mut Followed) -> Result<(), Stop> {
        let Some(making) = self.dispatch.making.clone() else { return Ok(()) };
        if errand.told.iter().any(|signal| matches!(signal, Signal::Made { .. })) {
            return Ok(());
        }
        let processor = self.shared.host.processor.clone();
        let work = errand.courier.make_all(&errand.ledger, &making, &processor).boxed();
        let batch = self.meanwhile(errand, &mut followed.recalls, work).await?.map_err(over)?;
        let signal = Signal::Made { files: batch.made, work: batch.work };
        errand.files = errand.ledger.len().await;
        errand.told.push(signal.clone());
        self.tell(signal).await;
        Ok(())
    }

    /// What an earlier process noted, without what it made if any of that is not there any more: it is made again.
    pub(super) async fn usable(&self, manifest: Manifest) -> (Vec<Item>, Option<Vec<MadeOf>>) {
        let Manifest { mut files, made, .. } = manifest;
        for item in files.iter().filter(|item| item.stored.is_none()) {
            let Some(spooled) = item.spooled.as_ref().filter(|_| item.found.source == Source::Made) else {
                continue;
            };
            if !self.shared.host.spool.has(self.attempt, &spooled.file).await {
                files.retain(|item| item.found.source != Source::Made);
                return (files, None);
            }
        }
        (files, made)
    }

    fn errand(&self, items: Vec<Item>, made: Option<Vec<MadeOf>>) -> Errand {
        let host = &self.shared.host;
        let courier = Courier {
            comfy: self.shared.comfy.clone(),
            spool: host.spool.clone(),
            attempt: self.attempt,
            original: self.original.clone(),
            max_output_bytes: self.dispatch.max_output_bytes,
            max_png_text_bytes: host.config.max_png_text_bytes,
            local_lasts: if items.len() == 1 && self.dispatch.making.is_none() {
                Lasts::Placed
            } else {
                Lasts::Bytes
            },
            lanes: host.lanes.clone(),
            uploads: host.uploads.clone(),
            outside_uploads: host.outside_uploads.clone(),
            desk: host.config.desk.clone(),
            times: host.config.times.clone(),
        };
        let listed = items.iter().filter(|item| item.found.source != Source::Made);
        let executed = Signal::Executed { files: listed.map(|item| item.found.listed.clone()).collect() };
        let mut told: Vec<Signal> =
            self.record.clone().map(Signal::Record).into_iter().chain([executed]).collect();
        // what it cost was told when it was made
        told.extend(made.clone().map(|files| Signal::Made { files, work: PictureWork::default() }));
        Errand {
            courier,
            files: items.len(),
            told,
            ledger: Ledger::new(
                host.spool.clone(),
                self.attempt,
                (self.prompt.clone(), self.record.clone()),
                items,
                made,
            ),
        }
    }

    /// Does the work and answers whoever asks in the meantime.
    async fn meanwhile<T>(
        &self,
        errand: &Errand,
        recalls: &mut u64,
        work: BoxFuture<'_, T>,
    ) -> Result<T, Stop> {
        let mut orders = self.orders.clone();
        let answering = async {
            loop {
                let asked = orders.borrow_and_update().recalls;
                if asked > *recalls {
                    self.tell_all(errand).await;
                    *recalls = asked;
                }
                if orders.changed().await.is_err() {
                    return std::future::pending::<Infallible>().await;
                }
            }
        };
        self.unless_withdrawn(async {
            tokio::select! {
                never = answering => match never {},
                done = work => done,
            }
        })
        .await
    }

    /// Waits for tickets that were not used yet. Meanwhile what ComfyUI could lose is spooled.
    async fn next_tickets(&mut self, errand: &Errand, followed: &mut Followed) -> Result<Arc<Tickets>, Stop> {
        let times = &errand.courier.times;
        let mut pause = times.spool_after;
        let (mut kept, mut mistaken) = (false, false);
        loop {
            let orders = self.orders.borrow_and_update().clone();
            if orders.settled {
                return Err(Stop::Withdrawn);
            }
            if let Some((count, tickets)) = orders.tickets.filter(|(count, _)| *count > followed.grants) {
                followed.grants = count;
                if tickets.tickets.len() == errand.files {
                    return Ok(tickets);
                }
                tracing::error!(job = %self.attempt.job, tickets = tickets.tickets.len(), files = errand.files, "tickets do not match");
                mistaken = true;
            }
            if std::mem::replace(&mut followed.recalls, orders.recalls) < orders.recalls {
                self.tell_all(errand).await;
            }
            let mut orders = self.orders.clone();
            let changed = self.unless_withdrawn(tokio::time::timeout(pause, orders.changed())).await?;
            if changed.is_ok() {
                continue;
            }
            if !std::mem::replace(&mut kept, true) {
                self.meanwhile(errand, &mut followed.recalls, self.keep(errand).boxed()).await??;
            }
            pause = times.ticket_retry;
            if std::mem::take(&mut mistaken) {
                // whoever grants another number does not know the list
                self.tell_all(errand).await;
            }
            self.tell(Signal::NeedTickets).await;
        }
    }

    /// Spools what there is room for; the rest stays at ComfyUI.
    async fn keep(&self, errand: &Errand) -> Result<(), Stop> {
        for index in 0..errand.files {
            match errand.courier.spool(index, &errand.ledger).await {
                Ok(_) | Err(DeliveryError::NeverFits(_)) => {}
                Err(error @ (DeliveryError::Full | DeliveryError::Host(_))) => {
                    tracing::warn!(%error, job = %self.attempt.job, index, "output stays at its instance");
                }
                Err(error) => return Err(over(error)),
            }
        }
        Ok(())
    }

    /// Lets time pass before another try; by then ComfyUI need not have the files any more.
    async fn wait(&self, errand: &Errand, pause: Duration) -> Result<(), Stop> {
        self.keep(errand).await?;
        tokio::time::sleep(pause).await;
        Ok(())
    }

    async fn deliver(&self, errand: &Errand, given: &Tickets) -> Result<Round, Stop> {
        let tickets = &given.tickets;
        if tickets.iter().any(|ticket| !is_file(ticket)) {
            // a bucket may be away for hours
            self.keep(errand).await?;
        }
        // what lies in the spool goes first: the others may have to wait for its room
        let (first, then) = errand.ledger.spooled_first().await;
        let in_order = first.into_iter().chain(then).filter_map(|index| Some((index, tickets.get(index)?)));
        let deliver = |(index, ticket)| {
            errand.courier.deliver(index, &errand.ledger, ticket, given.receipt(index)).boxed()
        };
        let deliveries: Vec<_> = in_order.map(deliver).collect();
        let results: Vec<Result<(), DeliveryError>> =
            stream::iter(deliveries).buffer_unordered(AT_ONCE).collect().await;
        let mut round = Round::Stored;
        for error in results.into_iter().filter_map(Result::err) {
            round = round.max(self.judge(error)?);
        }
        let unsynced = if errand.courier.local_lasts == Lasts::Bytes { folders(tickets) } else { Vec::new() };
        if let Err(error) = sync_folders(unsynced).await {
            tracing::error!(%error, job = %self.attempt.job, "artifact folder not synced, trying again");
            for (index, _) in tickets.iter().enumerate().filter(|(_, ticket)| is_file(ticket)) {
                errand.ledger.doubt(index).await;
            }
            return Ok(Round::NotNow);
        }
        Ok(round)
    }

    /// What a file that was not delivered means for its round.
    fn judge(&self, error: DeliveryError) -> Result<Round, Stop> {
        match error {
            DeliveryError::Expired => Ok(Round::NeedTickets),
            DeliveryError::Refused(_) | DeliveryError::Host(_) | DeliveryError::Full => {
                tracing::error!(%error, job = %self.attempt.job, "output not delivered, trying again");
                Ok(Round::NotNow)
            }
            error => Err(over(error)),
        }
    }

    /// Tells that all is stored, as often as it is asked, until it is committed. Who asks may have lost the list.
    async fn stay_stored(&mut self, errand: &Errand, followed: &mut Followed) -> Result<(), Stop> {
        let stored = Signal::Stored { files: errand.ledger.all_stored().await.unwrap_or_default() };
        loop {
            let orders = self.orders.borrow_and_update().clone();
            if orders.settled {
                return Ok(());
            }
            if std::mem::replace(&mut followed.recalls, orders.recalls) < orders.recalls {
                self.tell_all(errand).await;
            }
            self.tell(stored.clone()).await;
            let mut orders = self.orders.clone();
            if self.unless_withdrawn(orders.changed()).await?.is_err() {
                return Ok(());
            }
        }
    }
}

fn is_file(ticket: &Ticket) -> bool {
    matches!(ticket, Ticket::File { .. })
}

/// The folders that files were renamed into.
fn folders(tickets: &[Ticket]) -> Vec<PathBuf> {
    let folders: BTreeSet<PathBuf> = tickets
        .iter()
        .filter_map(|ticket| match ticket {
            Ticket::File { path } => path.parent().map(PathBuf::from),
            Ticket::Http { .. } | Ticket::Form { .. } | Ticket::BySize { .. } => None,
        })
        .collect();
    folders.into_iter().collect()
}

/// How an attempt ends whose files can never be delivered.
fn over(error: DeliveryError) -> Stop {
    match error {
        DeliveryError::Gone(message) => Stop::lost(AttemptEnd::OutputsGone, message),
        DeliveryError::Unservable { node, message } => {
            Stop::Over(Signal::NodeFailed(NodeError { node_id: Some(node), message, ..NodeError::default() }))
        }
        DeliveryError::Undeliverable { code, message } => {
            Stop::Over(Signal::Undeliverable { code: code.to_owned(), message })
        }
        DeliveryError::TooLarge(message) | DeliveryError::NeverFits(message) => {
            Stop::Over(Signal::OutputTooLarge { message })
        }
        error @ (DeliveryError::Host(_)
        | DeliveryError::Refused(_)
        | DeliveryError::Expired
        | DeliveryError::Full) => Stop::lost(AttemptEnd::HostFault, error.to_string()),
    }
}
