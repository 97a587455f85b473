//! The way to an instance: reached with back-off, watched by a socket, lost and found again; its catalogue, its
//! strays, and whether it is stuck.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, interval_at, sleep};

use super::board::Hint;
use super::reader;
use super::shared::{Contact, Shared, Stuck};
use crate::link::message::{InstanceFacts, Report};
use crate::runner::comfy::ComfyError;
use crate::runner::comfy::ws::{Closed, Socket};
use crate::runner::{facts, model_sizes};

/// Newest history entries that are searched for strays; older ones do no harm.
const HISTORY_SEARCHED: usize = 8;

/// Sizes of models as last read: what they were before contact was lost they most likely still are.
type Sizes = Arc<BTreeMap<String, u32>>;

/// Keeps contact for ever.
pub(super) async fn keep(shared: Arc<Shared>) {
    let mut told_down = false;
    let mut sizes = Sizes::default();
    loop {
        let facts = reach(&shared, &mut told_down).await;
        shared.forget_life();
        let again = Notify::new();
        let reason = tokio::select! {
            reason = keep_socket(&shared, &again) => reason,
            () = look_after(&shared, facts, &mut sizes, &again) => String::new(),
        };
        shared.contact.send_replace(Contact::default());
        tracing::warn!(instance = %shared.name, reason, "instance lost");
        down(&shared, reason).await;
        told_down = true;
    }
}

/// Tries until the instance answers.
async fn reach(shared: &Shared, told_down: &mut bool) -> InstanceFacts {
    let (mut pause, longest) = shared.host.config.times.contact_backoff;
    loop {
        match shared.comfy.system_stats().await {
            Ok(stats) => {
                tracing::info!(instance = %shared.name, "instance answers");
                return facts::of(&stats, &shared.config);
            }
            Err(error) => {
                if error.is_gone() {
                    shared.saw_it_gone();
                }
                if !std::mem::replace(told_down, true) {
                    let reason = error.words();
                    tracing::warn!(instance = %shared.name, reason, "instance does not answer");
                    down(shared, reason).await;
                }
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}

async fn down(shared: &Shared, reason: String) {
    let _ = shared.host.reports.send(Report::InstanceDown { instance: shared.name.clone(), reason }).await;
}

async fn up(shared: &Shared, facts: &InstanceFacts) {
    shared.tell_restart().await;
    let facts = InstanceFacts { catalogue: shared.catalogue(), ..facts.clone() };
    let _ = shared.host.reports.send(Report::InstanceUp { instance: shared.name.clone(), facts }).await;
}

/// Keeps a socket open, each with an id of its own (PROTOCOL §3); returns why the instance is out of reach.
async fn keep_socket(shared: &Shared, again: &Notify) -> String {
    let times = &shared.host.config.times;
    let (first, longest) = times.contact_backoff;
    let mut pause = Duration::ZERO;
    loop {
        let max = shared.host.config.max_frame_bytes;
        match Socket::open(&shared.comfy, max, times.ping_every, times.socket_dead_after).await {
            Ok(socket) => {
                pause = Duration::ZERO;
                watch(shared, socket).await;
                // whatever it was, the instance may be another now
                shared.forget_life();
                again.notify_one();
            }
            Err(error) => {
                tracing::debug!(instance = %shared.name, error = error.words(), "no socket");
                // without a socket everything is polled; only silence is a loss of contact
                shared.contact.send_replace(Contact { up: true, socket: None });
                pause = (pause * 2).clamp(first, longest);
            }
        }
        sleep(pause).await;
        if let Err(error) = shared.comfy.system_stats().await
            && error.is_silence()
        {
            if error.is_gone() {
                shared.saw_it_gone();
            }
            return error.words();
        }
    }
}

/// Reads a socket until it is over or found deaf.
async fn watch(shared: &Shared, mut socket: Socket) {
    let id: Arc<str> = socket.client_id().into();
    shared.contact.send_replace(Contact { up: true, socket: Some(id) });
    let closed = tokio::select! {
        closed = reader::drain(shared, &mut socket) => closed,
        () = shared.deaf.notified() => {
            tracing::warn!(instance = %shared.name, "socket is deaf");
            Closed::Gone
        }
    };
    if closed == Closed::Oversize {
        tracing::warn!(instance = %shared.name, "a frame was over its bound");
        for slot in shared.board.bound() {
            slot.hint(Hint::Oversize);
        }
    }
    shared.contact.send_replace(Contact { up: true, socket: None });
}

/// All that goes on while there is contact.
async fn look_after(shared: &Shared, mut facts: InstanceFacts, sizes: &mut Sizes, again: &Notify) {
    let times = &shared.host.config.times;
    let mut known = read_catalogue(shared).await;
    bind(shared, &mut facts).await;
    facts.models_mib = sizes.clone();
    up(shared, &facts).await;
    let mut cell = shared.host.cell.clone();
    let _ = cell.wait_for(Option::is_some).await;
    search_strays(shared).await;
    // A walk over thousands of files must not keep an instance from its work.
    if weigh(shared, &mut facts).await {
        up(shared, &facts).await;
    }
    *sizes = facts.models_mib.clone();
    let every = |period: Duration| interval_at(Instant::now() + period, period);
    let (mut refresh, mut search) = (every(times.catalogue_refresh), every(times.stray_scan));
    let mut look = every(times.bind_every);
    let mut stuck = shared.stuck.subscribe();
    loop {
        let retry = if known { Duration::MAX } else { times.contact_backoff.1 };
        tokio::select! {
            _ = search.tick() => search_strays(shared).await,
            _ = look.tick(), if shared.host.config.nvml.is_some() => {
                if bind(shared, &mut facts).await {
                    up(shared, &facts).await;
                }
            }
            _ = stuck.changed() => wait_unstuck(shared, &facts).await,
            () = again.notified() => {
                known = refreshed(shared, &mut facts).await;
                search_strays(shared).await;
            }
            _ = refresh.tick() => known = refreshed(shared, &mut facts).await,
            () = sleep(retry), if !known => known = refreshed(shared, &mut facts).await,
        }
    }
}

/// Finds the device of an instance whose configuration names none; whether that changed anything.
async fn bind(shared: &Shared, facts: &mut InstanceFacts) -> bool {
    let Some(nvml) = &shared.host.config.nvml else { return false };
    let found = shared.binding.find(nvml, &shared.config.url).await;
    // a process that uses its device no more keeps the binding: it is still the same card
    if shared.config.device_uuid.is_some() || found.is_none() || found == facts.device_uuid {
        return false;
    }
    tracing::info!(instance = %shared.name, device = found, "instance bound to its device");
    facts.device_uuid = found;
    true
}

async fn refreshed(shared: &Shared, facts: &mut InstanceFacts) -> bool {
    let before = shared.catalogue();
    let known = read_catalogue(shared).await;
    let weighed = weigh(shared, facts).await;
    if weighed || shared.catalogue() != before {
        up(shared, facts).await;
    }
    known
}

/// Reads the sizes of the models; whether one of them is news.
async fn weigh(shared: &Shared, facts: &mut InstanceFacts) -> bool {
    let sizes = model_sizes::read(shared.config.models_dir.clone()).await.into();
    std::mem::replace(&mut facts.models_mib, sizes) != facts.models_mib
}

/// Reads the catalogue; an unreadable one leaves the last known in force.
async fn read_catalogue(shared: &Shared) -> bool {
    let Ok(_turn) = shared.host.catalogues.reading.acquire().await else { return false };
    match shared.comfy.object_info().await {
        Ok(body) => {
            let hash = shared.host.catalogues.take(body);
            let known = hash.is_some();
            shared.set_catalogue(hash);
            known
        }
        Err(error) => {
            tracing::warn!(instance = %shared.name, error = error.words(), "catalogue not read");
            false
        }
    }
}

/// Sends the body of the catalogue; if nothing is kept it is read again.
pub(super) async fn send_catalogue(shared: Arc<Shared>) {
    let kept =
        shared.catalogue().and_then(|hash| shared.host.catalogues.give(&hash).map(|body| (hash, body)));
    let (hash, body) = match kept {
        Some(kept) => kept,
        None => {
            let Ok(_turn) = shared.host.catalogues.reading.acquire().await else { return };
            match shared.comfy.object_info().await.map(String::from_utf8) {
                Ok(Ok(body)) => (blake3::hash(body.as_bytes()).to_hex().to_string(), body.into()),
                Ok(Err(_)) => return,
                Err(error) => {
                    tracing::warn!(instance = %shared.name, error = error.words(), "catalogue not read");
                    return;
                }
            }
        }
    };
    let _ = shared.host.reports.send(Report::Catalogue { hash, body }).await;
}

/// Looks for prompts of our cell that nobody here knows (DESIGN §4.4).
async fn search_strays(shared: &Shared) {
    let found: Result<(), ComfyError> = async {
        shared.report_strays_of(&shared.comfy.queue().await?).await;
        let history = shared.comfy.recent_history(HISTORY_SEARCHED).await?;
        shared.report_strays(history.values().map(|entry| &entry.prompt), true).await;
        Ok(())
    }
    .await;
    if let Err(error) = found {
        tracing::debug!(instance = %shared.name, error = error.words(), "strays not searched");
    }
}

/// Keeps work away from an instance whose worker is dead or hangs, until it seems to work again.
async fn wait_unstuck(shared: &Shared, facts: &InstanceFacts) {
    let Some(stuck) = shared.stuck.borrow().clone() else { return };
    let times = &shared.host.config.times;
    let reason = match &stuck {
        Stuck::DeadWorker => "its worker is dead: prompts wait and nothing runs",
        Stuck::Hung(_) => "a prompt hangs and cannot be interrupted",
    };
    tracing::warn!(instance = %shared.name, reason, "instance is stuck");
    down(shared, reason.into()).await;
    match stuck {
        Stuck::DeadWorker => sleep(times.stuck_cooldown).await,
        Stuck::Hung(prompt) => loop {
            sleep(times.poll_after).await;
            match shared.comfy.queue().await {
                Ok(queue) if queue.queue_running.iter().all(|item| item.id != prompt) => break,
                _ => {}
            }
        },
    }
    shared.stuck.send_replace(None);
    up(shared, facts).await;
}
