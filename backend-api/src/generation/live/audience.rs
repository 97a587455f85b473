//! Who watches: a bell for each person, rung when something of theirs has changed. The first who comes wants the feed
//! read, and when the last has gone nobody does.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::domain::UserId;

/// Everybody who watches, as many as there are seats.
#[derive(Default)]
pub(super) struct Audience {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    bells: HashMap<UserId, Bell>,
    /// Ends the reading of the feed.
    reading: Option<CancellationToken>,
}

struct Bell {
    rope: watch::Sender<()>,
    watchers: usize,
}

/// Somebody watches, until this is dropped.
pub(super) struct Presence {
    audience: Arc<Audience>,
    user: UserId,
    bell: watch::Receiver<()>,
}

impl Audience {
    /// Takes somebody in. Who is the first gets what tells them until when the feed has to be read.
    pub(super) fn enter(
        self: &Arc<Self>,
        user: UserId,
        stop: &CancellationToken,
    ) -> (Presence, Option<CancellationToken>) {
        let mut state = self.state();
        let bell =
            state.bells.entry(user).or_insert_with(|| Bell { rope: watch::Sender::new(()), watchers: 0 });
        bell.watchers += 1;
        let presence = Presence { audience: self.clone(), user, bell: bell.rope.subscribe() };
        if state.reading.is_some() {
            return (presence, None);
        }
        let until = stop.child_token();
        state.reading = Some(until.clone());
        (presence, Some(until))
    }

    /// Something of this person has changed.
    pub(super) fn ring(&self, user: UserId) {
        if let Some(bell) = self.state().bells.get(&user) {
            bell.rope.send_replace(());
        }
    }

    fn leave(&self, user: UserId) {
        let mut state = self.state();
        if let Entry::Occupied(mut bell) = state.bells.entry(user) {
            bell.get_mut().watchers -= 1;
            if bell.get().watchers == 0 {
                bell.remove();
            }
        }
        if state.bells.is_empty()
            && let Some(reading) = state.reading.take()
        {
            reading.cancel();
        }
    }

    /// Whoever panicked with it left it whole: each change of it is one step.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Presence {
    /// Rings when something of the person has changed.
    pub(super) fn bell(&self) -> watch::Receiver<()> {
        self.bell.clone()
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.audience.leave(self.user);
    }
}
