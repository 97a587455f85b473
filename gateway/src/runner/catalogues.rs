//! `/object_info` bodies: kept as hashes; one body at most waits until the engine asks for it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

/// Catalogues that are read at the same time; each is megabytes for a moment.
const AT_ONCE: usize = 2;

/// The catalogues of a host's instances.
#[derive(Debug)]
pub(super) struct Catalogues {
    /// The right to hold a body.
    pub reading: Semaphore,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    seen: HashSet<String>,
    waiting: Option<(String, Arc<str>)>,
}

impl Default for Catalogues {
    fn default() -> Self {
        Self { reading: Semaphore::new(AT_ONCE), kept: Mutex::default() }
    }
}

impl Catalogues {
    /// Takes a body in and tells its hash; `None` when it is not text.
    pub(super) fn take(&self, body: Vec<u8>) -> Option<String> {
        let hash = blake3::hash(&body).to_hex().to_string();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.seen.insert(hash.clone()) {
            kept.waiting = Some((hash.clone(), String::from_utf8(body).ok()?.into()));
        }
        Some(hash)
    }

    /// The body that waits, if it is this one. The engine asks once a hash, so it need not wait any longer.
    pub(super) fn give(&self, hash: &str) -> Option<Arc<str>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.waiting.take_if(|(known, _)| known == hash).map(|(_, body)| body)
    }
}
