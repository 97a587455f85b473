//! The state of one running server process; gone when it dies.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::catalogue::{Classes, Folders};
use crate::config::Config;
use crate::faults::Faults;
use crate::files::{Files, Kind};
use crate::history::History;
use crate::nodes::Computed;
use crate::observed::Record;
use crate::queue::Queue;
use crate::simulator::Shared;
use crate::sockets::{Outbox, Sockets};
use crate::vram::Vram;

/// Milliseconds since 1970, as in every timestamp of the protocol.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The node running now and the client it runs for: told to a socket that reconnects (PROTOCOL §3).
#[derive(Debug, Default)]
pub(crate) struct Current {
    pub client: Option<String>,
    pub node: Option<String>,
}

/// What `POST /free` asked for, until the worker gets to it.
#[derive(Debug, Default)]
pub(crate) struct FreeFlags {
    pub unload_models: bool,
    pub free_memory: bool,
}

/// One server process.
pub(crate) struct Process {
    pub config: Arc<Config>,
    pub classes: Arc<Classes>,
    pub faults: Arc<Faults>,
    pub record: Arc<Record>,
    pub sockets: Sockets,
    /// Wakes the worker after a push.
    pub pushed: Notify,
    /// Set by `/interrupt`, cleared when the next prompt starts.
    pub interrupted: AtomicBool,
    shared: Weak<Shared>,
    queue: Mutex<Queue>,
    history: Mutex<History>,
    files: Mutex<Files>,
    vram: Mutex<Vram>,
    cache: Mutex<HashMap<blake3::Hash, Arc<Computed>>>,
    current: Mutex<Current>,
    free: Mutex<FreeFlags>,
    memory: Mutex<HashMap<String, Bytes>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Process {
    pub(crate) fn new(shared: &Arc<Shared>) -> (Process, Outbox) {
        let (sockets, outbox) = Sockets::new();
        let config = Arc::clone(&shared.config);
        let process = Process {
            classes: config.catalogue.classes(),
            faults: Arc::clone(&shared.faults),
            record: Arc::clone(&shared.record),
            sockets,
            pushed: Notify::new(),
            interrupted: AtomicBool::new(false),
            shared: Arc::downgrade(shared),
            queue: Mutex::default(),
            history: Mutex::new(History::new(config.history_capacity)),
            files: Mutex::new(Files::new()),
            vram: Mutex::new(Vram::new(config.device.vram_mib)),
            cache: Mutex::default(),
            current: Mutex::default(),
            free: Mutex::default(),
            memory: Mutex::default(),
            config,
        };
        (process, outbox)
    }

    pub(crate) fn queue(&self) -> MutexGuard<'_, Queue> {
        locked(&self.queue)
    }

    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        locked(&self.history)
    }

    pub(crate) fn files(&self) -> MutexGuard<'_, Files> {
        locked(&self.files)
    }

    pub(crate) fn vram(&self) -> MutexGuard<'_, Vram> {
        locked(&self.vram)
    }

    pub(crate) fn cache(&self) -> MutexGuard<'_, HashMap<blake3::Hash, Arc<Computed>>> {
        locked(&self.cache)
    }

    pub(crate) fn current(&self) -> MutexGuard<'_, Current> {
        locked(&self.current)
    }

    pub(crate) fn free(&self) -> MutexGuard<'_, FreeFlags> {
        locked(&self.free)
    }

    /// What `/sim_node/memory` holds.
    pub(crate) fn memory(&self) -> MutexGuard<'_, HashMap<String, Bytes>> {
        locked(&self.memory)
    }

    /// What COMBO lists are filled with now.
    pub(crate) fn folders(&self) -> Folders {
        Folders {
            checkpoints: self.config.checkpoints.clone(),
            loras: self.config.loras.clone(),
            inputs: self.files().names(Kind::Input),
        }
    }

    /// Tells everyone how much is queued.
    pub(crate) fn broadcast_status(&self) {
        let remaining = self.queue().remaining();
        self.sockets.broadcast_status(remaining);
    }

    /// Interrupts the running prompt, if it is this one or any will do. `true` when something was told to stop.
    pub(crate) fn interrupt(&self, prompt_id: Option<&str>) -> bool {
        let queue = self.queue();
        let running = queue.running();
        let hit = running.is_some_and(|item| prompt_id.is_none_or(|id| id == item.prompt_id));
        if hit || prompt_id.is_none() {
            self.interrupted.store(true, Ordering::SeqCst);
        }
        hit
    }

    /// Dies as by SIGKILL, from inside.
    pub(crate) fn die(&self, restart_after: Option<Duration>) {
        if let Some(shared) = self.shared.upgrade() {
            shared.die(restart_after);
        }
    }
}
