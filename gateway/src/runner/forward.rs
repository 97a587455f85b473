//! Requests that are passed on to an instance's own routes. Each is a task of its own beside the driving of prompts: its
//! body comes in pieces as the instance takes them, its answer goes back as the engine gives room.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::stream;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::comfy::Comfy;
use super::comfy::forward::Answer;
use crate::link::local::Sender;
use crate::link::message::{
    ForwardFault, ForwardMore, ForwardRequest, ForwardWord, InstanceName, Piece, Report, WINDOW,
};

/// Passes requests on for one host. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Forwarder {
    instances: Arc<HashMap<InstanceName, Comfy>>,
    reports: Sender<Report>,
    open: Arc<Mutex<HashMap<Uuid, Open>>>,
    max_open: usize,
    closing: CancellationToken,
    tasks: TaskTracker,
}

/// What is held of a request that is under way.
#[derive(Debug)]
struct Open {
    /// Where its body goes; `None` once it is complete.
    body: Option<mpsc::Sender<Bytes>>,
    /// Pieces of the answer that the engine has room for.
    room: Arc<Semaphore>,
    gone: CancellationToken,
}

impl Forwarder {
    pub(super) fn new(
        instances: HashMap<InstanceName, Comfy>,
        reports: Sender<Report>,
        max_open: usize,
        closing: CancellationToken,
        tasks: TaskTracker,
    ) -> Self {
        Self { instances: Arc::new(instances), reports, open: Arc::default(), max_open, closing, tasks }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Uuid, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a request up; never waits.
    pub(super) fn begin(&self, request: ForwardRequest) {
        let (sender, body) = mpsc::channel(WINDOW);
        let room = Arc::new(Semaphore::new(WINDOW));
        let gone = self.closing.child_token();
        let is_taken = {
            let mut open = self.open();
            let has_room = open.len() < self.max_open;
            if has_room {
                let body = (request.length != Some(0)).then_some(sender);
                open.insert(request.id, Open { body, room: room.clone(), gone: gone.clone() });
            }
            has_room
        };
        let forwarder = self.clone();
        self.tasks.spawn(async move {
            let id = request.id;
            let carrying = async {
                let carried = match is_taken {
                    true => forwarder.carry(request, body, &room).await,
                    false => Err(ForwardFault::Busy),
                };
                let last = carried.map_or_else(ForwardWord::Failed, |()| ForwardWord::Complete);
                forwarder.tell(id, last).await;
            };
            tokio::select! {
                () = carrying => {}
                () = gone.cancelled() => {}
            }
            if is_taken {
                forwarder.open().remove(&id);
            }
        });
    }

    /// Takes more of a request; never waits. One that is not here has ended meanwhile.
    pub(super) fn go_on(&self, id: Uuid, more: ForwardMore) {
        let mut all = self.open();
        let Some(open) = all.get_mut(&id) else { return };
        match more {
            ForwardMore::Body(Piece(bytes)) => {
                let sent = open.body.as_ref().map(|body| body.try_send(bytes));
                if let Some(Err(mpsc::error::TrySendError::Full(_))) = sent {
                    tracing::warn!(%id, "more of a request's body than there is room for");
                    open.gone.cancel();
                }
            }
            ForwardMore::Complete => open.body = None,
            ForwardMore::Room(pieces) => give_room(&open.room, pieces),
            ForwardMore::Over => open.gone.cancel(),
        }
    }

    async fn carry(
        &self,
        request: ForwardRequest,
        body: mpsc::Receiver<Bytes>,
        room: &Semaphore,
    ) -> Result<(), ForwardFault> {
        let id = request.id;
        let Some(comfy) = self.instances.get(&request.instance) else {
            return Err(ForwardFault::Unsendable("there is no such instance on this host".to_owned()));
        };
        let has_body = request.length != Some(0);
        let body = has_body.then(|| reqwest::Body::wrap_stream(self.clone().taken(id, body)));
        let mut answer: Answer = comfy.forward(&request, body).await?;
        self.tell(id, ForwardWord::Head(answer.head())).await;
        while let Some(bytes) = answer.chunk().await? {
            for piece in Piece::cut(bytes) {
                // Never closed: it is held here.
                room.acquire().await.map_or_else(|_| (), |permit| permit.forget());
                self.tell(id, ForwardWord::Body(piece)).await;
            }
        }
        Ok(())
    }

    /// The pieces of a body; whenever one is taken there is room for another.
    fn taken(
        self,
        id: Uuid,
        body: mpsc::Receiver<Bytes>,
    ) -> impl futures_util::Stream<Item = Result<Bytes, std::io::Error>> {
        stream::unfold((self, body), move |(forwarder, mut body)| async move {
            let bytes = body.recv().await?;
            forwarder.tell(id, ForwardWord::Room(1)).await;
            Some((Ok(bytes), (forwarder, body)))
        })
    }

    /// When the link is gone there is nobody to tell.
    async fn tell(&self, id: Uuid, word: ForwardWord) {
        let _ = self.reports.send(Report::Forward { id, word }).await;
    }
}

/// Room for more pieces, but never for more than may be on their way.
fn give_room(room: &Semaphore, pieces: u32) {
    let free = WINDOW.saturating_sub(room.available_permits());
    room.add_permits(usize::try_from(pieces).unwrap_or(WINDOW).min(free));
}
