//! How many jobs wait at each moment.

use std::collections::BTreeMap;

use crate::simulate::replay::{JobEnd, Replay};
use crate::simulate::scenario::Scenario;

/// Most points of the curve: more than a screen has pixels.
const MOST_POINTS: i64 = 4000;

/// Points of a step curve: time in ms, then waiting jobs of classes 0, 1 and 2.
pub(super) fn depth(scenario: &Scenario, replay: &Replay) -> Vec<[i64; 4]> {
    let grain = (replay.end_ms / MOST_POINTS).max(1);
    let mut changes: BTreeMap<i64, [i64; 3]> = BTreeMap::new();
    // Since when each job waits: its arrival, then the end of its attempt before.
    let mut since: Vec<i64> = scenario.jobs.iter().map(|job| job.t).collect();
    let mut wait = |from: i64, until: i64, prio: u8| {
        changes.entry(from / grain).or_default()[usize::from(prio)] += 1;
        changes.entry(until / grain).or_default()[usize::from(prio)] -= 1;
    };
    for attempt in &replay.attempts {
        let job = attempt.job.index();
        // A job that was interrupted may start elsewhere before its device has let go of it.
        wait(since[job].min(attempt.start_ms), attempt.start_ms, scenario.jobs[job].prio);
        since[job] = attempt.end_ms;
    }
    let never_started = scenario.jobs.iter().zip(&replay.ends).zip(&since).filter(|((job, end), since)| {
        **end == JobEnd::Lost
            && **since == job.t
            && scenario.setting.fits_somewhere(job.family, job.est_vram_mib)
    });
    for ((job, _), _) in never_started {
        wait(job.t, replay.end_ms.max(job.t), job.prio);
    }
    let mut now = [0; 3];
    let points = changes.into_iter().map(|(at, change)| {
        now.iter_mut().zip(change).for_each(|(now, change)| *now += change);
        [at * grain, now[0], now[1], now[2]]
    });
    points.collect()
}
