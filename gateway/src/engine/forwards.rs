//! Requests that are passed on to instances over the links of their hosts. They decide nothing and touch no turn: what
//! runners say of them is taken out of the link before the engine hears it. Of each at most [`WINDOW`] pieces lie here
//! in either direction.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::link::local::Sender;
use crate::link::message::{
    Command, ForwardFault, ForwardHead, ForwardMore, ForwardRequest, ForwardWord, InstanceName, Piece, WINDOW,
};

/// All requests that are under way. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Forwards(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    links: HashMap<InstanceName, Link>,
    open: HashMap<Uuid, Open>,
}

/// The way to the host of an instance.
#[derive(Debug, Clone)]
struct Link {
    host: Arc<str>,
    commands: Sender<Command>,
}

/// What is held of a request that is under way.
#[derive(Debug)]
struct Open {
    host: Arc<str>,
    words: mpsc::Sender<ForwardWord>,
    /// Pieces of its body that the runner has room for.
    room: Arc<Semaphore>,
}

/// How long each side may be silent.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// The instance: before its answer, and between two pieces of it.
    pub answer: Duration,
    /// The caller, between two pieces of its body.
    pub body: Duration,
}

/// What is wrong with a body that comes from a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    /// It is longer than it may be.
    #[error("the body is too large")]
    TooLarge,
    /// It did not come in time.
    #[error("the body came too slowly")]
    Slow,
    /// It broke off.
    #[error("the body broke off")]
    BrokeOff,
}

/// Why there is no answer, or no more of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForwardError {
    /// No runner has this instance, or it is gone.
    #[error("no runner has the instance")]
    NoInstance,
    /// The caller's body is at fault.
    #[error(transparent)]
    Body(#[from] BodyFault),
    /// The instance is.
    #[error(transparent)]
    Fault(#[from] ForwardFault),
    /// The instance, or its host, said nothing for too long.
    #[error("the instance was silent for too long")]
    Silent,
    /// The runner broke the rules of the link, or is gone.
    #[error("the link to the host broke off")]
    Lost,
}

impl Forwards {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add_host(&self, host: &str, instances: &[InstanceName], commands: &Sender<Command>) {
        let link = Link { host: host.into(), commands: commands.clone() };
        let links = instances.iter().map(|instance| (instance.clone(), link.clone()));
        self.inner().links.extend(links);
    }

    /// A host is gone, and with it all that went through it.
    pub(super) fn lose_host(&self, host: &str) {
        let mut inner = self.inner();
        inner.links.retain(|_, link| &*link.host != host);
        inner.open.retain(|_, open| {
            let stays = &*open.host != host;
            if !stays {
                open.room.close(); // Nobody makes any more of it.
            }
            stays
        });
    }

    /// Word of a runner; one about a request that nobody waits for is dropped.
    pub(super) fn hear(&self, id: Uuid, word: ForwardWord) {
        let mut inner = self.inner();
        let Some(open) = inner.open.get(&id) else { return };
        if let ForwardWord::Room(pieces) = word {
            let free = WINDOW.saturating_sub(open.room.available_permits());
            open.room.add_permits(usize::try_from(pieces).unwrap_or(WINDOW).min(free));
            return;
        }
        let is_last = matches!(word, ForwardWord::Complete | ForwardWord::Failed(_));
        let is_taken = open.words.try_send(word).is_ok();
        if !is_taken {
            tracing::warn!(%id, "more of an answer than there is room for");
        }
        if is_last || !is_taken {
            inner.open.remove(&id);
        }
    }

    /// Requests that are under way.
    #[must_use]
    pub fn count(&self) -> usize {
        self.inner().open.len()
    }

    /// Passes a request on and waits for the head of its answer. The body is read as the instance takes it; dropping the
    /// future or the answer ends the request at the instance.
    ///
    /// # Errors
    /// See [`ForwardError`].
    pub async fn send<B>(
        &self,
        request: ForwardRequest,
        body: B,
        patience: Patience,
    ) -> Result<Answer, ForwardError>
    where
        B: Stream<Item = Result<Bytes, BodyFault>> + Send + 'static,
    {
        let (id, has_body) = (request.id, request.length != Some(0));
        let (hold, words, room) = self.enter(&request)?;
        let command = Command::Forward(Box::new(request));
        let sent = tokio::time::timeout(patience.answer, hold.commands.send(command)).await;
        sent.map_err(|_| ForwardError::Silent)?.map_err(|_| ForwardError::Lost)?;
        let (done, sent) = oneshot::channel();
        let upload = Upload { id, commands: hold.commands.clone(), room, patience };
        tokio::spawn(upload.run(body, has_body, hold.gone.clone(), self.clone(), done));
        let mut waiting = Waiting { words, sent: has_body.then_some(sent), patience: patience.answer };
        let head = waiting.head().await?;
        Ok(Answer { head, words: waiting.words, hold, patience: patience.answer })
    }

    fn enter(
        &self,
        request: &ForwardRequest,
    ) -> Result<(Hold, mpsc::Receiver<ForwardWord>, Arc<Semaphore>), ForwardError> {
        // Head and end come beside the pieces.
        let (words, heard) = mpsc::channel(WINDOW + 2);
        let room = Arc::new(Semaphore::new(WINDOW));
        let mut inner = self.inner();
        let link = inner.links.get(&request.instance).cloned().ok_or(ForwardError::NoInstance)?;
        inner.open.insert(request.id, Open { host: link.host, words, room: room.clone() });
        drop(inner);
        let hold = Hold {
            forwards: self.clone(),
            id: request.id,
            commands: link.commands,
            gone: CancellationToken::new(),
        };
        Ok((hold, heard, room))
    }
}

/// A request whose answer has not begun.
struct Waiting {
    words: mpsc::Receiver<ForwardWord>,
    /// What becomes of its body; `None` once it is complete.
    sent: Option<oneshot::Receiver<Result<(), ForwardError>>>,
    patience: Duration,
}

impl Waiting {
    /// Waits for the head of the answer. The instance may be silent as long as the body comes.
    async fn head(&mut self) -> Result<ForwardHead, ForwardError> {
        while let Some(sent) = &mut self.sent {
            tokio::select! {
                biased;
                outcome = sent => {
                    outcome.unwrap_or(Err(ForwardError::Lost))?;
                    self.sent = None;
                }
                // The end of all words is the body's doing, or the host's: its outcome says which.
                Some(word) = self.words.recv() => return head(word),
            }
        }
        let word = tokio::time::timeout(self.patience, self.words.recv()).await;
        head(word.map_err(|_| ForwardError::Silent)?.ok_or(ForwardError::Lost)?)
    }
}

fn head(word: ForwardWord) -> Result<ForwardHead, ForwardError> {
    match word {
        ForwardWord::Head(head) => Ok(head),
        ForwardWord::Failed(fault) => Err(fault.into()),
        ForwardWord::Body(_) | ForwardWord::Complete | ForwardWord::Room(_) => Err(ForwardError::Lost),
    }
}

/// Somebody waits for a request; dropped, nobody does.
#[derive(Debug)]
struct Hold {
    forwards: Forwards,
    id: Uuid,
    commands: Sender<Command>,
    gone: CancellationToken,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.forwards.inner().open.remove(&self.id);
        self.gone.cancel();
    }
}

/// Brings the body of a request to its runner, and tells it at last that nobody waits any more.
struct Upload {
    id: Uuid,
    commands: Sender<Command>,
    room: Arc<Semaphore>,
    patience: Patience,
}

impl Upload {
    async fn run<B>(
        self,
        body: B,
        has_body: bool,
        gone: CancellationToken,
        forwards: Forwards,
        done: oneshot::Sender<Result<(), ForwardError>>,
    ) where
        B: Stream<Item = Result<Bytes, BodyFault>> + Send + 'static,
    {
        if has_body {
            tokio::select! {
                sent = self.send(body) => {
                    // An instance that does not read on may still be answering; a body that broke off ends both.
                    let is_broken = matches!(sent, Err(ForwardError::Body(_)));
                    let _ = done.send(sent); // The answer may have come first.
                    if is_broken {
                        forwards.inner().open.remove(&self.id);
                    }
                }
                () = gone.cancelled() => {}
            }
        }
        gone.cancelled().await;
        // The runner is gone only with its instances.
        let _ = self.say(ForwardMore::Over).await;
    }

    async fn send<B>(&self, body: B) -> Result<(), ForwardError>
    where
        B: Stream<Item = Result<Bytes, BodyFault>>,
    {
        let mut body = std::pin::pin!(body);
        loop {
            let next = tokio::time::timeout(self.patience.body, body.next()).await;
            let Some(bytes) = next.map_err(|_| BodyFault::Slow)?.transpose()? else { break };
            for piece in Piece::cut(bytes) {
                let room = tokio::time::timeout(self.patience.answer, self.room.acquire()).await;
                let permit = room.map_err(|_| ForwardError::Silent)?.map_err(|_| ForwardError::Lost)?;
                permit.forget();
                self.say(ForwardMore::Body(piece)).await?;
            }
        }
        self.say(ForwardMore::Complete).await
    }

    async fn say(&self, more: ForwardMore) -> Result<(), ForwardError> {
        let command = Command::ForwardMore { id: self.id, more };
        self.commands.send(command).await.map_err(|_| ForwardError::Lost)
    }
}

/// An answer whose body is on its way.
#[derive(Debug)]
pub struct Answer {
    /// Its head.
    pub head: ForwardHead,
    words: mpsc::Receiver<ForwardWord>,
    hold: Hold,
    patience: Duration,
}

impl Answer {
    /// The next bytes of the body; `None` at its end. There is room for more once they are taken.
    ///
    /// # Errors
    /// Why there is no more of it, though there should be.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ForwardError> {
        let word = tokio::time::timeout(self.patience, self.words.recv()).await;
        match word.map_err(|_| ForwardError::Silent)? {
            Some(ForwardWord::Body(Piece(bytes))) => {
                let command = Command::ForwardMore { id: self.hold.id, more: ForwardMore::Room(1) };
                self.hold.commands.send(command).await.map_err(|_| ForwardError::Lost)?;
                Ok(Some(bytes))
            }
            Some(ForwardWord::Complete) => Ok(None),
            Some(ForwardWord::Failed(fault)) => Err(fault.into()),
            Some(ForwardWord::Head(_) | ForwardWord::Room(_)) | None => Err(ForwardError::Lost),
        }
    }

    /// The body as a stream; it ends with the first error.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, ForwardError>> {
        stream::unfold(Some(self), |answer| async {
            let mut answer = answer?;
            match answer.next().await {
                Ok(Some(bytes)) => Some((Ok(bytes), Some(answer))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
    }
}

#[cfg(test)]
#[path = "forwards_tests.rs"]
mod tests;
