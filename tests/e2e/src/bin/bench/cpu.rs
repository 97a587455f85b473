//! CPU time of the server's process for a job: submit, event stream, fetch of one 20 KB picture.

use super::bed::{self, Bed};
use super::client::Caller;
use super::latency::INSTANT;
use super::options::{Options, Stage};
use super::process::Server;
use super::procfs;
use super::report::Row;
use super::stats::each_ms;

/// Jobs at a time.
const WIDTHS: [usize; 2] = [1, 16];

/// What a job of the gateway may cost.
const AIM_MS: f64 = 0.5;

/// Measures the gateway, and the proxy beside it.
///
/// # Errors
/// When an arm does not work.
pub async fn measure(options: &Options) -> anyhow::Result<Vec<Row>> {
    let bed = Bed::start(options, &INSTANT).await?;
    bed.warm_up().await?;
    let mut rows = Vec::new();
    for width in WIDTHS {
        let ours = of_a_job(&bed.gateway, width, options.cpu_jobs()).await?;
        let theirs = match &bed.proxy {
            Some(proxy) => Some(of_a_job(proxy, width, options.cpu_jobs() / 4).await?),
            None => None,
        };
        let what = format!("CPU of the process for a job, {width} at a time");
        rows.push(
            Row::new(Stage::Cpu, what, format!("{ours:.2} ms"))
                .beside(theirs.map(|theirs| format!("{theirs:.2} ms")))
                .aim("≤ 0.5 ms", ours <= AIM_MS),
        );
    }
    bed.end().await?;
    Ok(rows)
}

async fn of_a_job(server: &Server, width: usize, jobs: usize) -> anyhow::Result<f64> {
    let caller = Caller::new(server)?;
    let before = procfs::cpu(server.pid)?;
    let many = bed::many(&caller, width, jobs, true).await?;
    // Jobs of the peer that fail are told by the other stages; one that hangs would make this figure meaningless.
    anyhow::ensure!(many.hung == 0, "{} jobs of {} hung", many.hung, server.name);
    Ok(each_ms(procfs::cpu(server.pid)?.saturating_sub(before), jobs))
}
