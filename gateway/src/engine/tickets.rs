//! Upload tickets for the files of an attempt: minted by the store that takes a file, or asked of the caller.

use std::time::Duration;

use super::effects::Hands;
use super::outputs::Wanted;
use crate::artifacts::Reach;
use crate::delivery::{Delivery, Place};
use crate::link::local::Sender;
use crate::link::message::{Attempt, Command, Receipt, Signal, Ticket};
use crate::ticket_desk::{Ask, AskedFile, Granted, Role};

/// Pauses before a caller that gave no tickets is asked once more; then its runner asks again by itself.
const PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(1)];

/// A ticket, and what its owner calls the object.
type Given = (Ticket, Option<Receipt>);

impl Hands {
    /// Gives tickets for the files that an attempt listed and made. Where one cannot be had none are given: the runner
    /// asks again.
    pub(super) async fn grant(self, attempt: Attempt, wanted: Vec<Wanted>, link: Sender<Command>) {
        let given = match self.tickets(attempt, &wanted).await {
            Ok(given) => given,
            Err(problem) => {
                tracing::warn!(problem, job = %attempt.job, "no upload tickets");
                return self.give_up_in_time(attempt, &wanted, &problem);
            }
        };
        let (tickets, receipts): (Vec<_>, Vec<_>) = given.into_iter().unzip();
        let receipts = if receipts.iter().all(Option::is_none) { Vec::new() } else { receipts };
        self.send(&link, attempt, Command::Grant { attempt, tickets, receipts }).await;
    }

    async fn tickets(&self, attempt: Attempt, wanted: &[Wanted]) -> Result<Vec<Given>, String> {
        let mut asked = self.ask_caller(attempt, wanted).await?.into_iter();
        let mut given = Vec::with_capacity(wanted.len());
        for wanted in wanted {
            let next = match (&wanted.object.place, self.sinks.get(&wanted.object.place)) {
                (Place::Caller, _) => {
                    asked.next().map(|granted: Granted| (granted.ticket, Some(granted.receipt)))
                }
                (_, Some(sink)) => {
                    let Wanted { object, content_type, .. } = wanted;
                    let most = self.max_output_bytes;
                    let ticket =
                        sink.artifacts.upload_ticket(&object.key, content_type, most, Reach::Here).await;
                    Some((ticket.map_err(|error| error.to_string())?, None))
                }
                (place, None) => {
                    let name = place.sink().unwrap_or_default();
                    return Err(format!("the sink {name} is not configured any more"));
                }
            };
            given.extend(next);
        }
        Ok(given)
    }

    /// Tickets for those files that go to a bucket of the caller's.
    async fn ask_caller(&self, attempt: Attempt, wanted: &[Wanted]) -> Result<Vec<Granted>, String> {
        let files = asked_files(attempt, wanted);
        if files.is_empty() {
            return Ok(Vec::new());
        }
        let unavailable = |error: crate::store::StoreError| error.to_string();
        let body = self.store.body(attempt.job).await.map_err(unavailable)?;
        let delivery = body.and_then(|body| body.delivery);
        let url = delivery.as_deref().and_then(|delivery: &Delivery| delivery.ticket_url.as_ref());
        let url = url.ok_or("the job names nobody to ask")?;
        let row = self.store.job(attempt.job).await.map_err(unavailable)?.ok_or("the job is gone")?;
        let user = row.user.as_deref();
        let ask = Ask { job_id: attempt.job, attempt: attempt.number, user, files };
        let mut pauses = PAUSES.iter();
        loop {
            let answer = self.desk.ask(url, row.tenant, &ask).await;
            self.metrics.tickets_asked(answer.as_ref().err());
            match (answer, pauses.next()) {
                (Ok(granted), _) => return Ok(granted),
                (Err(error), None) => return Err(error.to_string()),
                (Err(error), Some(pause)) => {
                    tracing::debug!(%error, job = %attempt.job, "asking for tickets again");
                    tokio::time::sleep(*pause).await;
                }
            }
        }
    }

    /// The files of a job wait for a caller's tickets as long as they would be kept, and not for ever.
    fn give_up_in_time(&self, attempt: Attempt, wanted: &[Wanted], problem: &str) {
        let waits_for_others = wanted.iter().any(|wanted| wanted.object.place != Place::Own);
        let accepted_at = i64::try_from(attempt.job.as_u128() >> 80).unwrap_or(i64::MAX);
        let now = jiff::Timestamp::now().as_millisecond();
        if waits_for_others && now.saturating_sub(accepted_at) > self.retention_ms {
            let message = format!("there were no upload tickets in time: {problem}");
            self.give_back(attempt, Signal::Undeliverable { code: "tickets_refused".into(), message });
        }
    }
}

fn asked_files(attempt: Attempt, wanted: &[Wanted]) -> Vec<AskedFile<'_>> {
    let files = wanted.iter().filter_map(|wanted| Some((wanted, wanted.told.as_ref()?)));
    files
        .enumerate()
        .map(|(index, (wanted, told))| AskedFile {
            index,
            output_id: attempt.output_id(told.of),
            role: if told.variant.is_some() { Role::Variant } else { Role::Primary },
            variant: told.variant.as_deref(),
            name: &told.name,
            content_type: &wanted.content_type,
            size_bytes: told.size_bytes,
            hash: format!("blake3:{}", told.hash),
        })
        .collect()
}
