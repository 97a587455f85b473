//! From an accepted socket to a connection that HTTP may use. Handshakes run in the connection's own task, so a slow
//! peer holds up nobody (axum-server).

use std::io;
use std::sync::Arc;

use axum_server::accept::{Accept, NoDelayAcceptor};
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use futures_util::future::BoxFuture;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::either::Either;

use super::Bounds;
use super::pace::Paced;
use crate::metrics::{Metrics, Turned};

/// No delay: a second small frame of a stream must not wait for the first one's acknowledgement.
type Secure = RustlsAcceptor<NoDelayAcceptor>;

/// Lets connections in within bounds.
#[derive(Clone)]
pub(super) struct Acceptor {
    tls: Option<Secure>,
    connections: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
    bounds: Bounds,
    metrics: Metrics,
}

impl Acceptor {
    pub(super) fn new(tls: Option<RustlsConfig>, bounds: Bounds, metrics: Metrics) -> Self {
        let secure = |config| {
            let secure = RustlsAcceptor::new(config).handshake_timeout(bounds.handshake_timeout);
            secure.acceptor(NoDelayAcceptor::new())
        };
        Self {
            tls: tls.map(secure),
            connections: Arc::new(Semaphore::new(bounds.connections.min(Semaphore::MAX_PERMITS))),
            handshakes: Arc::new(Semaphore::new(bounds.handshakes.min(Semaphore::MAX_PERMITS))),
            bounds,
            metrics,
        }
    }

    fn place(&self) -> io::Result<OwnedSemaphorePermit> {
        self.connections.clone().try_acquire_owned().map_err(|_| {
            self.metrics.connection_turned_away(Turned::Full);
            io::Error::other("there are too many connections")
        })
    }

    /// The handshake, once it is its turn and within its time.
    async fn secure<S>(
        &self,
        tls: &Secure,
        stream: TcpStream,
        service: S,
    ) -> io::Result<(<Secure as Accept<TcpStream, S>>::Stream, S)> {
        let handshake = async {
            let _turn = self.handshakes.acquire().await.map_err(io::Error::other)?;
            tls.accept(stream, service).await
        };
        let done = tokio::time::timeout(self.bounds.handshake_timeout, handshake).await;
        done.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).inspect_err(|error| {
            self.metrics.connection_turned_away(Turned::Handshake);
            tracing::debug!(%error, "TLS handshake failed");
        })
    }
}

impl<S: Send + 'static> Accept<TcpStream, S> for Acceptor {
    type Stream = Paced<Either<TcpStream, <Secure as Accept<TcpStream, S>>::Stream>>;
    type Service = S;
    type Future = BoxFuture<'static, io::Result<(Self::Stream, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let acceptor = self.clone();
        Box::pin(async move {
            let place = acceptor.place()?;
            let (stream, service) = match &acceptor.tls {
                None => {
                    stream.set_nodelay(true)?;
                    (Either::Left(stream), service)
                }
                Some(tls) => {
                    let (stream, service) = acceptor.secure(tls, stream, service).await?;
                    (Either::Right(stream), service)
                }
            };
            Ok((Paced::new(stream, acceptor.bounds.idle, place), service))
        })
    }
}
