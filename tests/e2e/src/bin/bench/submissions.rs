//! Durable submissions per second: instances that take an hour for a node, so that the backlog only grows.

use std::time::Duration;

use super::bed::{self, Bed};
use super::load::{self, Outcome, Plan};
use super::options::{Options, Stage};
use super::process::Server;
use super::procfs;
use super::report::Row;
use super::stats::{each_ms, ms, rate};
use super::workflows;

/// An hour for every node.
const SLOW: [&str; 2] = ["--node-ms", "3600000"];

/// What we aim at, a second, and against the proxy.
const AIM: f64 = 5000.0;
const AIM_RATIO: f64 = 5.0;

/// A load nobody counts, before each that is.
const WARM_UP: Duration = Duration::from_secs(1);

/// Measures each way in.
///
/// # Errors
/// When a submission is not answered.
pub async fn measure(options: &Options) -> anyhow::Result<Vec<Row>> {
    let bed = Bed::start(options, &SLOW).await?;
    let theirs = match &bed.proxy {
        Some(proxy) => Some(load(options, proxy, "/api/v2/jobs", false).await?),
        None => None,
    };
    let theirs = theirs.as_ref().map(|(outcome, _)| outcome);
    let mut rows = Vec::new();
    let ways = [("/api/v2/jobs", false), ("/api/v2/jobs", true), ("/v1/jobs", false)];
    for (path, keys) in ways {
        let (ours, cpu) = load(options, &bed.gateway, path, keys).await?;
        let beside = theirs.filter(|_| path == "/api/v2/jobs" && !keys);
        let speed = per_second(&ours);
        let with = if keys { " with an Idempotency-Key" } else { "" };
        rows.push(
            Row::new(
                Stage::Submissions,
                format!("durable submissions, `POST {path}`{with}, {} connections", options.connections),
                told(&ours),
            )
            .beside(beside.map(told))
            .aim("≥ 5,000 /s", speed >= AIM),
        );
        rows.push(Row::new(
            Stage::Submissions,
            "CPU of the process for a submission",
            format!("{cpu:.3} ms"),
        ));
        if let Some(theirs) = beside {
            let ratio = speed / per_second(theirs).max(1.0);
            rows.push(
                Row::new(Stage::Submissions, "against the proxy", format!("{ratio:.1} ×"))
                    .aim("≥ 5 ×", ratio >= AIM_RATIO),
            );
        }
    }
    bed.end().await?;
    Ok(rows)
}

async fn load(
    options: &Options,
    server: &Server,
    path: &'static str,
    keys: bool,
) -> anyhow::Result<(Outcome, f64)> {
    let plan = Plan {
        address: server.address,
        path,
        body: workflows::submission(bed::seed()),
        keys,
        connections: options.connections,
        time: WARM_UP,
    };
    load::submit(plan.clone()).await?;
    let before = procfs::cpu(server.pid)?;
    let outcome = load::submit(Plan { time: Duration::from_secs(options.seconds()), ..plan }).await?;
    let cpu = procfs::cpu(server.pid)?.saturating_sub(before);
    let cpu = each_ms(cpu, outcome.accepted.len());
    Ok((outcome, cpu))
}

fn per_second(outcome: &Outcome) -> f64 {
    rate(outcome.accepted.len(), outcome.took)
}

fn told(outcome: &Outcome) -> String {
    let (median, p99) = (ms(outcome.accepted.median()), ms(outcome.accepted.p99()));
    let refused = match outcome.refused {
        0 => String::new(),
        refused => format!(", {refused} refused"),
    };
    format!("{:.0} /s ({median:.1} / {p99:.1} ms{refused})", per_second(outcome))
}
