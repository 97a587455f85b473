//! Who has which jobs, and who listens: the open jobs of this face and the sockets of their owners. Both are few words
//! each; what is shown of jobs is read from the store.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::ws::{Message, Utf8Bytes};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::forward::home::Homes;
use super::frames;
use crate::config;
use crate::engine::EngineHandle;
use crate::link::message::Preview;
use crate::sinks::Sinks;
use crate::store::{NativeFacts, StoreError};

/// The owner of jobs and sockets: a tenant, and the `client_id` within it.
pub(super) type Owner = (u32, Arc<str>);

/// Jobs and sockets of ComfyUI's own API. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Desk(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    engine: EngineHandle,
    sinks: Sinks,
    settings: config::Native,
    state: Mutex<State>,
    /// Bytes of pictures on their way to sockets.
    pictures: Arc<Semaphore>,
    /// Where clients were last.
    homes: Homes,
}

#[derive(Debug, Default)]
struct State {
    jobs: HashMap<Uuid, Entry>,
    /// Open jobs of each tenant.
    tenants: HashMap<u32, HashSet<Uuid>>,
    /// Open jobs of each client.
    clients: HashMap<Owner, HashSet<Uuid>>,
    /// Open jobs of each id of a tenant's callers: one, or for a moment more, until the store has refused the others.
    prompts: HashMap<(u32, Arc<str>), HashSet<Uuid>>,
    /// Submissions of each tenant without a `number`, as ComfyUI counts them.
    counters: HashMap<u32, i64>,
    /// The current socket of each client.
    sockets: HashMap<Owner, Handle>,
    next_socket: u64,
}

/// An open job.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) tenant: u32,
    pub(super) prompt_id: Arc<str>,
    /// Who is told of it.
    pub(super) client: Option<Arc<str>>,
    /// Previews are for its owner even without metadata: it asked for them, and was there when it did.
    pub(super) previews: bool,
    /// The node that runs.
    pub(super) node: Option<String>,
    /// Its start was told.
    pub(super) started: bool,
    /// A preview for a socket without metadata: it follows the frame that comes next.
    pub(super) preview: Option<Arc<Preview>>,
}

impl Entry {
    pub(super) fn owner(&self) -> Option<Owner> {
        Some((self.tenant, self.client.clone()?))
    }
}

/// A frame on its way to a socket, with its share of the memory for pictures.
pub(super) type Outgoing = (Message, Option<OwnedSemaphorePermit>);

/// The way to a socket.
#[derive(Debug, Clone)]
pub(super) struct Handle {
    number: u64,
    frames: mpsc::Sender<Outgoing>,
    /// Ends the socket.
    gone: CancellationToken,
    /// It announced `supports_preview_metadata`.
    pub(super) metadata: bool,
}

impl Handle {
    /// Gives it a frame; a socket that has not read those before is given up.
    pub(super) fn push(&self, frame: Message) {
        if self.frames.try_send((frame, None)).is_err() {
            self.gone.cancel();
        }
    }

    /// Gives it a preview unless it is busy.
    pub(super) fn offer(&self, frame: Message) {
        if self.frames.capacity() > self.frames.max_capacity() / 2 {
            self.push(frame);
        }
    }

    /// Gives it a picture that must arrive.
    pub(super) async fn give(&self, frame: Message, share: OwnedSemaphorePermit) {
        tokio::select! {
            _ = self.frames.send((frame, Some(share))) => {}
            () = self.gone.cancelled() => {}
        }
    }
}

/// A socket's end of the desk.
pub(super) struct Seat {
    pub(super) number: u64,
    pub(super) frames: mpsc::Receiver<Outgoing>,
    pub(super) gone: CancellationToken,
}

impl Desk {
    /// Takes up the open jobs of an earlier life of the process.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn open(
        engine: &EngineHandle,
        sinks: &Sinks,
        settings: config::Native,
    ) -> Result<Self, StoreError> {
        let inner = Inner {
            engine: engine.clone(),
            sinks: sinks.clone(),
            state: Mutex::default(),
            pictures: Arc::new(Semaphore::new(settings.socket_picture_bytes as usize)),
            homes: Homes::new(&settings),
            settings,
        };
        let desk = Self(Arc::new(inner));
        engine.feeds().make_room(desk.0.settings.waiting_frames);
        for open in engine.store().native().native_open().await? {
            let number = if open.facts.number.is_finite() { open.facts.number } else { 0.0 };
            #[expect(clippy::cast_possible_truncation, reason = "a cast to an integer saturates")]
            let next = (number as i64).saturating_add(1);
            desk.count_from(open.tenant, next);
            desk.enter(open.job, open.tenant, &open.facts);
        }
        Ok(desk)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How this face is set.
    pub(in super::super) fn settings(&self) -> &config::Native {
        &self.0.settings
    }

    pub(super) fn engine(&self) -> &EngineHandle {
        &self.0.engine
    }

    pub(super) fn sinks(&self) -> &Sinks {
        &self.0.sinks
    }

    /// The memory for pictures.
    pub(super) fn pictures(&self) -> &Arc<Semaphore> {
        &self.0.pictures
    }

    /// Where clients were last.
    pub(super) fn homes(&self) -> &Homes {
        &self.0.homes
    }

    /// The owner of an open job.
    pub(super) fn owner(&self, job: Uuid) -> Option<Owner> {
        self.state().jobs.get(&job)?.owner()
    }

    /// The next number of a tenant's own.
    pub(super) fn count(&self, tenant: u32) -> i64 {
        let mut state = self.state();
        let counter = state.counters.entry(tenant).or_default();
        let number = *counter;
        *counter += 1;
        number
    }

    /// What the next number would be.
    pub(super) fn next(&self, tenant: u32) -> i64 {
        self.state().counters.get(&tenant).copied().unwrap_or(0)
    }

    fn count_from(&self, tenant: u32, number: i64) {
        let mut state = self.state();
        let counter = state.counters.entry(tenant).or_default();
        *counter = number.max(*counter);
    }

    /// A job that is about to be submitted: from now on what is heard of it is kept, and its owner sees it in the count.
    pub(super) fn enter(&self, job: Uuid, tenant: u32, facts: &NativeFacts) {
        self.0.engine.feeds().follow(job);
        let mut state = self.state();
        let client: Option<Arc<str>> = facts.client_id.as_deref().map(Into::into);
        let owner = client.clone().map(|client| (tenant, client));
        let is_there = owner.as_ref().is_some_and(|owner| state.sockets.contains_key(owner));
        let asked = facts.preview_method.as_deref().is_some_and(|method| method != "none");
        let prompt_id: Arc<str> = facts.prompt_id.as_str().into();
        let entry = Entry {
            tenant,
            prompt_id: prompt_id.clone(),
            client,
            previews: asked && is_there,
            node: None,
            started: false,
            preview: None,
        };
        state.jobs.insert(job, entry);
        state.prompts.entry((tenant, prompt_id)).or_default().insert(job);
        state.tenants.entry(tenant).or_default().insert(job);
        if let Some(owner) = owner {
            state.clients.entry(owner.clone()).or_default().insert(job);
            state.tell_status(&owner);
        }
    }

    /// A job that was not accepted after all.
    pub(super) fn withdraw(&self, job: Uuid) {
        self.0.engine.feeds().leave(job);
        if let Some(owner) = self.remove(job).and_then(|entry| entry.owner()) {
            self.state().tell_status(&owner);
        }
    }

    /// Takes out a job whose end is committed.
    pub(super) fn remove(&self, job: Uuid) -> Option<Entry> {
        let state = &mut *self.state();
        let entry = state.jobs.remove(&job)?;
        take_out(&mut state.tenants, &entry.tenant, job);
        if let Some(owner) = entry.owner() {
            take_out(&mut state.clients, &owner, job);
        }
        take_out(&mut state.prompts, &(entry.tenant, entry.prompt_id.clone()), job);
        Some(entry)
    }

    /// Open jobs of a tenant.
    pub(super) fn remaining(&self, tenant: u32) -> usize {
        self.state().tenants.get(&tenant).map_or(0, HashSet::len)
    }

    /// Open jobs of a tenant, those of one client only where it is named: internal ids.
    pub(super) fn open_jobs(&self, tenant: u32, client: Option<&str>) -> Vec<Uuid> {
        let state = self.state();
        let jobs = match client {
            Some(client) => state.clients.get(&(tenant, client.into())),
            None => state.tenants.get(&tenant),
        };
        jobs.into_iter().flatten().copied().collect()
    }

    /// The open job of this id.
    pub(super) fn find(&self, tenant: u32, prompt_id: &str) -> Option<Uuid> {
        self.state().prompts.get(&(tenant, prompt_id.into()))?.iter().next().copied()
    }

    /// Changes what is noted of an open job, and tells its owner with the desk at hand.
    pub(super) fn update(&self, job: Uuid, change: impl FnOnce(&mut Entry, Option<&Handle>, usize)) {
        let state = &mut *self.state();
        let Some(entry) = state.jobs.get_mut(&job) else { return };
        let Some(owner) = entry.owner() else { return };
        let remaining = state.clients.get(&owner).map_or(0, HashSet::len);
        change(entry, state.sockets.get(&owner), remaining);
    }

    /// The current socket of a client.
    pub(super) fn socket(&self, owner: &Owner) -> Option<Handle> {
        self.state().sockets.get(owner).cloned()
    }

    /// Gives a client its count, where it listens.
    pub(super) fn tell_status(&self, owner: &Owner) {
        self.state().tell_status(owner);
    }

    /// A client's count.
    pub(super) fn left_of(&self, owner: &Owner) -> usize {
        self.state().left_of(owner)
    }

    /// A socket that was opened: it becomes the current one of its client and is greeted. The one before stays open and
    /// hears no more of jobs.
    pub(super) fn sit_down(&self, owner: &Owner) -> Seat {
        let (sender, frames) = mpsc::channel(self.0.settings.socket_frames);
        let gone = CancellationToken::new();
        let state = &mut *self.state();
        state.next_socket += 1;
        let number = state.next_socket;
        let handle = Handle { number, frames: sender, gone: gone.clone(), metadata: false };
        handle.push(text(frames::status(state.left_of(owner), Some(&owner.1))));
        let mut own = state.clients.get(owner).into_iter().flatten();
        if let Some(node) = own.find_map(|job| state.jobs.get(job)?.node.as_deref()) {
            handle.push(text(frames::running(node)));
        }
        state.sockets.insert(owner.clone(), handle);
        Seat { number, frames, gone }
    }

    /// A socket announced that it takes previews with metadata.
    pub(super) fn announce(&self, owner: &Owner, number: u64, metadata: bool) {
        if let Some(handle) = self.state().sockets.get_mut(owner).filter(|handle| handle.number == number) {
            handle.metadata = metadata;
        }
    }

    /// A socket was closed. A later one of the same client stays.
    pub(super) fn leave(&self, owner: &Owner, number: u64) {
        let mut state = self.state();
        if state.sockets.get(owner).is_some_and(|handle| handle.number == number) {
            state.sockets.remove(owner);
        }
    }
}

impl State {
    fn left_of(&self, owner: &Owner) -> usize {
        self.clients.get(owner).map_or(0, HashSet::len)
    }

    fn tell_status(&self, owner: &Owner) {
        if let Some(handle) = self.sockets.get(owner) {
            handle.push(text(frames::status(self.left_of(owner), None)));
        }
    }
}

/// A text frame as a message.
pub(super) fn text(frame: Utf8Bytes) -> Message {
    Message::Text(frame)
}

fn take_out<K: Hash + Eq>(of: &mut HashMap<K, HashSet<Uuid>>, key: &K, job: Uuid) {
    if let Some(jobs) = of.get_mut(key) {
        jobs.remove(&job);
        if jobs.is_empty() {
            of.remove(key);
        }
    }
}
