//! `make bench`: the figures of `docs/BENCHMARKS.md`, measured on the release build against simulated instances, with
//! Comfy's reference proxy beside the gateway. Every program is a process of its own and ends with the run.

mod bed;
mod client;
mod cpu;
mod direct;
mod disk;
mod fleet;
mod latency;
mod load;
mod memory;
mod native;
mod options;
mod process;
mod report;
mod sockets;
mod submissions;
mod venv;
mod workflows;

use clap::Parser as _;
use e2e::measure::{procfs, stats};
use options::{Options, Stage};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut options = Options::parse();
    let _sandbox = options.open_sandbox()?;
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        done = measure(&options) => done,
        // Leaving drops every guard, and with it every child.
        _ = terminate.recv() => anyhow::bail!("ended by a signal"),
        _ = interrupt.recv() => anyhow::bail!("ended by a signal"),
    }
}

async fn measure(options: &Options) -> anyhow::Result<()> {
    let stages = [
        Stage::Latency,
        Stage::Parallel,
        Stage::Cpu,
        Stage::Native,
        Stage::Submissions,
        Stage::Memory,
        Stage::Sockets,
        Stage::Fleet,
    ];
    let mut rows = Vec::new();
    for stage in stages.into_iter().filter(|stage| options.wants(*stage)) {
        eprintln!("{}", stage.command());
        rows.extend(match stage {
            Stage::Latency => latency::sequential(options).await?,
            Stage::Parallel => latency::parallel(options).await?,
            Stage::Cpu => cpu::measure(options).await?,
            Stage::Native => native::measure(options).await?,
            Stage::Submissions => submissions::measure(options).await?,
            Stage::Memory => memory::measure(options).await?,
            Stage::Sockets => sockets::measure(options).await?,
            Stage::Fleet => fleet::measure(options).await?,
        });
    }
    report::print(options, &rows)
}
