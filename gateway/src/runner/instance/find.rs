//! Where a prompt is: history and queue are the truth (PROTOCOL §8.2).

use super::shared::Shared;
use crate::link::message::Attempt;
use crate::runner::attempt::Whereabouts;
use crate::runner::comfy::ComfyError;
use crate::runner::comfy::wire::{Mark, Queue, QueueItem};

/// Newest history entries that are searched by mark when the prompt's id is not known.
const HISTORY_SEARCHED: usize = 32;

/// Looks a prompt up by its id.
pub(super) async fn by_id(shared: &Shared, prompt: &str) -> Result<Whereabouts, ComfyError> {
    if let Some(entry) = shared.comfy.history(prompt).await? {
        return Ok(Whereabouts::Ended(Box::new(entry)));
    }
    let queue = shared.comfy.queue().await?;
    shared.report_strays_of(&queue).await;
    if let Some((found, _)) = in_queue(&queue, |item| item.id == prompt) {
        return Ok(found);
    }
    // it may have ended between the two
    let entry = shared.comfy.history(prompt).await?;
    Ok(entry.map_or(Whereabouts::Nowhere, |entry| Whereabouts::Ended(Box::new(entry))))
}

/// Looks an attempt up whose prompt may have another id than ours (older ComfyUI, DESIGN §13): by id, else by our
/// mark. Tells the id it has.
pub(super) async fn by_mark(
    shared: &Shared,
    attempt: Attempt,
    prompt: &str,
) -> Result<(Whereabouts, String), ComfyError> {
    let queue = shared.comfy.queue().await?;
    let ours = |item: &QueueItem| item.id == prompt || is_of(item.mark, attempt);
    if let Some(found) = in_queue(&queue, ours) {
        return Ok(found);
    }
    if let Some(entry) = shared.comfy.history(prompt).await? {
        return Ok((Whereabouts::Ended(Box::new(entry)), prompt.to_owned()));
    }
    let recent = shared.comfy.recent_history(HISTORY_SEARCHED).await?;
    let found = recent.into_iter().find(|(_, entry)| is_of(entry.prompt.mark, attempt));
    Ok(match found {
        Some((id, entry)) => (Whereabouts::Ended(Box::new(entry)), id),
        None => (Whereabouts::Nowhere, prompt.to_owned()),
    })
}

fn is_of(mark: Option<Mark>, attempt: Attempt) -> bool {
    mark.is_some_and(|mark| mark.attempt() == attempt)
}

fn in_queue(queue: &Queue, ours: impl Fn(&QueueItem) -> bool) -> Option<(Whereabouts, String)> {
    if let Some(item) = queue.queue_running.iter().find(|item| ours(item)) {
        return Some((Whereabouts::Running, item.id.clone()));
    }
    let item = queue.queue_pending.iter().find(|item| ours(item))?;
    Some((Whereabouts::Pending { behind_another: !queue.queue_running.is_empty() }, item.id.clone()))
}
