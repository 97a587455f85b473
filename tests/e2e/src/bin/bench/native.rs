//! Instant jobs through ComfyUI's own API, and the same straight to a simulator: one client, two addresses.

use super::bed::{self, Many};
use super::direct::Direct;
use super::latency::{self, BLOCKS, INSTANT, WIDTH};
use super::options::{Options, Stage};
use super::process;
use super::report::Row;
use super::stats::{Samples, difference_ms, ms};
use super::workflows;

/// Jobs of each arm that nobody counts.
const WARM_UP: usize = 20;

/// One after another, in turning order, then 16 at a time.
///
/// # Errors
/// When an arm does not work.
pub async fn measure(options: &Options) -> anyhow::Result<Vec<Row>> {
    let folder = options.folder()?;
    let simulators = process::simulators(2, &options.simulator(&INSTANT), &folder).await?;
    let gateway = process::gateway(&simulators.urls[1..], &folder).await?;
    let addresses = [simulators.urls[0].clone(), gateway.url("")];
    for address in &addresses {
        bed::floor(address, 1, WARM_UP).await?;
    }
    let alone = sequential(&addresses, options.rounds()).await?;
    let mut together = [Vec::new(), Vec::new()];
    for _ in 0..BLOCKS {
        for (many, address) in together.iter_mut().zip(&addresses) {
            many.push(bed::floor(address, WIDTH, options.parallel_jobs() / BLOCKS).await?);
        }
    }
    gateway.end().await?;
    Ok(rows(&alone, &together.map(latency::merged)))
}

async fn sequential(addresses: &[String; 2], rounds: usize) -> anyhow::Result<[Samples; 2]> {
    let mut callers = [Direct::open(&addresses[0]).await?, Direct::open(&addresses[1]).await?];
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        for turn in 0..2 {
            let arm = (round + turn) % 2;
            times[arm].push(callers[arm].run(&workflows::painting(bed::seed())).await?);
        }
    }
    Ok(times.map(|times| times.into_iter().collect()))
}

fn rows([floor, ours]: &[Samples; 2], [floor_many, ours_many]: &[Many; 2]) -> Vec<Row> {
    let row = |what: &str, gateway: String| Row::new(Stage::Native, what, gateway);
    let (median, p99) =
        (difference_ms(ours.median(), floor.median()), difference_ms(ours.p99(), floor.p99()));
    vec![
        row(
            "`POST /prompt` → picture fetched, straight to the simulator: median / p99",
            latency::both(floor),
        ),
        row("the same through the gateway, one after another: median / p99", latency::both(ours)),
        row("added, gross: median / p99", format!("{median:.2} / {p99:.2} ms")),
        row(
            "straight to the simulator, 16 in parallel: median / p99, rate",
            format!("{}, {}", latency::both(&floor_many.latencies), latency::speed(floor_many)),
        ),
        row(
            "through the gateway, 16 in parallel: median / p99, rate",
            format!("{}, {}", latency::both(&ours_many.latencies), latency::speed(ours_many)),
        ),
        row(
            "a job that is one after another takes, beside the floor",
            format!("{:.1} ×", ms(ours.median()) / ms(floor.median())),
        ),
    ]
}
