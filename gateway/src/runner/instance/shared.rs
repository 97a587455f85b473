//! What the tasks of one instance share.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{Notify, Semaphore, mpsc, watch};
use uuid::Uuid;

use super::board::{Board, Hint, Slot};
use crate::link::local::Sender;
use crate::link::message::{Attempt, InstanceName, Report, Signal};
use crate::runner::binding::Binding;
use crate::runner::catalogues::Catalogues;
use crate::runner::comfy::Comfy;
use crate::runner::comfy::wire::{Queue, QueueItem};
use crate::runner::config::{Config, InstanceConfig};
use crate::runner::outputs::process::Processor;
use crate::runner::outputs::spool::Spool;

/// Strays remembered as reported, at most; then some may be reported again.
const STRAYS: usize = 1024;

/// What all instances of a host share.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    pub config: Arc<Config>,
    pub reports: Sender<Report>,
    /// Known once the engine said welcome.
    pub cell: watch::Receiver<Option<Uuid>>,
    pub spool: Arc<Spool>,
    pub lanes: Arc<Semaphore>,
    pub processor: Processor,
    pub bucket: reqwest::Client,
    /// For files on their way to buckets.
    pub uploads: reqwest::Client,
    /// For buckets of callers.
    pub outside_uploads: reqwest::Client,
    pub catalogues: Arc<Catalogues>,
    pub homes: Arc<Homes>,
}

/// Which instance has an attempt: tickets and settlements do not say.
#[derive(Debug, Default)]
pub(crate) struct Homes(Mutex<HashMap<Attempt, InstanceName>>);

impl Homes {
    fn inner(&self) -> MutexGuard<'_, HashMap<Attempt, InstanceName>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn of(&self, attempt: Attempt) -> Option<InstanceName> {
        self.inner().get(&attempt).cloned()
    }
}

/// The state of the way to an instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Contact {
    /// It answers.
    pub up: bool,
    /// The id of the open socket.
    pub socket: Option<Arc<str>>,
}

/// Why an instance gets no work although it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stuck {
    /// Prompts wait and nothing runs.
    DeadWorker,
    /// This prompt hangs and cannot be interrupted.
    Hung(String),
}

/// One instance.
#[derive(Debug)]
pub(super) struct Shared {
    pub host: Host,
    pub name: InstanceName,
    pub config: InstanceConfig,
    pub comfy: Comfy,
    pub board: Board,
    pub contact: watch::Sender<Contact>,
    pub stuck: watch::Sender<Option<Stuck>>,
    pub binding: Binding,
    /// POSTs go out one at a time.
    pub posting: tokio::sync::Mutex<()>,
    /// Asks for another socket: this one is deaf.
    pub deaf: Notify,
    memory: Mutex<Memory>,
}

/// What is remembered of the instance's present life.
#[derive(Debug, Default)]
struct Memory {
    staged: HashMap<String, String>,
    last_number: Option<f64>,
    status_at: Option<Instant>,
    strays: HashSet<String>,
    catalogue: Option<String>,
    /// The process is a new one, and the engine was not told yet.
    restarted: bool,
}

impl Shared {
    pub(super) fn new(host: Host, config: InstanceConfig, comfy: Comfy) -> Self {
        Self {
            host,
            name: config.name.as_str().into(),
            binding: Binding::default(),
            config,
            comfy,
            board: Board::default(),
            contact: watch::Sender::default(),
            stuck: watch::Sender::default(),
            posting: tokio::sync::Mutex::default(),
            deaf: Notify::new(),
            memory: Mutex::default(),
        }
    }

    /// Takes an attempt in; `None` when it is here already.
    pub(super) fn enter(&self, attempt: Attempt) -> Option<(Arc<Slot>, mpsc::Receiver<Hint>)> {
        let entered = self.board.enter(attempt)?;
        self.host.homes.inner().insert(attempt, self.name.clone());
        Some(entered)
    }

    /// Forgets an attempt.
    pub(super) fn leave(&self, attempt: Attempt) {
        self.board.leave(attempt);
        self.host.homes.inner().remove(&attempt);
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the engine of an attempt. When the link is gone there is nobody to tell.
    pub(super) async fn signal(&self, attempt: Attempt, signal: Signal) {
        let _ = self.host.reports.send(Report::Attempt { attempt, signal }).await;
    }

    /// The hash of its catalogue, once read.
    pub(super) fn catalogue(&self) -> Option<String> {
        self.memory().catalogue.clone()
    }

    pub(super) fn set_catalogue(&self, hash: Option<String>) {
        self.memory().catalogue = hash;
    }

    pub(super) fn staged(&self, hash: &str) -> Option<String> {
        self.memory().staged.get(hash).cloned()
    }

    pub(super) fn remember_staged(&self, hash: &str, name: String) {
        self.memory().staged.insert(hash.to_owned(), name);
    }

    /// The instance may have been restarted: nothing staged is sure to be there.
    pub(super) fn forget_life(&self) {
        let mut memory = self.memory();
        memory.staged.clear();
    }

    /// The process was gone: what comes back is a new one.
    pub(super) fn saw_it_gone(&self) {
        let mut memory = self.memory();
        memory.last_number = None;
        memory.restarted = true;
    }

    /// Tells the engine once that the process is a new one.
    pub(super) async fn tell_restart(&self) {
        if std::mem::take(&mut self.memory().restarted) {
            let report = Report::InstanceRestarted { instance: self.name.clone() };
            let _ = self.host.reports.send(report).await;
        }
    }

    /// Notes the `number` of a reply; one below the last means a restart (PROTOCOL §8.3).
    pub(super) fn saw_number(&self, number: f64) {
        let restarted = self.memory().last_number.is_some_and(|last| number < last);
        if restarted {
            tracing::info!(instance = %self.name, "instance was restarted");
            self.forget_life();
            self.saw_it_gone();
        }
        self.memory().last_number = Some(number);
    }

    pub(super) fn saw_status(&self) {
        self.memory().status_at = Some(Instant::now());
    }

    /// Whether a `status` came since then (PROTOCOL §8.3).
    pub(super) fn status_since(&self, since: Instant) -> bool {
        self.memory().status_at.is_some_and(|at| at >= since)
    }

    /// Reports prompts with our mark that no attempt here owns, each once.
    pub(super) async fn report_strays<'a>(&self, items: impl Iterator<Item = &'a QueueItem>, ended: bool) {
        let Some(cell) = *self.host.cell.borrow() else { return };
        for item in items {
            let Some(mark) = item.mark.filter(|mark| mark.cell == cell) else { continue };
            let Ok(prompt) = item.id.parse::<Uuid>() else { continue };
            if self.board.slot(mark.attempt()).is_some() || !self.first_sight(&item.id) {
                continue;
            }
            let stray = Report::Stray { instance: self.name.clone(), attempt: mark.attempt(), prompt, ended };
            let _ = self.host.reports.send(stray).await;
        }
    }

    fn first_sight(&self, prompt: &str) -> bool {
        let strays = &mut self.memory().strays;
        if strays.len() >= STRAYS {
            strays.clear();
        }
        strays.insert(prompt.to_owned())
    }

    /// Every prompt in a queue.
    pub(super) async fn report_strays_of(&self, queue: &Queue) {
        self.report_strays(queue.queue_running.iter().chain(&queue.queue_pending), false).await;
    }
}
