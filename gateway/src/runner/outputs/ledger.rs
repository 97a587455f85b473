//! What is known of an attempt's files while they are handed over, written down where it must outlive the runner.

use std::sync::Arc;

use tokio::sync::Mutex;

use super::spool::{Item, Manifest, Spool, Spooled};
use crate::link::message::{Attempt, StoredFile};

/// The files of one attempt.
#[derive(Debug)]
pub(crate) struct Ledger {
    spool: Arc<Spool>,
    attempt: Attempt,
    /// Its id at ComfyUI.
    prompt: String,
    /// Locked while the manifest is written, so that the newest is written last.
    items: Mutex<Vec<Item>>,
}

impl Ledger {
    pub(crate) fn new(spool: Arc<Spool>, attempt: Attempt, prompt: String, items: Vec<Item>) -> Self {
        Self { spool, attempt, prompt, items: Mutex::new(items) }
    }

    /// What is known of a file; `None`: there is no such file.
    pub(crate) async fn item(&self, index: usize) -> Option<Item> {
        self.items.lock().await.get(index).cloned()
    }

    /// Every file's facts, once all are stored.
    pub(crate) async fn all_stored(&self) -> Option<Vec<StoredFile>> {
        self.items.lock().await.iter().map(|item| item.stored.clone()).collect()
    }

    /// The indices of the files that lie in the spool, and those of the others.
    pub(crate) async fn spooled_first(&self) -> (Vec<usize>, Vec<usize>) {
        let items = self.items.lock().await;
        (0..items.len()).partition(|index| items.get(*index).is_some_and(|item| item.spooled.is_some()))
    }

    /// A file lies in the spool from now on.
    pub(crate) async fn spooled(&self, index: usize, spooled: Spooled) {
        let mut items = self.items.lock().await;
        if let Some(item) = items.get_mut(index) {
            item.spooled = Some(spooled);
            self.write_down(&items).await;
        }
    }

    /// A file is where its ticket said, on this host: nothing is written down, it is delivered again if need be.
    pub(crate) async fn placed(&self, index: usize, facts: StoredFile) {
        if let Some(item) = self.items.lock().await.get_mut(index) {
            item.stored = Some(facts);
        }
    }

    /// A file is in its bucket: its facts are all that is kept of it, and it makes room for others.
    pub(crate) async fn uploaded(&self, index: usize, facts: StoredFile) {
        let mut items = self.items.lock().await;
        let Some(item) = items.get_mut(index) else { return };
        item.stored = Some(facts);
        let spooled = item.spooled.take();
        if self.write_down(&items).await
            && let Some(spooled) = spooled
        {
            self.spool.release(self.attempt, &spooled.file).await;
        }
    }

    /// A file may not last where it was put.
    pub(crate) async fn doubt(&self, index: usize) {
        if let Some(item) = self.items.lock().await.get_mut(index) {
            item.stored = None;
        }
    }

    async fn write_down(&self, items: &[Item]) -> bool {
        let manifest = Manifest { prompt: self.prompt.clone(), files: items.to_vec() };
        let written = self.spool.remember(self.attempt, &manifest).await;
        written
            .inspect_err(|error| tracing::warn!(%error, job = %self.attempt.job, "manifest not written"))
            .is_ok()
    }
}
