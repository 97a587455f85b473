//! Resident memory: idle, with many instances, and with many jobs in flight that each bring a picture.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::bed::{self, Many};
use super::client::Caller;
use super::latency;
use super::options::{Options, Stage};
use super::process;
use super::procfs::{self, megabytes};
use super::report::Row;

/// A second or two of simulated work: jobs are on their instances, not only on their way.
const BUSY: [&str; 4] = ["--pace-ms", "100", "--node-ms", "100"];

/// Time for what the start has left behind.
const SETTLE: Duration = Duration::from_secs(3);

/// Pause between two looks at the memory.
const LOOK_EVERY: Duration = Duration::from_millis(20);

const AIM_IDLE_MB: f64 = 60.0;
const AIM_BUSY_MB: f64 = 100.0;

/// Measures the gateway.
///
/// # Errors
/// When it does not take the jobs.
pub async fn measure(options: &Options) -> anyhow::Result<Vec<Row>> {
    let folder = options.folder()?;
    let picture = options.picture_kb.to_string();
    let simulator = [&BUSY[..], &["--output-kb", &picture]].concat();
    let simulators = process::simulators(options.instances, &options.simulator(&simulator), &folder).await?;
    let alone = idle(&simulators.urls[..1], options).await?;

    let gateway = process::gateway(&simulators.urls, &folder).await?;
    tokio::time::sleep(SETTLE).await;
    let idle = procfs::memory(gateway.pid)?;
    let over = Arc::new(AtomicBool::new(false));
    let highest = tokio::spawn(highest(gateway.pid, over.clone()));
    let many = bed::many(&Caller::new(&gateway)?, options.in_flight, options.flight_jobs(), true).await;
    over.store(true, Ordering::Relaxed);
    let highest = highest.await??;
    let end = procfs::memory(gateway.pid)?;
    gateway.end().await?;
    Ok(rows(options, [alone, megabytes(idle.resident), highest, megabytes(end.peak)], &many?))
}

fn rows(options: &Options, [alone, idle, highest, peak]: [f64; 4], many: &Many) -> Vec<Row> {
    let row = |what: String, gateway: f64| Row::new(Stage::Memory, what, format!("{gateway:.1} MB"));
    let (instances, jobs, kb) = (options.instances, options.in_flight, options.picture_kb);
    vec![
        row("resident, idle, 1 instance".to_owned(), alone).aim("≤ 60 MB", alone <= AIM_IDLE_MB),
        row(format!("resident, idle, {instances} instances"), idle).aim("≤ 60 MB", idle <= AIM_IDLE_MB),
        row(
            format!("resident, {instances} instances, {jobs} jobs in flight, {kb} KB each: highest"),
            highest,
        )
        .aim("≤ 100 MB", highest <= AIM_BUSY_MB),
        row("its peak since the start".to_owned(), peak),
        latency::ends(Stage::Memory, many, None),
    ]
}

async fn idle(urls: &[String], options: &Options) -> anyhow::Result<f64> {
    let folder = options.folder()?;
    let gateway = process::gateway(urls, &folder).await?;
    tokio::time::sleep(SETTLE).await;
    let memory = procfs::memory(gateway.pid)?;
    gateway.end().await?;
    Ok(megabytes(memory.resident))
}

async fn highest(pid: u32, over: Arc<AtomicBool>) -> anyhow::Result<f64> {
    let mut highest = 0;
    while !over.load(Ordering::Relaxed) {
        highest = highest.max(procfs::memory(pid)?.resident);
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(megabytes(highest))
}
