//! What is known of an attempt's files while they are handed over, written down where it must outlive the runner.

use std::sync::Arc;

use tokio::sync::Mutex;

use super::spool::{Item, Manifest, Spool, Spooled};
use crate::link::message::{Attempt, MadeOf, StoredFile};

/// The files of one attempt.
#[derive(Debug)]
pub(crate) struct Ledger {
    spool: Arc<Spool>,
    attempt: Attempt,
    /// Its id at ComfyUI.
    prompt: String,
    /// What the history says of it.
    record: Option<Arc<str>>,
    /// Locked while the manifest is written, so that the newest is written last.
    entries: Mutex<Entries>,
}

/// The files: those that were listed, then those that were made of them.
#[derive(Debug)]
struct Entries {
    items: Vec<Item>,
    made: Option<Vec<MadeOf>>,
}

impl Ledger {
    pub(crate) fn new(
        spool: Arc<Spool>,
        attempt: Attempt,
        (prompt, record): (String, Option<Arc<str>>),
        items: Vec<Item>,
        made: Option<Vec<MadeOf>>,
    ) -> Self {
        Self { spool, attempt, prompt, record, entries: Mutex::new(Entries { items, made }) }
    }

    /// What is known of a file; `None`: there is no such file.
    pub(crate) async fn item(&self, index: usize) -> Option<Item> {
        self.entries.lock().await.items.get(index).cloned()
    }

    /// How many files there are.
    pub(crate) async fn len(&self) -> usize {
        self.entries.lock().await.items.len()
    }

    /// Every file's facts, once all are stored.
    pub(crate) async fn all_stored(&self) -> Option<Vec<StoredFile>> {
        self.entries.lock().await.items.iter().map(|item| item.stored.clone()).collect()
    }

    /// The indices of the files that lie in the spool, and those of the others.
    pub(crate) async fn spooled_first(&self) -> (Vec<usize>, Vec<usize>) {
        let items = &self.entries.lock().await.items;
        (0..items.len()).partition(|index| items.get(*index).is_some_and(|item| item.spooled.is_some()))
    }

    /// A file lies in the spool from now on.
    pub(crate) async fn spooled(&self, index: usize, spooled: Spooled) {
        let mut entries = self.entries.lock().await;
        if let Some(item) = entries.items.get_mut(index) {
            item.spooled = Some(spooled);
            self.write_down(&entries).await;
        }
    }

    /// All was made of the listed files that is to be made, and lies in the spool.
    pub(crate) async fn made(&self, made: Vec<MadeOf>, items: Vec<Item>) {
        let mut entries = self.entries.lock().await;
        entries.items.extend(items);
        entries.made = Some(made);
        self.write_down(&entries).await;
    }

    /// A file is where its ticket said, on this host: nothing is written down, it is delivered again if need be.
    pub(crate) async fn placed(&self, index: usize, facts: StoredFile) {
        if let Some(item) = self.entries.lock().await.items.get_mut(index) {
            item.stored = Some(facts);
        }
    }

    /// A file is in its bucket: its facts are all that is kept of it, and it makes room for others.
    pub(crate) async fn uploaded(&self, index: usize, facts: StoredFile) {
        let mut entries = self.entries.lock().await;
        let Some(item) = entries.items.get_mut(index) else { return };
        item.stored = Some(facts);
        let spooled = item.spooled.take();
        // an original may be delivered as it is, to another store
        let is_shared = |file: &str| {
            let files = entries.items.iter().filter_map(|item| item.spooled.as_ref());
            files.into_iter().any(|other| other.file == file)
        };
        let unneeded = spooled.filter(|spooled| !is_shared(&spooled.file));
        if self.write_down(&entries).await
            && let Some(spooled) = unneeded
        {
            self.spool.release(self.attempt, &spooled.file).await;
        }
    }

    /// A file may not last where it was put.
    pub(crate) async fn doubt(&self, index: usize) {
        if let Some(item) = self.entries.lock().await.items.get_mut(index) {
            item.stored = None;
        }
    }

    async fn write_down(&self, entries: &Entries) -> bool {
        let manifest = Manifest {
            prompt: self.prompt.clone(),
            files: entries.items.clone(),
            made: entries.made.clone(),
            record: self.record.clone(),
        };
        let written = self.spool.remember(self.attempt, &manifest).await;
        written
            .inspect_err(|error| tracing::warn!(%error, job = %self.attempt.job, "manifest not written"))
            .is_ok()
    }
}
