//! Starting, killing and restarting a simulated server.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::faults::Faults;
use crate::http;
use crate::listener::{Connection, CuttableListener};
use crate::observed::{Observed, Record};
use crate::process::Process;
use crate::worker;

/// How long a kill waits for connection tasks to notice; they are woken at once.
const CUT_DEADLINE: Duration = Duration::from_secs(2);

/// What outlives a process.
pub(crate) struct Shared {
    pub config: Arc<Config>,
    pub faults: Arc<Faults>,
    pub record: Arc<Record>,
    running: Mutex<Option<Running>>,
    address: Mutex<SocketAddr>,
}

struct Running {
    process: Arc<Process>,
    cut: CancellationToken,
    connections: Arc<AtomicUsize>,
    tasks: Vec<JoinHandle<()>>,
}

impl Shared {
    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn address(&self) -> SocketAddr {
        *self.address.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The process, unless it is dead.
    pub(crate) fn process(&self) -> Option<Arc<Process>> {
        self.running().as_ref().map(|running| Arc::clone(&running.process))
    }

    /// Kills the process without waiting, and brings it back later if asked.
    pub(crate) fn die(self: &Arc<Self>, restart_after: Option<Duration>) {
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            shared.kill().await;
            if let Some(pause) = restart_after {
                tokio::time::sleep(pause).await;
                if let Err(error) = shared.start().await {
                    tracing::warn!(error = %error, "cannot restart");
                }
            }
        });
    }

    async fn start(self: &Arc<Self>) -> anyhow::Result<()> {
        ensure!(self.process().is_none(), "the server is already running");
        let address = self.address();
        let listener =
            TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
        *self.address.lock().unwrap_or_else(PoisonError::into_inner) = listener.local_addr()?;
        let (process, outbox) = Process::new(self);
        let process = Arc::new(process);
        let (cut, connections) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
        let listener = CuttableListener::new(listener, cut.clone(), Arc::clone(&connections));
        let service = http::router(Arc::clone(&process)).into_make_service_with_connect_info::<Connection>();
        let (pumping, working) = (Arc::clone(&process), Arc::clone(&process));
        let tasks = vec![
            tokio::spawn(async move {
                let _ = axum::serve(listener, service).await;
            }),
            tokio::spawn(async move { pumping.sockets.pump(outbox, &pumping.faults).await }),
            tokio::spawn(worker::run(working)),
        ];
        *self.running() = Some(Running { process, cut, connections, tasks });
        Ok(())
    }

    async fn kill(&self) {
        let Some(running) = self.running().take() else { return };
        running.cut.cancel();
        for task in running.tasks {
            task.abort();
            // an aborted task has dropped all it held, the listening socket for one
            let _ = task.await;
        }
        self.record.died();
        let deadline = Instant::now() + CUT_DEADLINE;
        while running.connections.load(Ordering::SeqCst) > 0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// A simulated ComfyUI server. Dropping it ends the server.
pub struct Simulator {
    shared: Arc<Shared>,
}

impl Simulator {
    /// Starts a server; it answers as soon as this returns.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn start(config: Config) -> anyhow::Result<Simulator> {
        let shared = Arc::new(Shared {
            address: Mutex::new(config.listen),
            config: Arc::new(config),
            faults: Arc::new(Faults::new()),
            record: Arc::new(Record::default()),
            running: Mutex::default(),
        });
        shared.faults.attach(Arc::downgrade(&shared));
        shared.start().await?;
        Ok(Simulator { shared })
    }

    /// `http://address:port`, the same after every restart.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr())
    }

    /// Where it listens, or did before it was killed.
    pub fn addr(&self) -> SocketAddr {
        self.shared.address()
    }

    /// The fault switches.
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// Everything seen so far, restarts included.
    pub fn observed(&self) -> Observed {
        let open = self.shared.process().map_or(0, |process| process.sockets.open_count());
        self.shared.record.snapshot(open)
    }

    /// Whether the process is alive: it may have died by itself.
    pub fn is_running(&self) -> bool {
        self.shared.process().is_some()
    }

    /// Dies as by SIGKILL: connections are reset, the port is free, queue, history and files are forgotten. Nothing
    /// happens when already dead.
    pub async fn kill(&self) {
        self.shared.kill().await;
    }

    /// Kills it if need be and starts it again, cold, on the same port.
    ///
    /// # Errors
    /// When somebody else took the port meanwhile.
    pub async fn restart(&self) -> anyhow::Result<()> {
        self.shared.kill().await;
        self.shared.start().await
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        if let Some(running) = self.shared.running().take() {
            running.cut.cancel();
            running.tasks.iter().for_each(JoinHandle::abort);
        }
    }
}
