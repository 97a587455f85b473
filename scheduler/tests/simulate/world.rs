//! The world keeps its rules whatever a policy does.

use std::collections::BTreeMap;

use proptest::prelude::*;
use scheduler::simulate::{
    AttemptOutcome, Desk, Event, Fate, JobEnd, JobIx, Metrics, NodeIx, Policy, Replay, Scenario, replay,
};

use crate::bad_files::{FLEET, MODELS};
use crate::support::parse;

/// Does what comes to its mind, legal or not; gives up interrupting after a while so that the run ends.
struct Whim {
    state: u64,
    waiting: Vec<JobIx>,
    interrupts: u32,
}

impl Whim {
    fn new(seed: u64) -> Self {
        Self { state: seed, waiting: Vec::new(), interrupts: 20 }
    }

    fn up_to(&mut self, most: usize) -> usize {
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) as usize % (most + 1)
    }

    fn some_node(&mut self, desk: &Desk<'_, '_>) -> NodeIx {
        let nodes: Vec<NodeIx> = desk.setting().node_ixs().collect();
        nodes[self.up_to(nodes.len() - 1)]
    }
}

impl Policy for Whim {
    fn on_event(&mut self, event: Event, desk: &mut Desk<'_, '_>) {
        match event {
            Event::Arrived { job }
            | Event::OutOfMemory { job, fate: Fate::Waits, .. }
            | Event::Down { lost: Some((job, Fate::Waits)), .. } => self.waiting.push(job),
            _ => {}
        }
        if self.interrupts > 0 && self.up_to(3) == 0 {
            let node = self.some_node(desk);
            let running = desk.running(node);
            let taken = desk.interrupt(node);
            assert_eq!(taken.ok(), running.map(|running| running.job));
            if let Ok(job) = taken {
                self.interrupts -= 1;
                self.waiting.push(job);
                assert!(!desk.is_idle(node), "it lets go first");
            }
        }
        for _ in 0..2 {
            let Some(last) = self.waiting.len().checked_sub(1) else { break };
            let at = self.up_to(last);
            let (job, node) = (self.waiting[at], self.some_node(desk));
            let legal = desk.is_idle(node) && desk.fits(job, node);
            assert_eq!(desk.start(job, node).is_ok(), legal);
            if legal {
                self.waiting.remove(at);
                assert!(desk.start(job, node).is_err(), "nothing starts twice");
            }
        }
        if !self.waiting.is_empty() && desk.now_ms() < 10_000_000 && event == Event::Timer
            || matches!(event, Event::Arrived { .. })
        {
            let later = 1 + self.up_to(5_000);
            desk.wake_at(desk.now_ms() + i64::try_from(later).unwrap());
        }
    }
}

fn trace() -> impl Strategy<Value = String> {
    let job = (0..3_000_i64, 0..2_usize, 1..20_000_i64, 2_000..30_000_i64, 0..3_i64, any::<bool>());
    proptest::collection::vec(job, 1..25).prop_map(|jobs| {
        let mut t = 0;
        let mut text = String::new();
        for (number, (gap, kind, work, peak, under, extras)) in jobs.into_iter().enumerate() {
            t += gap;
            let family = ["sd", "xl"][kind];
            let extras = if extras && kind == 0 { ("\"l-sd\"", "\"n-sd\"") } else { ("", "") };
            let est = peak - under * 900;
            text += &format!(
                "{{\"t\":{t},\"job\":\"j{number}\",\"tenant\":\"a\",\"prio\":{under},\"family\":\"{family}\",\
                 \"ckpt\":\"c-{family}\",\"loras\":[{}],\"cns\":[{}],\"steps\":1,\"w\":1,\"h\":1,\"batch\":1,\
                 \"est_ms\":{work},\"work_ms\":{work},\"est_vram_mib\":{est},\"peak_vram_mib\":{peak}}}\n",
                extras.0, extras.1
            );
        }
        text
    })
}

/// Nodes that come and go.
fn fleet() -> impl Strategy<Value = String> {
    let event = (0..3_usize, 0..60_000_i64, 1..20_000_i64);
    proptest::collection::vec(event, 0..6).prop_map(|events| {
        let mut list = String::new();
        for (node, t, pause) in events {
            list += &format!(
                ",{{\"t\":{t},\"node\":\"n{node}\",\"kind\":\"down\"}},{{\"t\":{},\"node\":\"n{node}\",\"kind\":\"up\"}}",
                t + pause
            );
        }
        FLEET.replacen("\"kind\": \"up\"}]", &format!("\"kind\": \"up\"}}{list}]"), 1)
    })
}

fn no_node_runs_two_jobs(replay: &Replay) {
    let mut busy_until: BTreeMap<NodeIx, i64> = BTreeMap::new();
    for attempt in &replay.attempts {
        let until = busy_until.entry(attempt.node).or_default();
        assert!(attempt.start_ms >= *until, "{attempt:?} overlaps");
        assert!(attempt.end_ms >= attempt.start_ms);
        *until = attempt.end_ms;
        let inside = |from, to| attempt.start_ms >= from && attempt.end_ms <= to + 500;
        let ups = &mut replay.ups.iter().filter(|up| up.node == attempt.node);
        assert!(ups.any(|up| inside(up.from_ms, up.until_ms)), "{attempt:?} outside of up time");
    }
}

fn every_job_ends_once_or_is_lost(scenario: &Scenario, replay: &Replay) {
    assert_eq!(replay.ends.len(), scenario.jobs().len());
    let mut completed = BTreeMap::new();
    let mut failed = vec![0; scenario.jobs().len()];
    for attempt in &replay.attempts {
        assert!(
            attempt.start_ms >= scenario.jobs()[attempt.job.index()].t,
            "nothing starts before it arrives"
        );
        match attempt.outcome {
            AttemptOutcome::Completed => *completed.entry(attempt.job.index()).or_insert(0) += 1,
            AttemptOutcome::OutOfMemory | AttemptOutcome::NodeLost => failed[attempt.job.index()] += 1,
            AttemptOutcome::Interrupted => {}
        }
    }
    assert_eq!(failed, replay.failed_attempts);
    for (job, end) in replay.ends.iter().enumerate() {
        let expected = match end {
            JobEnd::Completed { attempt } => {
                assert_eq!(replay.attempts[*attempt].job.index(), job);
                Some(&1)
            }
            JobEnd::Lost => None,
        };
        assert_eq!(completed.get(&job), expected, "job {job}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_policy_on_any_trace_keeps_the_rules_and_repeats_itself(
        fleet in fleet(), trace in trace(), seed in any::<u64>(),
    ) {
        let scenario = parse(&fleet, MODELS, &trace).unwrap();
        let first = replay(&scenario, &mut Whim::new(seed));
        no_node_runs_two_jobs(&first);
        every_job_ends_once_or_is_lost(&scenario, &first);
        let metrics = Metrics::of(&scenario, &first);
        prop_assert_eq!(metrics.completed + metrics.lost, metrics.jobs);
        prop_assert_eq!(&first, &replay(&scenario, &mut Whim::new(seed)));
    }
}
