//! What to measure, and how much of it.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use tempfile::TempDir;

/// A recorded catalogue of the real ComfyUI: what an instance answers has its real size.
const CATALOGUE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/comfyui/object_info.json");

/// Measures the gateway, and the reference proxy beside it; prints Markdown.
#[derive(Clone, Debug, Parser)]
#[command(name = "bench")]
pub struct Options {
    /// What to measure; everything by default.
    #[arg(value_enum)]
    pub stages: Vec<Stage>,
    /// Small sizes: a look, not a figure.
    #[arg(long)]
    pub quick: bool,
    /// Leave the reference proxy out (it needs Python 3 and PyPI).
    #[arg(long)]
    pub without_proxy: bool,
    /// Rounds of one job after another.
    #[arg(long)]
    rounds: Option<usize>,
    /// Jobs of each arm at 16 in parallel.
    #[arg(long)]
    parallel_jobs: Option<usize>,
    /// Jobs over which CPU time is measured.
    #[arg(long)]
    cpu_jobs: Option<usize>,
    /// Seconds of each load of submissions.
    #[arg(long)]
    seconds: Option<u64>,
    /// Connections that submit.
    #[arg(long, default_value_t = 64)]
    pub connections: usize,
    /// Simulated instances when memory is measured.
    #[arg(long, default_value_t = 250)]
    pub instances: usize,
    /// Jobs in flight when memory is measured.
    #[arg(long, default_value_t = 500)]
    pub in_flight: usize,
    /// Size of a picture when memory is measured, KB.
    #[arg(long, default_value_t = 300)]
    pub picture_kb: usize,
    /// Jobs altogether when memory is measured.
    #[arg(long)]
    flight_jobs: Option<usize>,
    /// Sockets that are only open when sockets are measured.
    #[arg(long, default_value_t = 10_000)]
    pub idle_sockets: usize,
    /// Jobs that are watched over a socket each when sockets are measured.
    #[arg(long, default_value_t = 2000)]
    pub watched_jobs: usize,
    /// Folder in which databases and pictures are kept meanwhile; beside the build by default. One in memory
    /// (`/dev/shm`) shows what is the gateway's own.
    #[arg(long)]
    disk: Option<PathBuf>,
    #[arg(skip)]
    sandbox: Option<PathBuf>,
}

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Stage {
    /// Added latency, one job after another.
    Latency,
    /// Added latency and rate, 16 jobs at a time.
    Parallel,
    /// CPU time of a job.
    Cpu,
    /// Instant jobs through ComfyUI's own API.
    Native,
    /// Durable submissions per second.
    Submissions,
    /// Resident memory.
    Memory,
    /// Many sockets of ComfyUI's own API: memory, and who waits for whom.
    Sockets,
    /// Use of a fleet of unequal devices.
    Fleet,
}

impl Stage {
    /// The line that repeats this measurement alone.
    pub fn command(self) -> String {
        let name = format!("{self:?}").to_lowercase();
        format!("cargo run --release -p e2e --bin bench -- {name}")
    }
}

impl Options {
    /// Whether this is to be measured.
    pub fn wants(&self, stage: Stage) -> bool {
        self.stages.is_empty() || self.stages.contains(&stage)
    }

    /// Rounds of one job after another.
    pub fn rounds(&self) -> usize {
        self.size(self.rounds, 1000, 60)
    }

    /// Jobs of each arm at 16 in parallel.
    pub fn parallel_jobs(&self) -> usize {
        self.size(self.parallel_jobs, 1600, 160)
    }

    /// Jobs over which CPU time is measured.
    pub fn cpu_jobs(&self) -> usize {
        self.size(self.cpu_jobs, 2000, 200)
    }

    /// Seconds of each load of submissions.
    pub fn seconds(&self) -> u64 {
        self.seconds.unwrap_or(if self.quick { 3 } else { 10 })
    }

    /// Jobs altogether when memory is measured.
    pub fn flight_jobs(&self) -> usize {
        self.size(self.flight_jobs, 3000, 1000)
    }

    /// Options of the simulators: those given, and the recorded catalogue.
    pub fn simulator<'a>(&self, given: &[&'a str]) -> Vec<&'a str> {
        [given, &["--object-info", CATALOGUE]].concat()
    }

    /// A folder on the disk of the build.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn folder(&self) -> anyhow::Result<PathBuf> {
        let all = self.sandbox.as_deref().context("no sandbox")?;
        Ok(tempfile::Builder::new().tempdir_in(all)?.keep())
    }

    /// One sandbox for all stages: an ext4 without a journal takes a millisecond and more to make a file where many
    /// were deleted in the last minutes, so nothing is deleted before the end.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open_sandbox(&mut self) -> anyhow::Result<TempDir> {
        let disk = self.disk.clone().map_or_else(|| self.target(), Ok)?;
        let sandbox = tempfile::Builder::new().prefix("bench-").tempdir_in(disk)?;
        self.sandbox = Some(sandbox.path().to_owned());
        Ok(sandbox)
    }

    /// The folder of the build.
    ///
    /// # Errors
    /// When this program lies nowhere.
    pub fn target(&self) -> anyhow::Result<PathBuf> {
        let own = std::env::current_exe()?;
        Ok(own.ancestors().nth(2).context("this program lies nowhere")?.to_owned())
    }

    fn size(&self, given: Option<usize>, full: usize, quick: usize) -> usize {
        given.unwrap_or(if self.quick { quick } else { full })
    }
}
