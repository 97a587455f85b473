//! Waiting for a condition, never for a time.

use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::time::Instant;

/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Longest wait for anything a healthy system does; generous, as it only bounds how late a failure is told.
pub const SOON: Duration = Duration::from_secs(60);

/// Looks until there is an answer.
///
/// # Errors
/// When a look fails, or there is no answer `within` that time; the error tells `what` was waited for.
pub async fn until<T>(
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = look().await.with_context(|| format!("while waiting for {what}"))? {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            bail!("waited {within:?} in vain for {what}");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
