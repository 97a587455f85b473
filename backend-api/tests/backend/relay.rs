//! A relay between backend-api and its database that loses connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use reqwest::Url;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::support::eventually;

/// Bytes from the database after which a connection is cut; none when it is this.
const NEVER: usize = usize::MAX;

pub struct Relay {
    address: SocketAddr,
    cuts: watch::Sender<u64>,
    sleeping: Arc<AtomicBool>,
    budget: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
    /// One for itself, one for each connection that is open.
    open: Arc<()>,
}

impl Relay {
    /// Relays to the server of this database URL.
    pub async fn to(url: &Url) -> Self {
        let server = (url.host_str().unwrap().to_owned(), url.port().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay = Self {
            address: listener.local_addr().unwrap(),
            cuts: watch::channel(0).0,
            sleeping: Arc::default(),
            budget: Arc::new(AtomicUsize::new(NEVER)),
            connections: Arc::default(),
            open: Arc::default(),
        };
        let open = Arc::downgrade(&relay.open);
        let (cuts, sleeping) = (relay.cuts.clone(), relay.sleeping.clone());
        let (budget, connections) = (relay.budget.clone(), relay.connections.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                if sleeping.load(Ordering::SeqCst) {
                    continue; // closed by being dropped
                }
                let upstream = TcpStream::connect(server.clone()).await.unwrap();
                let carried = carry(client, upstream, cuts.subscribe(), budget.clone());
                let is_open = open.upgrade();
                tokio::spawn(async move {
                    carried.await;
                    drop(is_open);
                });
            }
        });
        relay
    }

    /// The same database, by way of the relay.
    pub fn url(&self, url: &Url) -> String {
        let mut through = url.clone();
        through.set_host(Some("127.0.0.1")).unwrap();
        through.set_port(Some(self.address.port())).unwrap();
        through.to_string()
    }

    /// Cuts every connection that is open, and those that are just being opened.
    pub async fn cut(&self) {
        eventually("the relay's connections are cut", || {
            self.cuts.send_modify(|cuts| *cuts += 1);
            Arc::strong_count(&self.open) == 1
        })
        .await;
    }

    /// While asleep, connections are accepted and closed at once.
    pub fn sleep(&self, asleep: bool) {
        self.sleeping.store(asleep, Ordering::SeqCst);
    }

    /// The next connection that gets this many more bytes from the database is cut there, in the middle of an answer.
    pub fn cut_after(&self, bytes: usize) {
        self.budget.store(bytes, Ordering::SeqCst);
    }

    /// Connections asked for so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn carry(
    client: TcpStream,
    upstream: TcpStream,
    mut cuts: watch::Receiver<u64>,
    budget: Arc<AtomicUsize>,
) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = upstream.into_split();
    let up = tokio::io::copy(&mut from_client, &mut to_server);
    let down = async {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let count = match from_server.read(&mut buffer).await {
                Ok(count) if count > 0 => count,
                _ => return,
            };
            let left = budget.load(Ordering::SeqCst);
            if left != NEVER {
                budget.store(if left < count { NEVER } else { left - count }, Ordering::SeqCst);
            }
            let passed = count.min(left);
            if to_client.write_all(&buffer[..passed]).await.is_err() || passed < count {
                return;
            }
        }
    };
    tokio::select! {
        _ = up => {}
        () = down => {}
        _ = cuts.changed() => {}
    }
}
