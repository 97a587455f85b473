//! The open `/ws` sockets: one event pump, one current socket per client id (PROTOCOL §3 "Socket identity").

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::extract::ws::Message;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::faults::Faults;
use crate::frames;
use crate::listener::Connection;

/// Frames a socket may lag behind before it blocks the event pump, and with it everybody (PROTOCOL §8.3).
const SOCKET_BACKLOG: usize = 256;

/// One open socket.
#[derive(Clone)]
struct Handle {
    number: u64,
    frames: mpsc::Sender<Message>,
    connection: Connection,
    metadata: bool,
}

#[derive(Default)]
struct Registry {
    current: HashMap<String, Handle>,
    open: HashMap<u64, Handle>,
}

/// A frame on its way: to one client id, or to everyone registered.
struct Outgoing {
    to: Option<String>,
    frame: Message,
}

/// All sockets of one server process.
pub(crate) struct Sockets {
    registry: Mutex<Registry>,
    next_number: AtomicU64,
    outbox: mpsc::UnboundedSender<Outgoing>,
}

/// The receiving side of the event pump.
pub(crate) struct Outbox(mpsc::UnboundedReceiver<Outgoing>);

/// What a socket's task needs to live.
pub(crate) struct Opened {
    pub number: u64,
    pub frames: mpsc::Receiver<Message>,
    pub direct: mpsc::Sender<Message>,
}

impl Sockets {
    /// No sockets, and the queue for [`Sockets::pump`].
    pub(crate) fn new() -> (Sockets, Outbox) {
        let (outbox, queue) = mpsc::unbounded_channel();
        let sockets = Sockets { registry: Mutex::default(), next_number: AtomicU64::new(0), outbox };
        (sockets, Outbox(queue))
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a socket the current one of its client id; `greeting` is sent first.
    pub(crate) fn open(&self, sid: &str, connection: Connection, greeting: Vec<Message>) -> Opened {
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let (sender, frames) = mpsc::channel(SOCKET_BACKLOG);
        for frame in greeting {
            let _ = sender.try_send(frame);
        }
        let handle = Handle { number, frames: sender.clone(), connection, metadata: false };
        let mut registry = self.registry();
        registry.open.insert(number, handle.clone());
        registry.current.insert(sid.to_owned(), handle);
        Opened { number, frames, direct: sender }
    }

    /// Forgets a socket, and unregisters its client id even when a later socket had taken it over: the recorded bug.
    pub(crate) fn close(&self, sid: &str, number: u64) {
        let mut registry = self.registry();
        registry.open.remove(&number);
        registry.current.remove(sid);
    }

    /// Notes that a socket asked for previews with metadata.
    pub(crate) fn announce_metadata(&self, sid: &str, number: u64, supported: bool) {
        if let Some(handle) = self.registry().current.get_mut(sid)
            && handle.number == number
        {
            handle.metadata = supported;
        }
    }

    /// Whether the current socket of `sid` announced preview metadata.
    pub(crate) fn wants_metadata(&self, sid: &str) -> bool {
        self.registry().current.get(sid).is_some_and(|handle| handle.metadata)
    }

    /// How many sockets are open now.
    pub(crate) fn open_count(&self) -> usize {
        self.registry().open.len()
    }

    /// Queues a frame for one client id.
    pub(crate) fn send(&self, sid: &str, frame: Message) {
        self.enqueue(Some(sid.to_owned()), frame);
    }

    /// Queues a frame for everyone.
    pub(crate) fn broadcast(&self, frame: Message) {
        self.enqueue(None, frame);
    }

    /// Queues a `status` frame for everyone.
    pub(crate) fn broadcast_status(&self, queue_remaining: usize) {
        self.broadcast(frames::event("status", &frames::status(queue_remaining, None)));
    }

    /// Queues a text frame for one client id, or for everyone when there is none.
    pub(crate) fn send_event(&self, to: Option<&str>, kind: &str, data: &Value) {
        self.enqueue(to.map(str::to_owned), frames::event(kind, data));
    }

    fn enqueue(&self, to: Option<String>, frame: Message) {
        // fails only when the pump is gone, that is when the process was killed
        let _ = self.outbox.send(Outgoing { to, frame });
    }

    /// Resets every open socket, as a network drop would.
    pub(crate) fn drop_all(&self) {
        for handle in self.registry().open.values() {
            handle.connection.cut();
        }
    }

    /// Delivers queued frames in order, for as long as the process lives.
    pub(crate) async fn pump(&self, mut outbox: Outbox, faults: &Faults) {
        while let Some(Outgoing { to, frame }) = outbox.0.recv().await {
            if faults.state().deaf {
                continue;
            }
            let targets: Vec<Handle> = {
                let registry = self.registry();
                match to {
                    Some(sid) => registry.current.get(&sid).cloned().into_iter().collect(),
                    None => registry.current.values().cloned().collect(),
                }
            };
            for target in targets {
                if faults.take_frame() {
                    self.drop_all();
                    break;
                }
                let _ = target.frames.send(frame.clone()).await;
            }
        }
    }
}
