//! The figures of a replay, with the keys and the rounding of the reference results.

use serde::{Deserialize, Serialize};

use super::caches::Found;
use super::replay::{Attempt, AttemptOutcome, JobEnd, Replay};
use super::scenario::{JobIx, Ms, Scenario, TenantIx};
use super::service;

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
        let mut jct: Vec<Ms> = done.iter().map(|job| job.jct_ms).collect();
        let mut queue: Vec<Ms> = done.iter().map(|job| job.queue_ms).collect();
        let mut slowdowns: Vec<f64> = done.iter().map(|job| job.slowdown).collect();
        let slowdown_mean = mean(&slowdowns);
        jct.sort_unstable();
        queue.sort_unstable();
        slowdowns.sort_unstable_by(f64::total_cmp);
        let attempts = &replay.attempts;
        let with = |outcome| attempts.iter().filter(move |attempt| attempt.outcome == outcome);
        let per_job = |count: usize| ratio(count as f64, done.len() as f64).map(round4);
        let overhead = scenario.setting.constants.overhead_ms;
        let busy_ms: i128 = attempts.iter().map(busy).sum();
        let load_ms: i128 = attempts.iter().map(|attempt| i128::from(attempt.loaded_ms(overhead))).sum();
        let wasted_ms: i128 =
            attempts.iter().filter(|attempt| attempt.outcome != AttemptOutcome::Completed).map(busy).sum();
        let up_ms: i128 = replay.ups.iter().map(|up| i128::from(up.until_ms - up.from_ms)).sum();
        let usd_busy = dollars(attempts.iter().map(|a| busy(a) * price(scenario, a.node.index())));
        let usd_uptime = dollars(
            replay
                .ups
                .iter()
                .map(|up| i128::from(up.until_ms - up.from_ms) * price(scenario, up.node.index())),
        );
        let first_arrival = scenario.jobs.first().map_or(0, |job| job.t);
        let last_end = replay.ends.iter().filter_map(|end| end_ms(replay, *end)).max();
        let tenants = tenant_slowdowns(scenario, &done);
        let (slo_jobs, slo_met) = deadlines(scenario, replay);
        let service = service::fairness(scenario, replay);
        let prio = |prio: u8| {
            let mut jct: Vec<Ms> = done.iter().filter(|job| job.prio == prio).map(|job| job.jct_ms).collect();
            jct.sort_unstable();
            (mean_s(&jct), percentile_s(&jct, 99))
        };
        let [(prio0_mean, prio0_p99), (prio1_mean, prio1_p99), (prio2_mean, prio2_p99)] =
            [prio(0), prio(1), prio(2)];
        Self {
            ckpt_cold_per_job: per_job(
                attempts.iter().filter(|attempt| attempt.found == Found::Disk).count(),
            ),
            ckpt_switches_per_job: per_job(
                attempts.iter().filter(|attempt| attempt.found != Found::Vram).count(),
            ),
            completed: done.len(),
            failure_requeues: with(AttemptOutcome::NodeLost).count(),
            gpu_busy_frac: ratio(busy_ms as f64, up_ms as f64).map(round4),
            gpu_load_frac: ratio(load_ms as f64, up_ms as f64).map(round4),
            jain_compliant: jain(&tenants.iter().map(|slowdown| 1.0 / slowdown).collect::<Vec<_>>())
                .map(round4),
            jain_service: service.mean.map(round4),
            jain_windows: service.windows,
            jct_max_s: jct.last().map(|ms| seconds(*ms)),
            jct_mean_s: mean_s(&jct),
            jct_p50_s: percentile_s(&jct, 50),
            jct_p95_s: percentile_s(&jct, 95),
            jct_p99_s: percentile_s(&jct, 99),
            jobs: scenario.jobs.len(),
            lora_cold_per_job: per_job(attempts.iter().map(|attempt| attempt.cold_loras).sum()),
            lost: replay.ends.iter().filter(|end| **end == JobEnd::Lost).count(),
            makespan_s: last_end.map_or(0.0, |end| seconds(end - first_arrival)),
            max_tenant_slowdown: tenants.iter().copied().max_by(f64::total_cmp).map(round4),
            oom: with(AttemptOutcome::OutOfMemory).count(),
            preemptions: with(AttemptOutcome::Interrupted).count(),
            prio0_jct_mean_s: prio0_mean,
            prio0_jct_p99_s: prio0_p99,
            prio1_jct_mean_s: prio1_mean,
            prio1_jct_p99_s: prio1_p99,
            prio2_jct_mean_s: prio2_mean,
            prio2_jct_p99_s: prio2_p99,
            queue_max_s: queue.last().map(|ms| seconds(*ms)),
            queue_mean_s: mean_s(&queue),
            queue_p50_s: percentile_s(&queue, 50),
            queue_p95_s: percentile_s(&queue, 95),
            queue_p99_s: percentile_s(&queue, 99),
            slo_attain: ratio(slo_met as f64, slo_jobs as f64).map(round4),
            slo_jobs,
            slowdown_mean: slowdown_mean.map(round4),
            slowdown_p99: rank(&slowdowns, 99).copied().map(round4),
            usd_busy: round4(usd_busy),
            usd_busy_per_1k: ratio(usd_busy * 1000.0, done.len() as f64).map(round4),
            usd_uptime: round4(usd_uptime),
            wasted_gpu_s: round(wasted_ms as f64 / 1000.0, 1),
        }
    }
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
    let exec =
        fitting.filter_map(|(_, index)| scenario.exec_ms(job, super::scenario::ClassIx(index))).min()?;
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

fn busy(attempt: &Attempt) -> i128 {
    i128::from(attempt.end_ms - attempt.start_ms)
}

/// Millionths of a dollar per hour.
pub(super) fn price(scenario: &Scenario, node: usize) -> i128 {
    let class = scenario.setting.nodes[node].class;
    i128::from(scenario.setting.classes[class.index()].usd_micro_per_hour)
}

/// Sums milliseconds times price exactly, then turns them into dollars.
fn dollars(parts: impl Iterator<Item = i128>) -> f64 {
    parts.sum::<i128>() as f64 / 3_600_000.0 / 1_000_000.0
}

/// Jain's index of fairness: 1 when all are equal, 1/n when one has everything.
pub(super) fn jain(values: &[f64]) -> Option<f64> {
    let sum: f64 = values.iter().sum();
    let squares: f64 = values.iter().map(|value| value * value).sum();
    ratio(sum * sum, values.len() as f64 * squares)
}

fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

fn mean(values: &[f64]) -> Option<f64> {
    ratio(values.iter().sum(), values.len() as f64)
}

fn mean_s(values: &[Ms]) -> Option<f64> {
    let sum: i128 = values.iter().map(|ms| i128::from(*ms)).sum();
    ratio(sum as f64, values.len() as f64).map(|ms| round4(ms / 1000.0))
}

fn percentile_s(sorted: &[Ms], percent: usize) -> Option<f64> {
    rank(sorted, percent).map(|ms| seconds(*ms))
}

/// Nearest rank.
fn rank<T>(sorted: &[T], percent: usize) -> Option<&T> {
    sorted.get((sorted.len() * percent).div_ceil(100).saturating_sub(1))
}

fn seconds(ms: Ms) -> f64 {
    round4(ms as f64 / 1000.0)
}

pub(super) fn round4(value: f64) -> f64 {
    round(value, 4)
}

/// Rounds as printing does: the decimal nearest to the exact value, so no multiplication can push it over an edge.
fn round(value: f64, decimals: usize) -> f64 {
    format!("{value:.decimals$}").parse().unwrap_or(value)
}
