//! A few requests at a time to one destination: a slow one fills its own share only.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use reqwest::Url;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Destinations remembered before those without requests are forgotten.
const TIDY_AT: usize = 1024;

/// The right to one request.
#[derive(Debug)]
pub(super) struct Permit {
    _share: Option<OwnedSemaphorePermit>,
    /// Keeps the destination remembered.
    _destination: Arc<Semaphore>,
}

/// Requests under way, by scheme, host and port.
pub(super) struct Destinations {
    each: usize,
    open: Mutex<HashMap<String, Weak<Semaphore>>>,
}

impl Destinations {
    pub(super) fn new(each: usize) -> Self {
        Self { each, open: Mutex::default() }
    }

    /// Waits for a turn at the URL's destination.
    pub(super) async fn enter(&self, url: &Url) -> Permit {
        let destination = self.destination(url.origin().ascii_serialization());
        // The semaphore is never closed; were it, the request would go without a bound rather than not at all.
        let share = destination.clone().acquire_owned().await.ok();
        Permit { _share: share, _destination: destination }
    }

    fn destination(&self, origin: String) -> Arc<Semaphore> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= TIDY_AT {
            open.retain(|_, destination| destination.strong_count() > 0);
        }
        if let Some(known) = open.get(&origin).and_then(Weak::upgrade) {
            return known;
        }
        let fresh = Arc::new(Semaphore::new(self.each));
        open.insert(origin, Arc::downgrade(&fresh));
        fresh
    }
}
