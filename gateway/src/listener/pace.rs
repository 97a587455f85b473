//! A connection that is closed when it stands still, and that gives its place back when it ends.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};

/// A stream with a bound on how long no byte moves in either direction.
pub(super) struct Paced<S> {
    stream: S,
    idle: Duration,
    moved_at: Instant,
    alarm: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl<S> Paced<S> {
    pub(super) fn new(stream: S, idle: Duration, place: OwnedSemaphorePermit) -> Self {
        let moved_at = Instant::now();
        Self {
            stream,
            idle,
            moved_at,
            alarm: Box::pin(tokio::time::sleep_until(moved_at + idle)),
            _place: place,
        }
    }

    /// What a step on the stream came to: bytes moved, or it waits and may have waited for too long.
    fn paced<T>(&mut self, context: &mut Context<'_>, step: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if step.is_ready() {
            self.moved_at = Instant::now();
            return step;
        }
        loop {
            ready!(self.alarm.as_mut().poll(context));
            let until = self.moved_at + self.idle;
            if until <= Instant::now() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.alarm.as_mut().reset(until);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let step = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.paced(context, step)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let step = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.paced(context, step)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let step = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.paced(context, step)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Flushing and closing move no bytes that count, but they may wait for the peer all the same.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_flush(context) {
            Poll::Pending => self.paced(context, Poll::Pending),
            done => done,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_shutdown(context) {
            Poll::Pending => self.paced(context, Poll::Pending),
            done => done,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Semaphore;

    use super::*;

    const IDLE: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_stands_still_ends_and_gives_its_place_back() {
        let places = Arc::new(Semaphore::new(1));
        let (near, mut far) = tokio::io::duplex(64);
        let mut paced = Paced::new(near, IDLE, places.clone().try_acquire_owned().unwrap());
        let mut byte = [0];
        for _ in 0..3 {
            tokio::time::sleep(IDLE * 2 / 3).await;
            far.write_all(b"x").await.unwrap();
            paced.read_exact(&mut byte).await.unwrap();
        }
        let failed = paced.read_exact(&mut byte).await.unwrap_err();
        assert_eq!(failed.kind(), io::ErrorKind::TimedOut);
        assert_eq!(places.available_permits(), 0);
        drop(paced);
        assert_eq!(places.available_permits(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_does_not_read_ends_the_stream_too() {
        let (near, _far) = tokio::io::duplex(8);
        let place = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let mut paced = Paced::new(near, IDLE, place);
        let failed = paced.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(failed.kind(), io::ErrorKind::TimedOut);
    }
}
