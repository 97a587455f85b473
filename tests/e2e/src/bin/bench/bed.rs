//! What is measured side by side: one simulator process with an instance for each arm, the gateway before one, the
//! reference proxy before another. Equal instances of one process are one floor.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::task::JoinSet;

use super::client::{Caller, End};
use super::direct::Direct;
use super::options::Options;
use super::process::{self, Server, Simulators};
use super::stats::Samples;
use super::{venv, workflows};

/// Jobs before the measurement: connections are open, statements prepared, allocators warm.
const WARM_UP: usize = 20;

/// Everything that runs for a stage.
pub struct Bed {
    /// The floor's own instance is the first, the gateway's the second, the proxy's the third.
    pub simulators: Simulators,
    /// The gateway before one instance.
    pub gateway: Server,
    /// The proxy before one instance.
    pub proxy: Option<Server>,
    /// On the disk of the build.
    pub folder: PathBuf,
}

/// What many jobs came to.
#[derive(Clone, Debug, Default)]
pub struct Many {
    /// Of those that succeeded.
    pub latencies: Samples,
    /// Those that ended otherwise.
    pub failed: usize,
    /// Those that did not end.
    pub hung: usize,
    /// From the first submission to the last end.
    pub took: Duration,
}

impl Bed {
    /// Starts it with these options of the simulators.
    ///
    /// # Errors
    /// When a program does not start.
    pub async fn start(options: &Options, simulator: &[&str]) -> anyhow::Result<Self> {
        let folder = options.folder()?;
        let simulators = process::simulators(3, &options.simulator(simulator), &folder).await?;
        let gateway = process::gateway(&simulators.urls[1..2], &folder).await?;
        let proxy = match options.without_proxy {
            true => None,
            false => {
                let program = venv::proxy(&options.target()?).await?;
                Some(process::proxy(&program, &simulators.urls[2], &folder).await?)
            }
        };
        Ok(Self { simulators, gateway, proxy, folder })
    }

    /// Runs a few jobs on every arm that nobody counts.
    ///
    /// # Errors
    /// When an arm does not work.
    pub async fn warm_up(&self) -> anyhow::Result<()> {
        floor(&self.simulators.urls[0], 1, WARM_UP).await?;
        many(&Caller::new(&self.gateway)?, 1, WARM_UP, true).await?;
        if let Some(proxy) = &self.proxy {
            many(&Caller::new(proxy)?, 1, WARM_UP, true).await?;
        }
        Ok(())
    }

    /// Ends the servers, then the simulators with the guard.
    ///
    /// # Errors
    /// When the system does not obey.
    pub async fn end(self) -> anyhow::Result<()> {
        self.gateway.end().await?;
        match self.proxy {
            Some(proxy) => proxy.end().await,
            None => Ok(()),
        }
    }
}

/// A graph's seed that no other job of this run has.
pub fn seed() -> u64 {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed) as u64
}

/// Takes jobs to their ends, `width` at a time.
///
/// # Errors
/// When the server does not answer as agreed.
pub async fn many(caller: &Caller, width: usize, jobs: usize, fetch: bool) -> anyhow::Result<Many> {
    let (began, left) = (Instant::now(), Arc::new(AtomicUsize::new(jobs)));
    let mut workers = JoinSet::new();
    for _ in 0..width {
        let (caller, left) = (caller.clone(), left.clone());
        workers.spawn(async move {
            let mut runs = Vec::new();
            while take(&left) {
                runs.push(caller.run(workflows::submission(seed()), fetch).await?);
            }
            Ok::<_, anyhow::Error>(runs)
        });
    }
    let mut runs = Vec::with_capacity(jobs);
    while let Some(done) = workers.join_next().await {
        runs.extend(done??);
    }
    let ended = |end| runs.iter().filter(move |run| run.end == end);
    Ok(Many {
        latencies: ended(End::Succeeded).map(|run| run.latency).collect(),
        failed: ended(End::Failed).count(),
        hung: ended(End::Hung).count(),
        took: began.elapsed(),
    })
}

/// Takes prompts straight to a simulator, `width` at a time.
///
/// # Errors
/// When one does not succeed.
pub async fn floor(url: &str, width: usize, jobs: usize) -> anyhow::Result<Many> {
    let (left, mut workers) = (Arc::new(AtomicUsize::new(jobs)), JoinSet::new());
    let mut ready = Vec::new();
    for _ in 0..width {
        ready.push(Direct::open(url).await?);
    }
    let began = Instant::now();
    for mut direct in ready {
        let left = left.clone();
        workers.spawn(async move {
            let mut times = Vec::new();
            while take(&left) {
                times.push(direct.run(&workflows::painting(seed())).await?);
            }
            Ok::<_, anyhow::Error>(times)
        });
    }
    let mut times = Vec::with_capacity(jobs);
    while let Some(done) = workers.join_next().await {
        times.extend(done.context("a worker failed")??);
    }
    Ok(Many { latencies: times.into_iter().collect(), took: began.elapsed(), ..Many::default() })
}

fn take(left: &AtomicUsize) -> bool {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}
