//! The scale test: 1,000 devices, 1,000,000 waiting jobs; complete a job of a random device, choose its next one, enqueue
//! a new one. `cargo bench -p scheduler --bench scale [JOBS [DECISIONS]]` prints decisions/s, percentiles and bytes;
//! with `instructions` it runs itself under `valgrind --tool=callgrind` and prints instructions for a turn instead, a
//! figure that is the same on a busy machine.
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock; the scheduler does not")]
#![allow(clippy::print_stdout, reason = "its output is its purpose")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use scheduler::{
    AttemptNo, Catalogue, Class, Config, Decisions, DeviceClassId, Effect, Event, FamilyId, HostId,
    InstanceId, InstanceProfile, JobId, JobSpec, Loading, Millis, ModelId, ModelKind, ModelUse, Part,
    Requirement, Scheduler, Shape, ShapeId, Signal, TenantId, Timestamp,
};

const DEVICES: usize = 1_000;
const CHECKPOINTS: u64 = 200;
const LORAS: u64 = 2_000;
const TENANTS: u64 = 64;
/// Mean time between two completions in a fleet of this size, ms.
const STEP: Millis = Millis(20);

/// A device class: name, cards of 24, VRAM in MiB, speed by family (SD 1.5, SDXL, Flux), rates and host cache in MiB.
type Card = (u64, usize, u32, [u32; 3], [u32; 3]);
const CARDS: [Card; 7] = [
    (1, 6, 15_360, [250, 160, 0], [200, 2_000, 20_480]),
    (2, 3, 16_160, [660, 470, 0], [240, 2_500, 40_960]),
    (3, 3, 32_500, [660, 470, 200], [240, 2_500, 49_152]),
    (4, 4, 22_900, [320, 280, 240], [350, 3_000, 24_576]),
    (5, 4, 40_300, [980, 960, 960], [500, 4_000, 65_536]),
    (6, 2, 81_000, [1_000, 1_000, 1_000], [600, 4_000, 131_072]),
    (7, 2, 81_000, [1_640, 1_800, 2_200], [1_200, 6_000, 184_320]),
];
/// By family: size of a checkpoint, need of VRAM, shortest run, in MiB and ms.
const FAMILIES: [(u32, u32, u32); 3] =
    [(2_034, 3_500, 1_200), (6_600, 9_500, 4_200), (16_447, 19_000, 12_000)];

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % below.max(1)
    }

    /// Small numbers are more popular, about as Zipf with exponent 0.9.
    fn popular(&mut self, below: u64) -> u64 {
        let most = below.ilog2() + 1;
        let octave = self.roll(u64::from(most));
        ((1 << octave) + self.roll(1 << octave) - 1).min(below - 1)
    }
}

fn family_of(checkpoint: u64) -> usize {
    [0, 1, 1, 0, 1, 2][usize::try_from(checkpoint % 6).unwrap_or(0)]
}

fn requirement(checkpoint: u64, lora: Option<u64>) -> Arc<Requirement> {
    let family = family_of(checkpoint) as u64 + 1;
    let weights = ModelUse { id: ModelId(checkpoint), kind: ModelKind::Checkpoint };
    let patch = lora.map(|lora| ModelUse { id: ModelId(10_000 + lora), kind: ModelKind::Lora });
    Arc::new(Requirement {
        parts: Box::new([Part(family)]),
        models: std::iter::once(weights).chain(patch).collect(),
    })
}

fn fleet() -> Scheduler {
    let config = Config {
        high_watermark: u32::MAX,
        low_watermark: u32::MAX,
        tenant_queue: u32::MAX,
        prefetch: 0,
        lease: Millis::from_secs(86_400 * 365),
        ..Config::default()
    };
    let mut scheduler = Scheduler::new(config, 1);
    let sizes: Box<[(ModelId, u32)]> =
        (0..CHECKPOINTS).map(|id| (ModelId(id), FAMILIES[family_of(id)].0)).collect();
    let mut out = Decisions::default();
    let cards = CARDS.iter().flat_map(|card| std::iter::repeat_n(card, card.1)).cycle().take(DEVICES);
    for (id, (class, _, vram_mib, speeds, rates)) in (0..).zip(cards) {
        let known = (1..).map(FamilyId).zip(*speeds).filter(|(_, speed)| *speed > 0);
        let parts: Box<[Part]> = known.clone().map(|(family, _)| Part(family.0)).collect();
        let catalogue = Catalogue { id: parts.len() as u64, parts, sizes: sizes.clone() };
        let profile = InstanceProfile {
            host: HostId(id),
            device: None,
            device_class: DeviceClassId(*class),
            speed_milli: 1_000,
            family_speeds: known.collect(),
            loading: Some(Loading { disk_mib_s: rates[0], pcie_mib_s: rates[1], host_cache_mib: rates[2] }),
            vram_mib: Some(*vram_mib),
            reserve_mib: 0,
            catalogue: Some(Arc::new(catalogue)),
        };
        let instance = InstanceId(id);
        scheduler.handle(Timestamp(1), Event::InstanceJoined { instance, profile }, &mut out);
        scheduler.handle(Timestamp(1), Event::InstanceUp { instance, up: true }, &mut out);
    }
    scheduler
}

/// Jobs as the scenario `heavy_tail` has them; requirements are shared, as in the gateway.
struct Source {
    dice: Dice,
    made: u128,
    bare: Vec<Arc<Requirement>>,
    patched: Vec<Arc<Requirement>>,
}

impl Source {
    fn new() -> Self {
        let bare = (0..CHECKPOINTS).map(|id| requirement(id, None)).collect();
        let patched =
            (0..CHECKPOINTS * 10).map(|id| requirement(id % CHECKPOINTS, Some(id % LORAS))).collect();
        Self { dice: Dice(7), made: 0, bare, patched }
    }

    fn next(&mut self, now: Timestamp) -> Event {
        let checkpoint = self.dice.popular(CHECKPOINTS);
        let index = usize::try_from(checkpoint).unwrap_or(0);
        let requirement = if self.dice.roll(100) < 22 {
            let lora = usize::try_from(self.dice.popular(10)).unwrap_or(0);
            &self.patched[index + lora * self.bare.len()]
        } else {
            &self.bare[index]
        };
        let family = family_of(checkpoint);
        let batch = [1, 1, 1, 2, 4, 8][usize::try_from(self.dice.roll(6)).unwrap_or(0)];
        let (_, vram_mib, run_ms) = FAMILIES[family];
        let within = Millis(60_000 + i64::try_from(self.dice.roll(540_000)).unwrap_or(0));
        let spec = JobSpec {
            tenant: TenantId(u32::try_from(self.dice.popular(TENANTS)).unwrap_or(0)),
            weight: 1,
            concurrency: u32::MAX,
            queue: u32::MAX,
            class: [Class::Batch, Class::Normal, Class::Normal, Class::Interactive]
                [usize::try_from(self.dice.roll(4)).unwrap_or(0)],
            order: None,
            accepted_at: now,
            start_deadline: None,
            deadline: Timestamp::NEVER,
            due_at: (self.dice.roll(10) < 3).then(|| now.plus(within)),
            requirement: Arc::clone(requirement),
            shape: Shape {
                id: ShapeId(family as u64 * 10 + u64::from(batch)),
                family: FamilyId(family as u64 + 1),
                prior_run_ms: run_ms * batch,
                prior_vram_mib: vram_mib + 700 * batch,
            },
            graph: None,
        };
        self.made += 1;
        Event::Submitted { job: JobId(self.made), spec }
    }
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    status.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

fn note(out: Decisions, running: &mut Vec<(JobId, AttemptNo)>) {
    running.extend(out.effects.iter().filter_map(|effect| match effect {
        Effect::Dispatch { job, attempt, .. } => Some((*job, *attempt)),
        _ => None,
    }));
}

/// A job ends and its device gets the next one. Not inlined, so that a profiler can be told to look at this alone
/// (`--toggle-collect='scale::turn'`).
#[inline(never)]
fn turn(scheduler: &mut Scheduler, now: Timestamp, (job, attempt): (JobId, AttemptNo), out: &mut Decisions) {
    scheduler.handle(now, Event::Attempt { job, attempt, signal: Signal::Executed }, out);
    scheduler.handle(now, Event::Attempt { job, attempt, signal: Signal::Published }, out);
    scheduler.place(now, out);
}

fn percentile(sorted: &[Duration], milli: usize) -> Duration {
    sorted.get((sorted.len() * milli / 1000).min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// Instructions of a whole run under callgrind.
fn instructions(jobs: usize, decisions: usize) -> Option<u64> {
    let own = std::env::current_exe().ok()?;
    let run = std::process::Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(own)
        .args([jobs.to_string(), decisions.to_string()])
        .output()
        .ok()?;
    let told = String::from_utf8_lossy(&run.stderr).into_owned();
    let line = told.lines().find(|line| line.contains("Collected :"))?;
    line.rsplit(' ').next()?.trim().parse().ok()
}

/// Two runs that differ by some turns only: what they differ by is what the turns took.
fn count_instructions() {
    const JOBS: usize = 200_000;
    const TURNS: usize = 2_000;
    let counts = (instructions(JOBS, TURNS), instructions(JOBS, 2 * TURNS), instructions(2 * JOBS, TURNS));
    let (Some(base), Some(more_turns), Some(more_jobs)) = counts else {
        println!("valgrind is missing; run: apt-get install valgrind");
        return;
    };
    println!(
        "turn       {:>10} instructions, submission of the next job included",
        (more_turns - base) / TURNS as u64
    );
    println!("enqueue    {:>10} instructions", (more_jobs - base) / JOBS as u64);
}

fn main() {
    if std::env::args().any(|arg| arg == "instructions") {
        return count_instructions();
    }
    let numbers: Vec<usize> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    let jobs = numbers.first().copied().unwrap_or(1_000_000);
    let decisions = numbers.get(1).copied().unwrap_or(200_000);
    let mut source = Source::new();
    let mut scheduler = fleet();
    let mut now = Timestamp(1_000_000);
    let before = resident_bytes();
    let mut took = Duration::ZERO;
    for _ in 0..jobs {
        let event = source.next(now);
        // The replies are the caller's; each turn has its own decisions.
        let mut out = Decisions::default();
        let begun = Instant::now();
        scheduler.handle(now, event, &mut out);
        took += begun.elapsed();
    }
    let bytes = resident_bytes().saturating_sub(before) / jobs.max(1) as u64;
    println!("enqueue    {:>10.0} /s   {bytes} resident bytes per job", jobs as f64 / took.as_secs_f64());
    let mut running = Vec::new();
    let mut out = Decisions::default();
    let begun = Instant::now();
    scheduler.place(now, &mut out);
    println!("first fill {:>10.1} ms  for {} devices", begun.elapsed().as_secs_f64() * 1e3, DEVICES);
    note(out, &mut running);
    let mut times = Vec::with_capacity(decisions);
    let mut idle = 0;
    for _ in 0..decisions {
        now = now.plus(STEP);
        let event = source.next(now);
        let mut out = Decisions::default();
        let at = usize::try_from(source.dice.roll(running.len() as u64)).unwrap_or(0);
        let (job, attempt) = running.swap_remove(at);
        let begun = Instant::now();
        turn(&mut scheduler, now, (job, attempt), &mut out);
        times.push(begun.elapsed());
        let placed = running.len();
        note(out, &mut running);
        idle += usize::from(running.len() == placed);
        scheduler.handle(now, event, &mut Decisions::default());
    }
    let total: Duration = times.iter().sum();
    times.sort_unstable();
    println!(
        "decide     {:>10.0} /s   p50 {:?}  p99 {:?}  p99.9 {:?}  max {:?}  without a placement {idle}",
        decisions as f64 / total.as_secs_f64(),
        percentile(&times, 500),
        percentile(&times, 990),
        percentile(&times, 999),
        percentile(&times, 1000),
    );
    let begun = Instant::now();
    let cancels = jobs.min(100_000);
    for id in 0..cancels {
        let job = JobId((jobs - id) as u128);
        scheduler.handle(now, Event::CancelRequested { job }, &mut Decisions::default());
    }
    println!("cancel     {:>10.0} /s", cancels as f64 / begun.elapsed().as_secs_f64());
}
