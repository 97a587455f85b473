//! What is known of jobs beyond the store: who runs, how far, with which preview. A board entry lives while its job
//! is on an instance or somebody watches it; memory does not grow with the backlog.
//!
//! To show a job: look here *first*, then read its row. A row that has ended is the truth; otherwise the entry is at
//! least as new as the row.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use scheduler::Phase;
use tokio::sync::watch;
use uuid::Uuid;

use crate::link::message::{Preview, Progress};

/// How many transitions a slow watcher may miss before it is shown the present state only.
const TRANSITIONS_KEPT: usize = 32;

const SHARDS: usize = 16;

/// All live entries.
#[derive(Debug)]
pub struct Board {
    shards: [Mutex<HashMap<Uuid, Slot>>; SHARDS],
}

#[derive(Debug)]
struct Slot {
    live: Weak<Live>,
    /// Keeps the entry while the job is on an instance.
    held: Option<Arc<Live>>,
}

/// One job's live entry.
#[derive(Debug)]
pub struct Live {
    job: Uuid,
    state: Mutex<LiveState>,
    version: watch::Sender<u64>,
}

/// What a watcher sees.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveState {
    /// Where the job stands; `None` while nothing was heard since the entry was made.
    pub phase: Option<Phase>,
    /// The attempt the rest is about.
    pub attempt: u32,
    /// Name of the instance.
    pub instance: Option<Arc<str>>,
    /// When it started to run, milliseconds since the epoch.
    pub started_at: Option<i64>,
    /// Newest progress.
    pub progress: Option<Progress>,
    /// Newest preview, with a count of previews so far.
    pub preview: Option<(u64, Arc<Preview>)>,
    /// The latest transitions, oldest first, each with its running number from 1.
    pub transitions: Vec<(u64, Phase)>,
    /// Changes of the job's row that were committed since the entry was made: each time it counts up, the row has a
    /// newer revision.
    pub committed: u64,
}

/// A watcher's handle: keeps the entry alive and tells of changes.
#[derive(Debug, Clone)]
pub struct Watch {
    live: Arc<Live>,
    changes: watch::Receiver<u64>,
}

impl Default for Board {
    fn default() -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::new(HashMap::new())) }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere cannot leave these plain values half written.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Board {
    fn shard(&self, job: Uuid) -> MutexGuard<'_, HashMap<Uuid, Slot>> {
        let index = usize::from(job.as_bytes()[15]) % SHARDS;
        lock(&self.shards[index])
    }

    /// The entry's present state, if there is one.
    #[must_use]
    pub fn look(&self, job: Uuid) -> Option<LiveState> {
        let live = self.shard(job).get(&job)?.live.upgrade()?;
        let state = lock(&live.state).clone();
        Some(state)
    }

    /// Watches a job; makes its entry where there is none.
    #[must_use]
    pub fn watch(self: &Arc<Self>, job: Uuid) -> Watch {
        let live = self.entry(job, false);
        let changes = live.version.subscribe();
        Watch { live, changes }
    }

    /// Changes an entry, if there is one; `hold` makes it and keeps it.
    pub(super) fn update(&self, job: Uuid, hold: bool, change: impl FnOnce(&mut LiveState)) {
        let live = if hold {
            Some(self.entry(job, true))
        } else {
            self.shard(job).get(&job).and_then(|slot| slot.live.upgrade())
        };
        if let Some(live) = live {
            change(&mut lock(&live.state));
            live.version.send_modify(|version| *version += 1);
        }
    }

    /// Lets go of an entry: it ends with its last watcher.
    pub(super) fn release(&self, job: Uuid) {
        let mut shard = self.shard(job);
        let held = shard.get_mut(&job).and_then(|slot| slot.held.take());
        if shard.get(&job).is_some_and(|slot| slot.live.strong_count() <= usize::from(held.is_some())) {
            shard.remove(&job);
        }
        drop(shard);
        drop(held);
    }

    /// Forgets what was held: the engine is about to read everything again.
    pub(super) fn release_all(&self) {
        for shard in &self.shards {
            lock(shard).retain(|_, slot| {
                slot.held = None;
                slot.live.strong_count() > 0
            });
        }
    }

    /// Drops entries whose watchers have gone.
    pub(super) fn tidy(&self) {
        for shard in &self.shards {
            lock(shard).retain(|_, slot| slot.held.is_some() || slot.live.strong_count() > 0);
        }
    }

    fn entry(&self, job: Uuid, hold: bool) -> Arc<Live> {
        let mut shard = self.shard(job);
        let slot = shard.entry(job).or_insert_with(|| Slot { live: Weak::new(), held: None });
        let live = slot.live.upgrade().unwrap_or_else(|| {
            let fresh = Arc::new(Live {
                job,
                state: Mutex::new(LiveState {
                    phase: None,
                    attempt: 0,
                    instance: None,
                    started_at: None,
                    progress: None,
                    preview: None,
                    transitions: Vec::new(),
                    committed: 0,
                }),
                version: watch::Sender::new(0),
            });
            slot.live = Arc::downgrade(&fresh);
            fresh
        });
        if hold {
            slot.held = Some(live.clone());
        }
        live
    }
}

impl LiveState {
    /// Notes a transition.
    pub(super) fn step(&mut self, phase: Phase) {
        if self.phase == Some(phase) {
            return;
        }
        self.phase = Some(phase);
        let number = self.transitions.last().map_or(1, |(number, _)| number + 1);
        if self.transitions.len() == TRANSITIONS_KEPT {
            self.transitions.remove(0);
        }
        self.transitions.push((number, phase));
    }
}

impl Watch {
    /// The job that is watched.
    #[must_use]
    pub fn job(&self) -> Uuid {
        self.live.job
    }

    /// The present state.
    #[must_use]
    pub fn state(&mut self) -> LiveState {
        self.changes.borrow_and_update();
        lock(&self.live.state).clone()
    }

    /// Waits until the state changed since it was last read with [`Watch::state`].
    pub async fn changed(&mut self) {
        // The sender lives in the entry that we keep: it cannot be gone.
        let _ = self.changes.changed().await;
    }
}
