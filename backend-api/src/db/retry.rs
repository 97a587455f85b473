//! Trying again what a database that sleeps, drops connections or undid a transaction has not done.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use tracing::warn;

use super::{Database, Error, Transient};
use crate::error_chain::chain;

/// The first pause between tries; it doubles …
const PAUSE_FIRST: Duration = Duration::from_millis(25);
/// … up to this.
const PAUSE_MAX: Duration = Duration::from_secs(1);

impl Database {
    /// Runs `attempt`, and again from its start while the database loses or undoes it, within
    /// [`super::Options::retry_for`].
    ///
    /// A lost connection does not tell whether the last try was committed. So `attempt` has to be one of: reads only;
    /// one transaction whose repeat changes nothing (a conditional update, an insert under a unique reference that
    /// takes "there already" for an answer). Ids and secrets that it stores are made before it, not in it.
    ///
    /// # Errors
    /// The last try's.
    pub async fn retry<T, E, Attempt>(&self, attempt: impl Fn() -> Attempt) -> Result<T, E>
    where
        E: Transient + From<Error> + std::error::Error + 'static,
        Attempt: Future<Output = Result<T, E>>,
    {
        let bounds = &self.bounds;
        let mut pauses = Pauses::until(Instant::now() + bounds.retry_for);
        loop {
            let outcome = timeout(bounds.attempt_timeout, attempt()).await;
            let error = match outcome.unwrap_or_else(|_| Err(Error::Slow.into())) {
                Err(error) if error.is_transient() => error,
                settled => return settled,
            };
            if !pauses.pause().await {
                return Err(error);
            }
            self.retries.inc();
            warn!(error = %chain(&error), "database attempt is repeated");
        }
    }
}

/// Pauses that grow, until a deadline.
pub(super) struct Pauses {
    deadline: Instant,
    next: Duration,
}

impl Pauses {
    pub(super) fn until(deadline: Instant) -> Self {
        Self { deadline, next: PAUSE_FIRST }
    }

    /// Waits; false when the deadline leaves no room for another try.
    pub(super) async fn pause(&mut self) -> bool {
        let pause = self.next.mul_f64(0.5 + jitter());
        if Instant::now() + pause >= self.deadline {
            return false;
        }
        tokio::time::sleep(pause).await;
        self.next = (self.next * 2).min(PAUSE_MAX);
        true
    }
}

/// From 0 to 1; only has to differ between replicas.
fn jitter() -> f64 {
    f64::from(uuid::Uuid::new_v4().as_bytes()[0]) / 255.0
}
