//! `gateway simulate`: opens the files, lets the scheduler's model replay them and prints what came out.

use std::fs::File as Disk;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, bail, ensure};
use clap::Args;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use scheduler::simulate::{
    Comparison, File, Generated, Metrics, PolicyKind, Replay, Run, Scenario, replay, timeline,
};

/// Most bytes of one file, unpacked: a million jobs and to spare.
const MOST_BYTES: u64 = 1 << 30;

/// What to replay, against what, and how to show it.
#[derive(Args)]
pub(crate) struct Simulate {
    /// The policy: fifo, round_robin, least_queue, affinity, ect or darkroom.
    #[arg(long, required_unless_present_any = ["compare", "generate"])]
    policy: Option<PolicyKind>,
    /// A folder with nodes.json, models.json and trace.jsonl.gz, or a fresh scenario such as steady@7 or steady@1-10
    /// (see --generate; `all@7` is one of each kind); several with --compare.
    #[arg(long, num_args = 1.., value_name = "DIR", conflicts_with_all = ["trace", "fleet", "models"])]
    scenario: Vec<String>,
    /// The jobs, one JSON object per line; gzipped or not.
    #[arg(long, requires = "fleet", requires = "models")]
    trace: Option<PathBuf>,
    /// The devices (nodes.json).
    #[arg(long, requires = "trace")]
    fleet: Option<PathBuf>,
    /// The catalogue (models.json).
    #[arg(long, requires = "trace")]
    models: Option<PathBuf>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Write a picture of every job on every device, as one HTML page.
    #[arg(long, value_name = "FILE", requires = "policy")]
    timeline: Option<PathBuf>,
    /// Compare policies; without names, all of them.
    #[arg(long, value_name = "POLICIES", num_args = 0..=1, value_delimiter = ',', conflicts_with = "policy")]
    compare: Option<Vec<PolicyKind>>,
    /// Standard deviation of a log-normal error on predicted run times, such as 0.3.
    #[arg(long, value_name = "SIGMA", default_value = "0")]
    est_sigma: Thousandths,
    /// Seed of the error, or of what is generated.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Hide how fast each class of devices is; the policy has to learn it.
    #[arg(long)]
    learn_speeds: bool,
    /// Let darkroom preempt: running work gives its place to interactive or urgent work when that saves this many times
    /// the work that is lost; 0: never.
    #[arg(long, value_name = "TIMES", default_value_t = 0)]
    preemption: u32,
    /// Write a fresh scenario of this kind: light, steady, diurnal_burst, heavy_tail, noisy_tenant, failures_spot,
    /// deadline_mix, mixed_vram or overload.
    #[arg(long, value_name = "KIND", requires = "out", conflicts_with_all = ["policy", "compare", "scenario", "trace"])]
    generate: Option<String>,
    /// Load of fresh scenarios as a share of the fleet's ideal capacity; unset: that of the public file of the kind.
    #[arg(long, value_name = "SHARE")]
    load: Option<Thousandths>,
    /// The folder to write it to.
    #[arg(long, value_name = "DIR", requires = "generate")]
    out: Option<PathBuf>,
}

/// A share with up to three decimals, read without rounding.
#[derive(Clone, Copy)]
struct Thousandths(u32);

impl FromStr for Thousandths {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || format!("`{text}` must be a number from 0 to 9.999 with at most three decimals");
        let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.len() != 1 || decimals.len() > 3 || !digits(whole) || !digits(decimals) {
            return Err(bad());
        }
        format!("{whole}{decimals:0<3}").parse().map(Self).map_err(|_| bad())
    }
}

impl Simulate {
    fn load_milli(&self) -> Option<u64> {
        self.load.map(|load| load.0.into())
    }
}

/// Carries the command out.
pub(crate) fn run(wanted: &Simulate) -> anyhow::Result<()> {
    if let (Some(kind), Some(folder)) = (&wanted.generate, &wanted.out) {
        return generate(kind, wanted, folder);
    }
    match &wanted.compare {
        Some(policies) => compare(wanted, policies),
        None => single(wanted),
    }
}

fn generate(kind: &str, wanted: &Simulate, folder: &Path) -> anyhow::Result<()> {
    let Generated { fleet, models, trace } = Generated::draw(kind, wanted.seed, wanted.load_milli())?;
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(trace.as_bytes())?;
    let trace = packed.finish()?;
    for (name, bytes) in
        [("nodes.json", fleet.as_bytes()), ("models.json", models.as_bytes()), ("trace.jsonl.gz", &trace)]
    {
        let path = folder.join(name);
        std::fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    }
    eprintln!("wrote {kind} with seed {} to {}", wanted.seed, folder.display());
    Ok(())
}

fn single(wanted: &Simulate) -> anyhow::Result<()> {
    let kind = wanted.policy.context("give a --policy")?;
    let sources = Source::wanted(wanted)?;
    let [source] = sources.as_slice() else { bail!("give one --scenario, or --compare several") };
    let scenario = source.scenario(wanted)?;
    let replay = play(&scenario, kind, wanted.preemption);
    if let Some(path) = &wanted.timeline {
        let page = timeline(&format!("{kind} on {}", source.name()), &scenario, &replay);
        std::fs::write(path, page).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let metrics = Metrics::of(&scenario, &replay);
    let value = serde_json::to_value(&metrics)?;
    if wanted.json {
        return print(&format!("{:#}\n", value));
    }
    let mut text = format!("{kind} on {}\n", source.name());
    for (key, figure) in value.as_object().into_iter().flatten() {
        text += &format!(
            "  {key:<22} {:>14}\n",
            if figure.is_null() { "-".to_owned() } else { figure.to_string() }
        );
    }
    print(&text)
}

fn compare(wanted: &Simulate, policies: &[PolicyKind]) -> anyhow::Result<()> {
    let sources = Source::wanted(wanted)?;
    let mut runs = Vec::new();
    for source in &sources {
        let scenario = source.scenario(wanted)?;
        for &policy in if policies.is_empty() { &PolicyKind::ALL[..] } else { policies } {
            let metrics = Metrics::of(&scenario, &play(&scenario, policy, wanted.preemption));
            runs.push(Run { scenario: source.name(), policy, metrics });
        }
    }
    let comparison = Comparison::of(runs);
    if wanted.json {
        return print(&format!("{:#}\n", comparison.to_json()));
    }
    print(&comparison.to_text())
}

fn play(scenario: &Scenario, kind: PolicyKind, preemption: u32) -> Replay {
    replay(scenario, kind.build_preempting(scenario.setting(), preemption).as_mut())
}

/// Where a scenario comes from.
enum Source {
    Files { fleet: PathBuf, models: PathBuf, trace: PathBuf },
    Fresh { kind: String, seed: u64 },
}

/// Most fresh scenarios of one kind in one go.
const MOST_FRESH: u64 = 1000;

impl Source {
    fn wanted(wanted: &Simulate) -> anyhow::Result<Vec<Self>> {
        if let (Some(fleet), Some(models), Some(trace)) = (&wanted.fleet, &wanted.models, &wanted.trace) {
            return Ok(vec![Self::Files {
                fleet: fleet.clone(),
                models: models.clone(),
                trace: trace.clone(),
            }]);
        }
        ensure!(!wanted.scenario.is_empty(), "give a --scenario, or --trace, --fleet and --models");
        let mut sources = Vec::new();
        for text in &wanted.scenario {
            sources.extend(Self::named(text)?);
        }
        Ok(sources)
    }

    /// A folder, or `kind@seed` or `kind@first-last` if there is no such folder.
    fn named(text: &str) -> anyhow::Result<Vec<Self>> {
        let folder = Path::new(text);
        if folder.is_dir() {
            let packed = folder.join("trace.jsonl.gz");
            let trace = if packed.exists() { packed } else { folder.join("trace.jsonl") };
            let (fleet, models) = (folder.join("nodes.json"), folder.join("models.json"));
            return Ok(vec![Self::Files { fleet, models, trace }]);
        }
        let Some((kind, seeds)) = text.split_once('@') else {
            bail!("{text} is no folder; a scenario is a folder with nodes.json, or fresh such as steady@7");
        };
        let (first, last) = seeds.split_once('-').unwrap_or((seeds, seeds));
        let seed =
            |text: &str| text.parse::<u64>().with_context(|| format!("{kind}@{seeds}: `{text}` is no seed"));
        let (first, last) = (seed(first)?, seed(last)?);
        ensure!(
            first <= last && last - first < MOST_FRESH,
            "{text}: give from 1 to {MOST_FRESH} seeds, upwards"
        );
        let kinds = Generated::names().filter(|name| kind == "all" || kind == *name);
        let mut kinds: Vec<String> = kinds.map(str::to_owned).collect();
        if kinds.is_empty() {
            kinds.push(kind.to_owned()); // Generating it says what there is.
        }
        let fresh = |kind: String| (first..=last).map(move |seed| Self::Fresh { kind: kind.clone(), seed });
        Ok(kinds.into_iter().flat_map(fresh).collect())
    }

    /// What tables call it.
    fn name(&self) -> String {
        match self {
            Self::Files { trace, .. } => {
                let folder = trace.parent().and_then(Path::file_name);
                folder.unwrap_or(trace.as_os_str()).to_string_lossy().into_owned()
            }
            Self::Fresh { kind, seed } => format!("{kind}@{seed}"),
        }
    }

    fn scenario(&self, wanted: &Simulate) -> anyhow::Result<Scenario> {
        let scenario = match self {
            Self::Files { fleet, models, trace } => parse(fleet, models, trace)?,
            Self::Fresh { kind, seed } => Generated::draw(kind, *seed, wanted.load_milli())?.scenario()?,
        };
        let scenario = match wanted.est_sigma.0 {
            0 => scenario,
            sigma => scenario.with_estimate_error(sigma, wanted.seed),
        };
        Ok(if wanted.learn_speeds { scenario.with_hidden_speeds() } else { scenario })
    }
}

fn parse(fleet: &Path, models: &Path, trace: &Path) -> anyhow::Result<Scenario> {
    let (fleet_text, models_text, trace_text) = (read(fleet)?, read(models)?, read(trace)?);
    let names = [fleet, models, trace].map(|path| path.display().to_string());
    Ok(Scenario::parse(
        File { name: &names[0], text: &fleet_text },
        File { name: &names[1], text: &models_text },
        File { name: &names[2], text: &trace_text },
    )?)
}

/// All of a file as text, unpacked if it is gzipped, whatever it is called.
fn read(path: &Path) -> anyhow::Result<String> {
    let mut file = Disk::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut bytes = Vec::new();
    Read::by_ref(&mut file)
        .take(2)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let packed = bytes == [0x1f, 0x8b];
    let all = std::io::Cursor::new(bytes).chain(file);
    let mut text = String::new();
    let mut reader: Box<dyn Read> = if packed { Box::new(MultiGzDecoder::new(all)) } else { Box::new(all) };
    let read = Read::by_ref(&mut reader).take(MOST_BYTES + 1).read_to_string(&mut text);
    read.with_context(|| format!("cannot read {} as text", path.display()))?;
    ensure!(text.len() as u64 <= MOST_BYTES, "{} is larger than {MOST_BYTES} bytes", path.display());
    Ok(text)
}

/// Prints everything; a reader who has seen enough is no failure.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot print"),
    }
}
