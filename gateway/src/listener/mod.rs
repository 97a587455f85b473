//! Where connections come in: bounded in number, in how long they may stand still and in how long they may take to say
//! what they want (PROTOCOL §9, DESIGN §4.16); in the clear, or by TLS with or without certificates of clients.

mod accept;
mod pace;
mod tls;

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use axum::Router;
use axum_server::tls_rustls::RustlsConfig;
use hyper_util::rt::TokioTimer;
use tokio::task::JoinHandle;

use crate::metrics::Metrics;
use accept::Acceptor;

pub use tls::{Files, Tls, TlsError};

/// What one connection may hold of a request or an answer on its way, bytes: memory follows neither the size of
/// pictures nor the pace of those who fetch them. A request's head must fit.
const CONNECTION_BUFFER: usize = 32 << 10;
/// What a peer may send of one HTTP/2 body before its handler has read it, bytes.
const STREAM_WINDOW: u32 = 256 << 10;
/// The same for all bodies of one HTTP/2 connection.
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Requests at once on one HTTP/2 connection.
const STREAMS: u32 = 128;
/// How often an HTTP/2 peer is asked whether it is there, and how long it may take to say so.
const PING: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(20));

/// Bounds of a listener.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Open connections; more are closed as they come.
    pub connections: usize,
    /// Closed after so long without a byte in either direction; also the most that the head of a request may take,
    /// waiting for it included.
    pub idle: Duration,
    /// TLS handshakes at once; more wait.
    pub handshakes: usize,
    /// How long a handshake may take, waiting for its turn included.
    pub handshake_timeout: Duration,
}

/// A listener that serves.
#[derive(Debug)]
pub struct Listening {
    /// Where.
    pub address: SocketAddr,
    /// Ends it.
    pub handle: axum_server::Handle<SocketAddr>,
    /// Done when it has ended.
    pub task: JoinHandle<std::io::Result<()>>,
}

/// Serves `router` on a bound socket.
///
/// # Errors
/// The socket's own.
pub fn serve(
    listener: TcpListener,
    tls: Option<RustlsConfig>,
    bounds: &Bounds,
    metrics: Metrics,
    router: Router,
) -> std::io::Result<Listening> {
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let handle = axum_server::Handle::new();
    let acceptor = Acceptor::new(tls, bounds.clone(), metrics);
    let mut server = axum_server::from_tcp(listener)?.acceptor(acceptor).handle(handle.clone());
    let http = server.http_builder();
    http.http1().timer(TokioTimer::new()).header_read_timeout(bounds.idle).max_buf_size(CONNECTION_BUFFER);
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING.0)
        .keep_alive_timeout(PING.1)
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(CONNECTION_BUFFER)
        .max_header_list_size(CONNECTION_BUFFER as u32);
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let task = tokio::spawn(server.serve(service));
    Ok(Listening { address, handle, task })
}
