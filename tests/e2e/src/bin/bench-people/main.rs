//! `make bench`, the business side: logins, orders, callbacks and polls a second of one backend-api, its idle memory and
//! the time from its start to its first answer; on SQLite, and on MySQL where one is named.

mod load;
mod town;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use e2e::measure::procfs::{self, megabytes};
use e2e::measure::stats::{ms, rate};
use load::Outcome;
use tempfile::TempDir;
use town::Town;

/// Measures backend-api; prints Markdown.
#[derive(Debug, Parser)]
#[command(name = "bench-people")]
struct Options {
    /// People who log in; each buys ten lessons.
    #[arg(long, default_value_t = 200)]
    people: usize,
    /// Connections at once.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Polls of orders.
    #[arg(long, default_value_t = 10_000)]
    polls: usize,
    /// An empty MySQL or MariaDB database as well, such as `mysql://user:password@127.0.0.1:3306/bench`.
    #[arg(long)]
    mysql: Option<String>,
    /// Folder of SQLite's file; beside the build by default.
    #[arg(long)]
    disk: Option<PathBuf>,
}

/// Lessons that each person buys; their open orders are bounded.
const LESSONS: usize = 10;
/// Starts over which the time to the first answer is measured.
const STARTS: usize = 5;

/// What was measured on one database.
struct Figures {
    start: Duration,
    idle: u64,
    stages: Vec<(&'static str, Outcome)>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let own = std::env::current_exe()?;
    let disk = options.disk.clone().or_else(|| own.parent().map(PathBuf::from));
    let folder = TempDir::new_in(disk.context("this program lies nowhere")?)?;
    let file = format!("sqlite:{}", folder.path().join("bench.sqlite3").display());
    let mut columns = vec![("SQLite, every commit synced", measure(&options, &folder, &file).await?)];
    if let Some(url) = &options.mysql {
        columns.push(("MySQL", measure(&options, &folder, url).await?));
    }
    println!("{}", report(&columns)?);
    Ok(())
}

async fn measure(options: &Options, folder: &TempDir, database: &str) -> anyhow::Result<Figures> {
    let mut town = Town::new(folder.path(), database).await?;
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        starts.push(town.restart().await?);
    }
    starts.sort_unstable();
    let idle = town.idle_memory()?;
    let mut stages = Vec::new();
    let (outcome, people) = town.log_in(options.people, options.connections).await?;
    stages.push(("logins", outcome));
    let (outcome, orders) = town.order(&people, LESSONS, options.connections).await?;
    stages.push(("orders of WeChat Pay", outcome));
    let callbacks = town.pay(&orders).await?;
    stages.push(("callbacks of payments", town.call_back(callbacks, options.connections).await?));
    stages.push(("polls of an order", town.poll(&orders, options.polls, options.connections).await?));
    Ok(Figures { start: starts[STARTS / 2], idle, stages })
}

fn report(columns: &[(&str, Figures)]) -> anyhow::Result<String> {
    let mut out = String::new();
    writeln!(out, "\nMachine: {}.\n", procfs::machine())?;
    write!(out, "| Figure |")?;
    columns.iter().try_for_each(|(name, _)| write!(out, " {name} |"))?;
    write!(out, "\n|---|")?;
    columns.iter().try_for_each(|_| write!(out, "---|"))?;
    write!(out, "\n| start to first answer, median of {STARTS} |")?;
    columns.iter().try_for_each(|(_, figures)| write!(out, " {:.0} ms |", ms(figures.start)))?;
    write!(out, "\n| resident, idle |")?;
    columns.iter().try_for_each(|(_, figures)| write!(out, " {:.1} MB |", megabytes(figures.idle)))?;
    let stages = columns.first().map_or(0, |(_, figures)| figures.stages.len());
    for stage in 0..stages {
        for (column, (_, figures)) in columns.iter().enumerate() {
            let (name, Outcome { times, bad, took }) = &figures.stages[stage];
            if column == 0 {
                write!(out, "\n| {name} |")?;
            }
            let (rate, median, tail) = (rate(times.len(), *took), ms(times.median()), ms(times.p99()));
            write!(out, " {rate:.0} /s ({median:.1} / {tail:.1} ms)")?;
            write!(out, "{} |", if *bad == 0 { String::new() } else { format!(", **{bad} refused**") })?;
        }
    }
    writeln!(out, "\n\nIn parentheses: median / p99.")?;
    Ok(out)
}
