//! One ComfyUI server: contact, socket, catalogue, and a task for each attempt on it.

mod board;
mod contact;
mod drive;
mod find;
mod follow;
mod hand_over;
mod reader;
mod remove;
mod shared;
mod stage;
mod submit;

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::future::FutureExt as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use self::drive::{Driver, Origin};
use self::shared::Shared;
pub(super) use self::shared::{Homes, Host};
use super::comfy::Comfy;
use super::config::InstanceConfig;
use crate::link::message::{Attempt, Command, InstanceName, Report};

/// Commands that may wait for an instance.
const COMMANDS: usize = 1024;

/// The host's hold on an instance.
#[derive(Debug)]
pub(super) struct Handle {
    pub name: InstanceName,
    pub commands: mpsc::Sender<Command>,
}

/// Starts the tasks of an instance; they end when `closing` is cancelled.
pub(super) fn start(
    host: Host,
    config: InstanceConfig,
    comfy: Comfy,
    closing: &CancellationToken,
    tasks: &TaskTracker,
) -> Handle {
    let shared = Arc::new(Shared::new(host, config, comfy));
    let (commands, receiver) = mpsc::channel(COMMANDS);
    let handle = Handle { name: shared.name.clone(), commands };
    let keeping = shared.clone();
    spawn(tasks, closing, async move { contact::keep(keeping).await });
    let instance = Instance { shared, tasks: tasks.clone(), closing: closing.clone() };
    spawn(tasks, closing, instance.obey(receiver));
    handle
}

/// A task that ends at any await once the runner closes: whatever it did not finish is looked up later.
fn spawn(tasks: &TaskTracker, closing: &CancellationToken, work: impl Future<Output = ()> + Send + 'static) {
    // a combinator holds the work once; an async block around it would hold it twice, hundreds of times over
    tasks.spawn(work.with_cancellation_token_owned(closing.clone()));
}

/// Takes the commands of one instance.
struct Instance {
    shared: Arc<Shared>,
    tasks: TaskTracker,
    closing: CancellationToken,
}

impl Instance {
    async fn obey(self, mut commands: mpsc::Receiver<Command>) {
        while let Some(command) = commands.recv().await {
            self.handle(command);
        }
    }

    /// Never waits: what takes time becomes a task or a word to one.
    fn handle(&self, command: Command) {
        match command {
            Command::Dispatch(dispatch) => self.drive(dispatch, Origin::Fresh),
            Command::LookUp { dispatch, maybe_in_flight } => {
                self.drive(dispatch, Origin::Known { maybe_in_flight })
            }
            Command::Withdraw { attempt, prompt, .. } => {
                if !self.shared.board.withdraw(attempt) {
                    self.remove(attempt, prompt);
                }
            }
            Command::Preempt { attempt, prompt, .. } => match self.shared.board.slot(attempt) {
                Some(slot) => {
                    self.spawn(remove::unless_ended(self.shared.clone(), slot, attempt, prompt));
                }
                None => self.remove(attempt, prompt),
            },
            Command::Grant { attempt, tickets, receipts } => match self.shared.board.slot(attempt) {
                Some(slot) => slot.grant(board::Tickets { tickets, receipts }),
                None => tracing::debug!(job = %attempt.job, "tickets for an attempt that is not here"),
            },
            Command::Settle { attempt } => match self.shared.board.slot(attempt) {
                Some(slot) => slot.orders.send_modify(|orders| orders.settled = true),
                None => self.spawn(sweep(self.shared.clone(), attempt)),
            },
            Command::Free { .. } => self.spawn(free(self.shared.clone())),
            Command::Restart { .. } => self.spawn(cannot_restart(self.shared.clone())),
            Command::SendCatalogue { .. } => self.spawn(contact::send_catalogue(self.shared.clone())),
            Command::Welcome { .. } | Command::Forward(_) | Command::ForwardMore { .. } => {}
        }
    }

    /// Removes what this runner does not know.
    fn remove(&self, attempt: Attempt, prompt: Uuid) {
        // in the meantime it is known, so that a repeated withdrawal is not carried out twice
        if self.shared.enter(attempt).is_some() {
            self.spawn(remove::unknown(self.shared.clone(), attempt, prompt));
        }
    }

    fn drive(&self, dispatch: Box<crate::link::message::Dispatch>, origin: Origin) {
        let attempt = dispatch.attempt;
        match self.shared.enter(attempt) {
            Some((slot, hints)) => {
                self.spawn(Driver::new(self.shared.clone(), dispatch, slot, hints).drive(origin));
            }
            // known already: it tells again where it stands
            None => {
                if let Some(slot) = self.shared.board.slot(attempt) {
                    slot.orders.send_modify(|orders| orders.recalls += 1);
                }
            }
        }
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        spawn(&self.tasks, &self.closing, work);
    }
}

async fn free(shared: Arc<Shared>) {
    if let Err(error) = shared.comfy.free().await {
        tracing::warn!(instance = %shared.name, error = error.words(), "instance not freed");
    }
}

async fn cannot_restart(shared: Arc<Shared>) {
    tracing::warn!(instance = %shared.name, "a restart is wanted, but nothing supervises the instance");
    if !shared.contact.borrow().up {
        let reason = "it has to be restarted, and nothing supervises it".to_owned();
        let _ =
            shared.host.reports.send(Report::InstanceDown { instance: shared.name.clone(), reason }).await;
    }
}

/// Drops what this host holds of an attempt: spool, and files in its own folder of ComfyUI's output folder.
async fn sweep(shared: Arc<Shared>, attempt: Attempt) {
    shared.host.spool.drop_attempt(attempt).await;
    let Some(output) = shared.config.output_folder.clone() else { return };
    let job = output.join(attempt.job.to_string());
    let folder = job.join(attempt.number.to_string());
    let swept = super::outputs::sink::blocking(move || {
        match std::fs::remove_dir_all(folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // another attempt of the job may still have files there
        let _ = std::fs::remove_dir(job);
        Ok(())
    });
    if let Err(error) = swept.await {
        tracing::warn!(%error, job = %attempt.job, "output folder not swept");
    }
}
