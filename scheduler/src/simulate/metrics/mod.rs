//! The figures of a replay, with the keys and the rounding of the reference results.

mod devices;
mod numbers;
mod service;

use serde::{Deserialize, Serialize};

use super::caches::Found;
use super::replay::{AttemptOutcome, JobEnd, Replay};
use super::scenario::{ClassIx, JobIx, Ms, Scenario, TenantIx};
use devices::Devices;
use numbers::{Spread, jain, mean, rank, ratio, round, seconds};

pub(super) use numbers::round4;

/// What a replay achieved. Seconds, dollars and shares; rounded to four decimals.
///
/// A figure that has nothing to be taken over (no job of a class, no window with two backlogged tenants) is `None`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the README defines each by its key")]
pub struct Metrics {
    pub ckpt_cold_per_job: Option<f64>,
    pub ckpt_switches_per_job: Option<f64>,
    pub completed: usize,
    pub failure_requeues: usize,
    pub gpu_busy_frac: Option<f64>,
    pub gpu_load_frac: Option<f64>,
    pub jain_compliant: Option<f64>,
    pub jain_service: Option<f64>,
    pub jain_windows: usize,
    pub jct_max_s: Option<f64>,
    pub jct_mean_s: Option<f64>,
    pub jct_p50_s: Option<f64>,
    pub jct_p95_s: Option<f64>,
    pub jct_p99_s: Option<f64>,
    pub jobs: usize,
    pub lora_cold_per_job: Option<f64>,
    pub lost: usize,
    pub makespan_s: f64,
    pub max_tenant_slowdown: Option<f64>,
    pub oom: usize,
    pub preemptions: usize,
    pub prio0_jct_mean_s: Option<f64>,
    pub prio0_jct_p99_s: Option<f64>,
    pub prio1_jct_mean_s: Option<f64>,
    pub prio1_jct_p99_s: Option<f64>,
    pub prio2_jct_mean_s: Option<f64>,
    pub prio2_jct_p99_s: Option<f64>,
    pub queue_max_s: Option<f64>,
    pub queue_mean_s: Option<f64>,
    pub queue_p50_s: Option<f64>,
    pub queue_p95_s: Option<f64>,
    pub queue_p99_s: Option<f64>,
    pub slo_attain: Option<f64>,
    pub slo_jobs: usize,
    pub slowdown_mean: Option<f64>,
    pub slowdown_p99: Option<f64>,
    pub usd_busy: f64,
    pub usd_busy_per_1k: Option<f64>,
    pub usd_uptime: f64,
    pub wasted_gpu_s: f64,
}

/// A completed job.
struct Done {
    tenant: TenantIx,
    prio: u8,
    jct_ms: Ms,
    queue_ms: Ms,
    slowdown: f64,
}

impl Metrics {
    /// Measures a replay of `scenario`.
    #[must_use]
    pub fn of(scenario: &Scenario, replay: &Replay) -> Self {
        let done = completed(scenario, replay);
        let jct = Spread::of(done.iter().map(|job| job.jct_ms));
        let queue = Spread::of(done.iter().map(|job| job.queue_ms));
        let prio = |prio| Spread::of(done.iter().filter(|job| job.prio == prio).map(|job| job.jct_ms));
        let [prio0, prio1, prio2] = [0, 1, 2].map(prio);
        let mut slowdowns: Vec<f64> = done.iter().map(|job| job.slowdown).collect();
        let slowdown_mean = mean(&slowdowns);
        slowdowns.sort_unstable_by(f64::total_cmp);
        let tenants = tenant_slowdowns(scenario, &done);
        let speeds: Vec<f64> = tenants.iter().map(|slowdown| 1.0 / slowdown).collect();
        let service = service::fairness(scenario, replay);
        let devices = Devices::of(scenario, replay);
        let (slo_jobs, slo_met) = deadlines(scenario, replay);
        let attempts = &replay.attempts;
        let count = |outcome| attempts.iter().filter(|attempt| attempt.outcome == outcome).count();
        let per_job = |count: usize| share(count as f64, done.len() as f64);
        Self {
            ckpt_cold_per_job: per_job(attempts.iter().filter(|a| a.found == Found::Disk).count()),
            ckpt_switches_per_job: per_job(attempts.iter().filter(|a| a.found != Found::Vram).count()),
            completed: done.len(),
            failure_requeues: count(AttemptOutcome::NodeLost),
            gpu_busy_frac: share(devices.busy_ms as f64, devices.up_ms as f64),
            gpu_load_frac: share(devices.load_ms as f64, devices.up_ms as f64),
            jain_compliant: jain(&speeds).map(round4),
            jain_service: service.mean.map(round4),
            jain_windows: service.windows,
            jct_max_s: jct.max,
            jct_mean_s: jct.mean,
            jct_p50_s: jct.p50,
            jct_p95_s: jct.p95,
            jct_p99_s: jct.p99,
            jobs: scenario.jobs.len(),
            lora_cold_per_job: per_job(attempts.iter().map(|attempt| attempt.cold_loras).sum()),
            lost: replay.ends.iter().filter(|end| **end == JobEnd::Lost).count(),
            makespan_s: makespan_s(scenario, replay),
            max_tenant_slowdown: tenants.iter().copied().max_by(f64::total_cmp).map(round4),
            oom: count(AttemptOutcome::OutOfMemory),
            preemptions: count(AttemptOutcome::Interrupted),
            prio0_jct_mean_s: prio0.mean,
            prio0_jct_p99_s: prio0.p99,
            prio1_jct_mean_s: prio1.mean,
            prio1_jct_p99_s: prio1.p99,
            prio2_jct_mean_s: prio2.mean,
            prio2_jct_p99_s: prio2.p99,
            queue_max_s: queue.max,
            queue_mean_s: queue.mean,
            queue_p50_s: queue.p50,
            queue_p95_s: queue.p95,
            queue_p99_s: queue.p99,
            slo_attain: share(slo_met as f64, slo_jobs as f64),
            slo_jobs,
            slowdown_mean: slowdown_mean.map(round4),
            slowdown_p99: rank(&slowdowns, 99).copied().map(round4),
            usd_busy: round4(devices.usd_busy),
            usd_busy_per_1k: share(devices.usd_busy * 1000.0, done.len() as f64),
            usd_uptime: round4(devices.usd_uptime),
            wasted_gpu_s: round(devices.wasted_ms as f64 / 1000.0, 1),
        }
    }
}

fn share(part: f64, whole: f64) -> Option<f64> {
    ratio(part, whole).map(round4)
}

fn completed(scenario: &Scenario, replay: &Replay) -> Vec<Done> {
    let jobs = scenario.jobs.iter().zip(&replay.ends).zip(0..);
    jobs.filter_map(|((job, end), index)| {
        let JobEnd::Completed { attempt } = *end else { return None };
        let attempt = &replay.attempts[attempt];
        let jct_ms = attempt.end_ms - job.t;
        let fastest_ms = fastest(scenario, JobIx(index)).unwrap_or(1).max(1);
        Some(Done {
            tenant: job.tenant,
            prio: job.prio,
            jct_ms,
            queue_ms: attempt.start_ms - job.t,
            slowdown: jct_ms as f64 / fastest_ms as f64,
        })
    })
    .collect()
}

/// Overhead and execution on the fastest class that fits, ms.
fn fastest(scenario: &Scenario, job: JobIx) -> Option<Ms> {
    let need = scenario.jobs[job.index()].est_vram_mib;
    let classes = scenario.setting.classes.iter().zip(0..);
    let fitting = classes.filter(|(class, _)| need <= class.vram_mib);
    let exec = fitting.filter_map(|(_, index)| scenario.exec_ms(job, ClassIx(index))).min()?;
    Some(scenario.setting.constants.overhead_ms + exec)
}

/// Mean slowdown of each compliant tenant that completed something.
fn tenant_slowdowns(scenario: &Scenario, done: &[Done]) -> Vec<f64> {
    let mut sums = vec![(0.0, 0_u32); scenario.setting.tenants.len()];
    for job in done {
        let (sum, count) = &mut sums[job.tenant.index()];
        *sum += job.slowdown;
        *count += 1;
    }
    let compliant =
        sums.iter().zip(&scenario.truth.compliant).filter(|((_, count), good)| **good && *count > 0);
    compliant.map(|((sum, count), _)| sum / f64::from(*count)).collect()
}

fn deadlines(scenario: &Scenario, replay: &Replay) -> (usize, usize) {
    let due = scenario.jobs.iter().zip(&replay.ends).filter_map(|(job, end)| Some((job.deadline?, *end)));
    due.fold((0, 0), |(jobs, met), (deadline, end)| {
        let in_time = end_ms(replay, end).is_some_and(|end| end <= deadline);
        (jobs + 1, met + usize::from(in_time))
    })
}

fn end_ms(replay: &Replay, end: JobEnd) -> Option<Ms> {
    match end {
        JobEnd::Completed { attempt } => Some(replay.attempts[attempt].end_ms),
        JobEnd::Lost => None,
    }
}

fn makespan_s(scenario: &Scenario, replay: &Replay) -> f64 {
    let first_arrival = scenario.jobs.first().map_or(0, |job| job.t);
    let last_end = replay.ends.iter().filter_map(|end| end_ms(replay, *end)).max();
    last_end.map_or(0.0, |end| seconds(end - first_arrival))
}
