//! Which attempts an instance has, and how word reaches them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::link::message::{Attempt, Receipt, Ticket};
use crate::runner::comfy::wire::{FrameEvent, Picture};

/// Frames that may wait for an attempt; more are dropped, since history tells the truth anyway.
const HINTS: usize = 512;

/// What the socket's reader tells an attempt.
#[derive(Debug)]
pub(super) enum Hint {
    /// With the whole frame, where somebody may be told of it.
    Event(FrameEvent, Option<Bytes>),
    /// With the right to be in memory.
    Picture { node: String, picture: Picture, _room: OwnedSemaphorePermit },
    /// A frame was over its bound; the socket is gone with it.
    Oversize,
}

/// What the engine wants of an attempt; the newest word counts.
#[derive(Debug, Clone, Default)]
pub(super) struct Orders {
    /// Tickets, and how often they were granted.
    pub tickets: Option<(u64, Arc<Tickets>)>,
    pub settled: bool,
    /// How often it was asked what became of it.
    pub recalls: u64,
}

/// Tickets of one grant.
#[derive(Debug, Default)]
pub(super) struct Tickets {
    pub tickets: Vec<Ticket>,
    /// What came with them; empty: nothing.
    pub receipts: Vec<Option<Receipt>>,
}

impl Tickets {
    /// What came with the ticket of a file.
    pub(super) fn receipt(&self, index: usize) -> Option<&Receipt> {
        self.receipts.get(index)?.as_ref()
    }
}

/// An attempt's letter box.
#[derive(Debug)]
pub(super) struct Slot {
    hints: mpsc::Sender<Hint>,
    pub orders: watch::Sender<Orders>,
    pub withdrawn: CancellationToken,
    /// ComfyUI is done with it; its files are listed.
    done: AtomicBool,
    /// A picture could not be handed over.
    pub gap: AtomicBool,
    /// Somebody may be told of each frame.
    frames: AtomicBool,
}

impl Slot {
    pub(super) fn new() -> (Arc<Self>, mpsc::Receiver<Hint>) {
        let (hints, receiver) = mpsc::channel(HINTS);
        let slot = Self {
            hints,
            orders: watch::Sender::default(),
            withdrawn: CancellationToken::new(),
            done: AtomicBool::new(false),
            gap: AtomicBool::new(false),
            frames: AtomicBool::new(false),
        };
        (Arc::new(slot), receiver)
    }

    pub(super) fn grant(&self, tickets: Tickets) {
        self.orders.send_modify(|orders| {
            let times = orders.tickets.as_ref().map_or(0, |(times, _)| *times);
            orders.tickets = Some((times + 1, Arc::new(tickets)));
        });
    }

    /// Frames are wanted as they come.
    pub(super) fn want_frames(&self) {
        self.frames.store(true, Ordering::Relaxed);
    }

    pub(super) fn wants_frames(&self) -> bool {
        self.frames.load(Ordering::Relaxed)
    }

    /// From now on only a withdrawal for good stops it.
    pub(super) fn note_done(&self) {
        self.done.store(true, Ordering::Release);
    }

    /// Tells it that it is not wanted, if ComfyUI is not done with it yet.
    pub(super) fn withdraw_unless_done(&self) {
        if !self.done.load(Ordering::Acquire) {
            self.withdrawn.cancel();
        }
    }

    /// A frame that may get lost.
    pub(super) fn hint(&self, hint: Hint) {
        let _ = self.hints.try_send(hint);
    }

    /// A picture, which is lost only when the attempt does not take it for a long time; then it knows.
    pub(super) async fn show(&self, hint: Hint, patience: std::time::Duration) {
        if self.hints.send_timeout(hint, patience).await.is_err() {
            self.gap.store(true, Ordering::Relaxed);
        }
    }
}

/// All attempts of an instance.
#[derive(Debug, Default)]
pub(super) struct Board {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    attempts: HashMap<Attempt, Arc<Slot>>,
    prompts: HashMap<Box<str>, (Attempt, Arc<Slot>)>,
}

impl Board {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an attempt in; `None` when it is there already.
    pub(super) fn enter(&self, attempt: Attempt) -> Option<(Arc<Slot>, mpsc::Receiver<Hint>)> {
        let mut inner = self.inner();
        if inner.attempts.contains_key(&attempt) {
            return None;
        }
        let (slot, hints) = Slot::new();
        inner.attempts.insert(attempt, slot.clone());
        Some((slot, hints))
    }

    /// Frames with this prompt's id go to this attempt from now on.
    pub(super) fn bind(&self, prompt: &str, attempt: Attempt) {
        let mut inner = self.inner();
        if let Some(slot) = inner.attempts.get(&attempt).cloned() {
            inner.prompts.insert(prompt.into(), (attempt, slot));
        }
    }

    /// The prompt is done; its attempt stays.
    pub(super) fn unbind(&self, attempt: Attempt) {
        self.inner().prompts.retain(|_, (owner, _)| *owner != attempt);
    }

    pub(super) fn leave(&self, attempt: Attempt) {
        let mut inner = self.inner();
        inner.attempts.remove(&attempt);
        inner.prompts.retain(|_, (owner, _)| *owner != attempt);
    }

    /// Tells an attempt that it is not wanted; `false` when it is not here.
    pub(super) fn withdraw(&self, attempt: Attempt) -> bool {
        let inner = self.inner();
        let slot = inner.attempts.get(&attempt);
        slot.inspect(|slot| slot.withdrawn.cancel()).is_some()
    }

    pub(super) fn slot(&self, attempt: Attempt) -> Option<Arc<Slot>> {
        self.inner().attempts.get(&attempt).cloned()
    }

    pub(super) fn of_prompt(&self, prompt: &str) -> Option<Arc<Slot>> {
        self.inner().prompts.get(prompt).map(|(_, slot)| slot.clone())
    }

    /// Every attempt with a prompt at ComfyUI.
    pub(super) fn bound(&self) -> Vec<Arc<Slot>> {
        self.inner().prompts.values().map(|(_, slot)| slot.clone()).collect()
    }
}
