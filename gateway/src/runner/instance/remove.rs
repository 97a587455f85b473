//! Takes a prompt away from ComfyUI: out of its queue, or interrupted by its own id, never globally.

use std::sync::Arc;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::board::Slot;
use super::find;
use super::shared::Shared;
use super::sweep;
use crate::link::message::{Attempt, Signal};
use crate::runner::attempt::Whereabouts;
use crate::runner::comfy::ComfyError;

/// A withdrawal of an attempt that this runner does not know: a stray, or one from before a restart.
pub(super) async fn unknown(shared: Arc<Shared>, attempt: Attempt, prompt: Uuid) {
    let prompt = prompt.to_string();
    until_gone(&shared, attempt, &prompt).await;
    sweep(shared.clone(), attempt).await;
    shared.leave(attempt);
    shared.signal(attempt, Signal::Stopped).await;
}

/// Has an attempt give its place up, unless its prompt has ended: its driver, who may not know yet, is about to hand its
/// outputs over, and nothing would be won by throwing them away.
pub(super) async fn unless_ended(shared: Arc<Shared>, slot: Arc<Slot>, attempt: Attempt, prompt: Uuid) {
    match find::by_mark(&shared, attempt, &prompt.to_string()).await {
        Ok((Whereabouts::Ended(_), _)) => {
            tracing::debug!(job = %attempt.job, "ended before its place could be taken");
        }
        Ok(_) | Err(_) => slot.withdraw_unless_done(),
    }
}

/// Returns when nothing of the prompt is queued or runs; for as long as it takes.
pub(super) async fn until_gone(shared: &Shared, attempt: Attempt, prompt: &str) {
    within(shared, attempt, prompt, None).await;
}

/// Tries to get rid of the prompt for some time; whether it is gone.
pub(super) async fn within(
    shared: &Shared,
    attempt: Attempt,
    prompt: &str,
    patience: Option<Duration>,
) -> bool {
    let begun = Instant::now();
    let mut pause = Duration::from_millis(10);
    loop {
        match step(shared, attempt, prompt).await {
            Ok(true) => return true,
            Ok(false) => {}
            Err(error) => {
                tracing::debug!(instance = %shared.name, error = error.words(), "prompt not removed yet");
            }
        }
        if patience.is_some_and(|patience| begun.elapsed() > patience) {
            return false;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(shared.host.config.times.poll_after);
    }
}

/// One round: whether nothing of it is left.
async fn step(shared: &Shared, attempt: Attempt, prompt: &str) -> Result<bool, ComfyError> {
    let (found, id) = find::by_mark(shared, attempt, prompt).await?;
    match found {
        Whereabouts::Ended(_) | Whereabouts::Nowhere => return Ok(true),
        // it may start meanwhile: the next round sees that
        Whereabouts::Pending { .. } => shared.comfy.delete(&id).await?,
        Whereabouts::Running => shared.comfy.interrupt(&id).await?,
    }
    Ok(false)
}
