//! What the gateway adds to a job: one after another (interleaved, round by round) and 16 at a time.

use std::time::Duration;

use anyhow::Context as _;

use super::bed::{self, Bed, Many};
use super::client::{Caller, End, Run};
use super::direct::Direct;
use super::disk::Log;
use super::options::{Options, Stage};
use super::process::Server;
use super::report::Row;
use super::stats::{Samples, difference_ms, ms, rate};
use super::workflows;

/// What a small picture in the local folder costs: the file, and the folder it was renamed into
/// (`gateway/src/runner/outputs/sink.rs`).
const ARTIFACT_SYNCS: f64 = 2.0;

/// Jobs at a time in the parallel runs.
pub const WIDTH: usize = 16;

/// The parallel runs of the arms take turns this often.
pub const BLOCKS: usize = 4;

/// Instant jobs with one picture of 20 KB.
pub const INSTANT: [&str; 3] = ["--instant", "--output-kb", "20"];

/// One job after another.
///
/// # Errors
/// When an arm does not work.
pub async fn sequential(options: &Options) -> anyhow::Result<Vec<Row>> {
    let bed = Bed::start(options, &INSTANT).await?;
    bed.warm_up().await?;
    let mut direct = Direct::open(&bed.simulators.urls[0]).await?;
    let gateway = Caller::new(&bed.gateway)?;
    let proxy = bed.proxy.as_ref().map(Caller::new).transpose()?;
    let mut log = Log::create(&bed.folder)?;

    let commits = commits(&bed.gateway).await?;
    let (mut floor, mut ours, mut theirs, mut syncs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..options.rounds() {
        // The order turns, so that nobody always follows the same neighbour.
        for turn in 0..4 {
            match (round + turn) % 4 {
                0 => floor.push(direct.run(&workflows::painting(bed::seed())).await?),
                1 => ours.push(gateway.run(workflows::submission(bed::seed()), false).await?),
                2 => syncs.push(tokio::task::block_in_place(|| log.sync())?),
                _ => {
                    if let Some(proxy) = &proxy {
                        theirs.push(proxy.run(workflows::submission(bed::seed()), false).await?);
                    }
                }
            }
        }
    }
    let commits = f64::from(self::commits(&bed.gateway).await? - commits) / count(ours.len());
    bed.end().await?;
    let theirs = proxy.map(|_| gathered(&theirs));
    Ok(rows(
        &floor.into_iter().collect(),
        &gathered(&ours),
        theirs.as_ref(),
        &syncs.into_iter().collect(),
        commits,
    ))
}

fn rows(floor: &Samples, ours: &Many, theirs: Option<&Many>, syncs: &Samples, commits: f64) -> Vec<Row> {
    let row = |what: &str, gateway: String| Row::new(Stage::Latency, what, gateway);
    let added = |of: &Samples| (gross(of.median(), floor.median()), gross(of.p99(), floor.p99()));
    let (median, p99) = added(&ours.latencies);
    let durable = (commits + ARTIFACT_SYNCS) * ms(syncs.median());
    let peer = theirs.map(|theirs| added(&theirs.latencies));
    vec![
        row("simulator's floor, sequential: median / p99", both(floor)),
        row("fdatasync of the same run: median / p99", both(syncs)),
        row("submit → end, sequential: median / p99", both(&ours.latencies))
            .beside(theirs.map(|theirs| both(&theirs.latencies))),
        row("added, gross: median / p99", format!("{median:.2} / {p99:.2} ms"))
            .beside(peer.map(|(median, p99)| format!("{median:.2} / {p99:.2} ms"))),
        row(
            "syncs: commits in sequence + of a local artifact, × median fdatasync",
            format!("({commits:.2} + {ARTIFACT_SYNCS}) × {:.3} = {durable:.2} ms", ms(syncs.median())),
        )
        .beside(theirs.map(|_| "none")),
        row("added, net: median", format!("{:.2} ms", median - durable))
            .aim("≤ 1.5 ms", median - durable <= 1.5),
        row("added, net: p99", format!("{:.2} ms", p99 - durable)).aim("≤ 5 ms", p99 - durable <= 5.0),
        ends(Stage::Latency, ours, theirs),
    ]
}

/// 16 at a time.
///
/// # Errors
/// When an arm does not work.
pub async fn parallel(options: &Options) -> anyhow::Result<Vec<Row>> {
    let bed = Bed::start(options, &INSTANT).await?;
    bed.warm_up().await?;
    let gateway = Caller::new(&bed.gateway)?;
    let proxy = bed.proxy.as_ref().map(Caller::new).transpose()?;
    let jobs = options.parallel_jobs() / BLOCKS;
    let (mut floor, mut ours, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..BLOCKS {
        floor.push(bed::floor(&bed.simulators.urls[0], WIDTH, jobs).await?);
        ours.push(bed::many(&gateway, WIDTH, jobs, false).await?);
        if let Some(proxy) = &proxy {
            theirs.push(bed::many(proxy, WIDTH, jobs, false).await?);
        }
    }
    bed.end().await?;
    let (floor, ours) = (merged(floor), merged(ours));
    let theirs = proxy.map(|_| merged(theirs));
    let row = |what: &str, gateway: String| Row::new(Stage::Parallel, what, gateway);
    Ok(vec![
        row("simulator's floor, 16 in parallel: median / p99", both(&floor.latencies)),
        row("simulator's floor, 16 in parallel: rate", speed(&floor)),
        row("submit → end, 16 in parallel: median / p99", both(&ours.latencies))
            .beside(theirs.as_ref().map(|theirs| both(&theirs.latencies))),
        row("rate over one instance, 16 in parallel", speed(&ours)).beside(theirs.as_ref().map(speed)),
        ends(Stage::Parallel, &ours, theirs.as_ref()),
    ])
}

/// Jobs a second.
pub fn speed(many: &Many) -> String {
    format!("{:.0} jobs/s", rate(many.latencies.len(), many.took))
}

/// How many did not succeed.
pub fn ends(stage: Stage, ours: &Many, theirs: Option<&Many>) -> Row {
    let told = |many: &Many| {
        let all = many.latencies.len() + many.failed + many.hung;
        format!("{} / {} of {all}", many.failed, many.hung)
    };
    Row::new(stage, "not succeeded / hung", told(ours))
        .beside(theirs.map(told))
        .aim("0 hung", ours.hung == 0 && ours.failed == 0)
}

fn gross(of: Duration, floor: Duration) -> f64 {
    difference_ms(of, floor)
}

/// Median and p99.
pub fn both(samples: &Samples) -> String {
    format!("{:.2} / {:.2} ms", ms(samples.median()), ms(samples.p99()))
}

fn gathered(runs: &[Run]) -> Many {
    let ended = |end| runs.iter().filter(move |run| run.end == end);
    Many {
        latencies: ended(End::Succeeded).map(|run| run.latency).collect(),
        failed: ended(End::Failed).count(),
        hung: ended(End::Hung).count(),
        took: Duration::ZERO,
    }
}

/// What blocks of the same came to together.
pub fn merged(blocks: Vec<Many>) -> Many {
    let mut all = Many::default();
    let mut latencies = Vec::new();
    for block in blocks {
        latencies.extend(block.latencies);
        all.failed += block.failed;
        all.hung += block.hung;
        all.took += block.took;
    }
    all.latencies = latencies.into_iter().collect();
    all
}

fn count(jobs: usize) -> f64 {
    f64::from(u32::try_from(jobs.max(1)).unwrap_or(u32::MAX))
}

/// How many turns the gateway has committed.
async fn commits(gateway: &Server) -> anyhow::Result<u32> {
    let http = reqwest::Client::builder().no_proxy().build()?;
    let text = http.get(gateway.url("/metrics")).send().await?.error_for_status()?.text().await?;
    let counted = text.lines().find_map(|line| line.strip_prefix("gateway_store_commit_seconds_count "));
    counted.and_then(|count| count.trim().parse().ok()).context("commits are not counted")
}
