//! The one worker: takes prompts off the queue and carries them out, one at a time.

pub(crate) mod job;
mod run;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::history::Entry;
use crate::observed::PromptState;
use crate::process::Process;
use crate::queue::Item;
use job::Job;
use run::Ending;

/// Works for as long as the process lives.
pub(crate) async fn run(process: Arc<Process>) {
    let mut node_due = None;
    loop {
        let (item, waited) = next(&process).await;
        if waited {
            // Time without work is not made up for.
            node_due = None;
        }
        process.broadcast_status();
        process.record.update(item.observed, |prompt| {
            prompt.state = PromptState::Running;
            prompt.started = Some(Instant::now());
        });
        let mut job = Job::new(&process, &item);
        job.node_due = node_due;
        let ending = job.run().await;
        node_due = job.node_due;
        finish(&process, &item, job, ending).await;
    }
}

/// The next prompt, once there is one and the queue is not stuck, and whether it had to be waited for.
async fn next(process: &Process) -> (Arc<Item>, bool) {
    let mut waited = false;
    loop {
        process.faults.wait_until(|state| !state.stick_queue).await;
        let pushed = process.pushed.notified();
        let started = process.queue().start();
        match started {
            Some(item) => return (item, waited),
            None => pushed.await,
        }
        waited = true;
    }
}

/// Writes history, then tells everyone (PROTOCOL §8.2: in this order, after the final event).
async fn finish(process: &Process, item: &Arc<Item>, job: Job, ending: Ending) {
    let faults = process.faults.state();
    if faults.history_delay_ms > 0 {
        // Without a delay no timer either: even one of no length takes a millisecond.
        tokio::time::sleep(Duration::from_millis(faults.history_delay_ms)).await;
    }
    process.record.update(item.observed, |prompt| {
        prompt.state = match ending {
            Ending::Succeeded | Ending::Lied => PromptState::Succeeded,
            Ending::Failed => PromptState::Failed,
            Ending::Interrupted => PromptState::Interrupted,
        };
        prompt.finished = Some(Instant::now());
        prompt.files = job.file_names();
    });
    let successful = matches!(ending, Ending::Succeeded | Ending::Lied);
    let owner = job.owner().map(str::to_owned);
    let entry = Entry {
        item: Arc::clone(item),
        outputs: job.outputs,
        meta: job.meta,
        status_str: if successful { "success" } else { "error" },
        completed: successful,
        messages: job.messages,
    };
    {
        let mut queue = process.queue();
        queue.finish();
        if !faults.lose_history {
            process.history().insert(entry);
        }
    }
    process.broadcast_status();
    process.current().node = None;
    if let Some(owner) = owner {
        let data = serde_json::json!({"node": null, "prompt_id": item.prompt_id});
        process.sockets.send_event(Some(&owner), "executing", &data);
    }
    heed_free(process);
}

/// Does what `POST /free` asked for; it waits for the running prompt.
pub(crate) fn heed_free(process: &Process) {
    let flags = std::mem::take(&mut *process.free());
    if flags.unload_models || flags.free_memory {
        process.vram().clear();
    }
    if flags.free_memory {
        process.cache().clear();
    }
}
