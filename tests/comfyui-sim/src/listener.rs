//! A TCP listener whose connections can be cut at once, all or one, as when a process dies.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Accepts connections until `cut` is cancelled, which also resets those already open.
pub(crate) struct CuttableListener {
    listener: TcpListener,
    cut: CancellationToken,
    open: Arc<AtomicUsize>,
}

impl CuttableListener {
    /// Wraps a bound listener; `open` counts live connections.
    pub(crate) fn new(listener: TcpListener, cut: CancellationToken, open: Arc<AtomicUsize>) -> Self {
        CuttableListener { listener, cut, open }
    }
}

impl Listener for CuttableListener {
    type Io = CuttableStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, addr) = Listener::accept(&mut self.listener).await;
        let _ = stream.set_nodelay(true);
        let cut = self.cut.child_token();
        self.open.fetch_add(1, Ordering::SeqCst);
        let io = CuttableStream {
            stream,
            waiting: Box::pin(cut.clone().cancelled_owned()),
            cut,
            open: Arc::clone(&self.open),
        };
        (io, addr)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// One connection of a [`CuttableListener`].
pub(crate) struct CuttableStream {
    stream: TcpStream,
    cut: CancellationToken,
    waiting: Pin<Box<WaitForCancellationFutureOwned>>,
    open: Arc<AtomicUsize>,
}

impl Drop for CuttableStream {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl CuttableStream {
    fn check(&self) -> io::Result<()> {
        if self.cut.is_cancelled() {
            let _ = self.stream.set_zero_linger();
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

impl AsyncRead for CuttableStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let _ = self.waiting.as_mut().poll(cx);
        self.check()?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for CuttableStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// What a request handler knows about its connection.
#[derive(Clone)]
pub(crate) struct Connection {
    cut: CancellationToken,
}

impl Connection {
    /// Resets the connection.
    pub(crate) fn cut(&self) {
        self.cut.cancel();
    }

    /// Resets the connection and never returns: the handler is dropped with it.
    pub(crate) async fn vanish(&self) -> ! {
        self.cut.cancel();
        std::future::pending().await
    }
}

impl Connected<IncomingStream<'_, CuttableListener>> for Connection {
    fn connect_info(stream: IncomingStream<'_, CuttableListener>) -> Self {
        Connection { cut: stream.io().cut.clone() }
    }
}
