//! Runs of background work beside requests: when one begins, and that all of them end with the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::{millis, now};

/// Where runs of one kind of work go on. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Background {
    after_requests_every: Option<Duration>,
    last_run: Arc<AtomicI64>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Background {
    /// Requests begin a run at most so often; `None`: never.
    pub(crate) fn new(after_requests_every: Option<Duration>) -> Self {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        Self { after_requests_every, last_run: Arc::default(), tasks, stop }
    }

    /// A run begins, whoever wanted it.
    pub(crate) fn note_run(&self) {
        self.last_run.store(now(), Ordering::Relaxed);
    }

    /// Starts a run beside the caller unless one began a moment ago.
    pub(crate) fn nudge(&self, run: impl Future<Output = ()> + Send + 'static) {
        let Some(every) = self.after_requests_every else { return };
        let (at, last) = (now(), self.last_run.load(Ordering::Relaxed));
        let is_due = at - last >= millis(every);
        if is_due && self.last_run.compare_exchange(last, at, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.beside(run);
        }
    }

    /// Runs again and again beside the caller, after a pause each time.
    pub(crate) fn run_every<F: Future<Output = ()> + Send>(
        &self,
        pause: Duration,
        run: impl Fn() -> F + Send + Sync + 'static,
    ) {
        self.beside(async move {
            loop {
                tokio::time::sleep(pause).await;
                run().await;
            }
        });
    }

    /// Ends what runs beside others.
    pub(crate) async fn end(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn beside(&self, work: impl Future<Output = ()> + Send + 'static) {
        if !self.stop.is_cancelled() {
            let stop = self.stop.clone();
            self.tasks.spawn(async move { stop.run_until_cancelled(work).await });
        }
    }
}
