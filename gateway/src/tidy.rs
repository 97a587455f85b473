//! Housekeeping: what is past its time is forgotten, and bytes that nothing names any more are removed from the stores.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::artifacts::ArtifactError;
use crate::engine::{EngineHandle, key_prefix};
use crate::sinks::Sinks;
use crate::store::{Left, Store, Swept};

/// How often what is past its time is swept, and how much at once.
const SWEEP: (Duration, u32) = (Duration::from_secs(60), 1_000);

/// Events are small and lie in a row: more of them at once.
const SWEEP_EVENTS: u32 = 10_000;

/// Tidies up until `stop`; events are kept for so many milliseconds.
pub(crate) async fn keep_tidy(
    store: Arc<dyn Store>,
    sinks: Sinks,
    engine: EngineHandle,
    keep_events: i64,
    stop: CancellationToken,
) {
    // what an earlier life left is looked at right away
    while sweep_once(&*store, &sinks, engine.now()).await && !stop.is_cancelled() {}
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(SWEEP.0) => {}
        }
        while sweep_once(&*store, &sinks, engine.now()).await && !stop.is_cancelled() {}
        while sweep_events(&*store, engine.now().saturating_sub(keep_events)).await && !stop.is_cancelled() {}
    }
}

/// One batch of what is past its time; whether there may be more.
pub async fn sweep_once(store: &dyn Store, sinks: &Sinks, now: i64) -> bool {
    let swept = match store.sweep(now, SWEEP.1).await {
        Ok(swept) => swept,
        Err(error) => {
            tracing::warn!(%error, "nothing could be swept");
            return false;
        }
    };
    let Swept { residue, jobs, keys, assets } = swept;
    let found = residue.len() as u64;
    let mut cleared = Vec::with_capacity(residue.len());
    for left in residue {
        match remove(sinks, &left.what).await {
            Ok(()) => cleared.push(left.id),
            // it comes again
            Err(error) => {
                tracing::warn!(%error, left = ?left.what, "bytes past their time could not be removed")
            }
        }
    }
    if !cleared.is_empty()
        && let Err(error) = store.cleared(cleared).await
    {
        tracing::warn!(%error, "that bytes were removed could not be noted");
    }
    [found, jobs, keys, assets].into_iter().any(|count| count >= u64::from(SWEEP.1))
}

async fn remove(sinks: &Sinks, left: &Left) -> Result<(), ArtifactError> {
    match left {
        // a store that is not configured any more is nobody's to tidy
        Left::Object(object) => match sinks.get(&object.place) {
            Some(sink) => sink.artifacts.delete(&object.key).await,
            None => Ok(()),
        },
        Left::Attempt { job, number } => {
            let beginning = key_prefix(*job, *number);
            for (_, sink) in sinks.iter() {
                let removed = sink.artifacts.delete_beginning(&beginning).await?;
                if removed > 0 {
                    tracing::info!(%job, attempt = number, removed, "objects of an attempt that did not win removed");
                }
            }
            Ok(())
        }
    }
}

/// One batch of events past their time; whether there may be more.
async fn sweep_events(store: &dyn Store, before: i64) -> bool {
    match store.outbox().sweep_events(before, SWEEP_EVENTS).await {
        Ok(gone) => gone >= u64::from(SWEEP_EVENTS),
        Err(error) => {
            tracing::warn!(%error, "no events could be swept");
            false
        }
    }
}
