//! A few threads that read beside the writer. Each read sees committed data only and is over quickly, or the
//! write-ahead log could not be cut back.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::open;
use crate::store::{Result, StoreError};

/// Reads waiting for a thread; beyond, callers wait for room.
const WAITING_MAX: usize = 1024;

type Read = Box<dyn FnOnce(&mut Connection) + Send>;

/// The way to the reading threads. They end when it is gone.
pub(super) struct Readers {
    reads: mpsc::Sender<Read>,
}

impl Readers {
    /// Starts `count` threads, at least one, with a connection each.
    pub(super) fn start(path: &Path, count: usize) -> Result<Self> {
        let (reads, inbox) = mpsc::channel::<Read>(WAITING_MAX);
        let inbox = Arc::new(Mutex::new(inbox));
        for number in 0..count.max(1) {
            let mut connection = open::reader(path)?;
            let inbox = Arc::clone(&inbox);
            std::thread::Builder::new()
                .name(format!("store-reader-{number}"))
                .spawn(move || {
                    while let Some(read) = next(&inbox) {
                        read(&mut connection);
                    }
                })
                .map_err(|error| StoreError::Unavailable(format!("no thread for a reader: {error}")))?;
        }
        Ok(Self { reads })
    }

    /// Runs `read` on one of the threads. All its statements see one state of the store.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (reply, result) = oneshot::channel();
        let job: Read = Box::new(move |connection| {
            let _ = reply.send(read(connection)); // the caller may have left
        });
        self.reads.send(job).await.map_err(|_| gone())?;
        result.await.map_err(|_| gone())?
    }
}

fn next(inbox: &Mutex<mpsc::Receiver<Read>>) -> Option<Read> {
    inbox.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv()
}

fn gone() -> StoreError {
    StoreError::Unavailable("the reader threads have ended".into())
}
