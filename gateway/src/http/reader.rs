//! Bodies that end when their reader takes nothing of them for too long. A body is asked for more only while its reader
//! has room, and a peer of HTTP/2 keeps its connection by answering pings without ever making room: what such a body holds
//! is given back by a clock beside it, whether anybody asks the body or not.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::BoxError;
use axum::body::{Body, Bytes};
use futures_util::Stream;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// How long a body may stand still.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// For its reader to take the next piece.
    pub(super) reader: Duration,
    /// For its source to have one; the source itself must end within that.
    pub(super) source: Duration,
}

/// A body that flows from `stream`, and drops it at its end or when its reader stands still for too long.
pub(super) fn body<S, E>(stream: S, patience: Patience) -> Body
where
    S: Stream<Item = Result<Bytes, E>> + Send + 'static,
    E: Into<BoxError> + 'static,
{
    Body::from_stream(Watched::new(stream, patience))
}

/// A stream with a clock beside it.
struct Watched<S> {
    flow: Arc<Mutex<Flow<S>>>,
    clock: AbortHandle,
    patience: Patience,
}

/// What reader and clock share.
struct Flow<S> {
    state: State<S>,
    /// When the clock ends it.
    until: Instant,
    /// Who waits for the source.
    waiting: Option<Waker>,
}

enum State<S> {
    Flows(Pin<Box<S>>),
    /// Ended by the clock; the reader is told if it ever asks.
    Cut,
    Ended,
}

impl<S: Send + 'static> Watched<S> {
    fn new(stream: S, patience: Patience) -> Self {
        let until = Instant::now() + patience.reader;
        let flow = Flow { state: State::Flows(Box::pin(stream)), until, waiting: None };
        let flow = Arc::new(Mutex::new(flow));
        let clock = tokio::spawn(watch(flow.clone(), patience.reader)).abort_handle();
        Self { flow, clock, patience }
    }
}

fn lock<S>(flow: &Mutex<Flow<S>>) -> MutexGuard<'_, Flow<S>> {
    flow.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends what stands still for too long. While the source is waited for there is more time, and once it gave something less
/// again: so the clock is looked at as often as a reader may stand still, which misses none.
async fn watch<S>(flow: Arc<Mutex<Flow<S>>>, reader: Duration) {
    loop {
        let until = lock(&flow).until.min(Instant::now() + reader);
        tokio::time::sleep_until(until).await;
        let mut now = lock(&flow);
        if now.until > Instant::now() {
            continue;
        }
        let (cut, waiting) = (now.end(State::Cut), now.waiting.take());
        drop(now);
        if matches!(cut, State::Flows(_)) {
            tracing::debug!("an answer was given up, its reader took nothing of it");
        }
        drop(cut);
        if let Some(waker) = waiting {
            waker.wake();
        }
        return;
    }
}

impl<S> Flow<S> {
    /// Ends it; the caller drops what it was outside the lock.
    fn end(&mut self, as_what: State<S>) -> State<S> {
        std::mem::replace(&mut self.state, as_what)
    }
}

impl<S, E> Stream for Watched<S>
where
    S: Stream<Item = Result<Bytes, E>>,
    E: Into<BoxError>,
{
    type Item = Result<Bytes, BoxError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut flow = lock(&self.flow);
        let step = match &mut flow.state {
            State::Flows(stream) => stream.as_mut().poll_next(context),
            State::Cut => {
                flow.state = State::Ended;
                return Poll::Ready(Some(Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into())));
            }
            State::Ended => return Poll::Ready(None),
        };
        let Patience { reader, source } = self.patience;
        match step {
            Poll::Pending => {
                flow.until = Instant::now() + source + reader;
                flow.waiting = Some(context.waker().clone());
                Poll::Pending
            }
            Poll::Ready(Some(Ok(bytes))) => {
                flow.until = Instant::now() + reader;
                flow.waiting = None;
                Poll::Ready(Some(Ok(bytes)))
            }
            Poll::Ready(end) => {
                let ended = flow.end(State::Ended);
                drop(flow);
                drop(ended);
                Poll::Ready(end.map(|end| end.map_err(Into::into)))
            }
        }
    }
}

impl<S> Drop for Watched<S> {
    fn drop(&mut self) {
        self.clock.abort();
        let ended = lock(&self.flow).end(State::Ended);
        drop(ended);
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
