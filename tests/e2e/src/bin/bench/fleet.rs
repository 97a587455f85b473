//! How well a fleet of unequal devices is used: three simulated instances of which each is twice as fast as the one
//! before, and many equal jobs at once. The gateway is told nothing of the speeds: it has a few jobs to learn them.
//! The jobs load no model, so that nothing but the speeds decides.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::task::JoinSet;

use super::bed;
use super::client::{Caller, End};
use super::options::{Options, Stage};
use super::process::{self, Simulators};
use super::report::Row;
use super::workflows;

/// Cards, and their speeds as multiples of the slowest.
const FLEET: [(&str, u32); 3] = [("t4", 1), ("v100", 2), ("a100", 4)];

/// Jobs from which the speeds are learned.
const WARM_UP: usize = 20;

/// Jobs that are submitted at once.
const JOBS: usize = 140;

/// What one takes on the slowest instance.
const WORK: Duration = Duration::from_millis(200);

/// What the instances took together.
struct Run {
    makespan: Duration,
    failed: usize,
}

/// Submits the jobs and takes the time until the last has ended.
///
/// # Errors
/// When a program does not start or a job is not taken.
pub async fn measure(options: &Options) -> anyhow::Result<Vec<Row>> {
    let mut simulators = Vec::new();
    for card in FLEET {
        simulators.push(simulator(options, card).await?);
    }
    let urls: Vec<String> = simulators.iter().flat_map(|simulators| simulators.urls.clone()).collect();
    let gateway = process::gateway(&urls, &options.folder()?).await?;
    let caller = Caller::new(&gateway)?;
    at_once(&caller, WARM_UP).await?;
    let run = at_once(&caller, JOBS).await?;
    gateway.end().await?;
    Ok(rows(&run))
}

/// One instance. A job is two nodes, and a node takes its share of what a job takes at this speed.
async fn simulator(options: &Options, (card, speed): (&str, u32)) -> anyhow::Result<Simulators> {
    let node_ms = (WORK / workflows::NODES / speed).as_millis().to_string();
    let pace = ["--device", card, "--node-ms", &node_ms];
    process::simulators(1, &options.simulator(&pace), &options.folder()?).await
}

async fn at_once(caller: &Caller, jobs: usize) -> anyhow::Result<Run> {
    let (began, mut callers) = (Instant::now(), JoinSet::new());
    for _ in 0..jobs {
        let caller = caller.clone();
        callers.spawn(async move { caller.run(workflows::colour(bed::seed()), false).await });
    }
    let mut failed = 0;
    while let Some(done) = callers.join_next().await {
        failed += usize::from(done.context("a caller failed")??.end != End::Succeeded);
    }
    Ok(Run { makespan: began.elapsed(), failed })
}

fn rows(run: &Run) -> Vec<Row> {
    let row = |what: &str, gateway: String| Row::new(Stage::Fleet, what, gateway);
    let reached = efficiency(run.makespan);
    vec![
        row(
            "140 jobs of 200 ms at once over speeds 1:2:4: makespan",
            format!("{:.2} s", run.makespan.as_secs_f64()),
        ),
        row("makespan efficiency (round robin 0.38, least queue 0.70)", format!("{reached:.3}"))
            .aim("≥ 0.95", reached >= 0.95),
        row("not succeeded", run.failed.to_string()).aim("0", run.failed == 0),
    ]
}

/// The shortest makespan that the speeds allow, as a share of this one.
fn efficiency(makespan: Duration) -> f64 {
    let (jobs, speeds) =
        (u32::try_from(JOBS).unwrap_or(u32::MAX), FLEET.iter().map(|(_, speed)| speed).sum::<u32>());
    (WORK * jobs / speeds).as_secs_f64() / makespan.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_makespan_is_that_of_all_speeds_together() {
        assert!((efficiency(Duration::from_secs(4)) - 1.0).abs() < 1e-9);
        assert!((efficiency(Duration::from_secs(8)) - 0.5).abs() < 1e-9);
    }
}
