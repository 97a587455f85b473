//! The rules of the model, one by one, as a policy meets them.

use scheduler::simulate::{
    AttemptOutcome, Desk, Event, Fate, JobEnd, JobIx, Metrics, NodeIx, Policy, Refused, Replay, Scenario,
    replay,
};

use crate::bad_files::{FLEET, MODELS};
use crate::support::parse;

/// A policy that is a closure.
struct Script<F>(F);

impl<F: FnMut(Event, &mut Desk<'_, '_>)> Policy for Script<F> {
    fn on_event(&mut self, event: Event, desk: &mut Desk<'_, '_>) {
        (self.0)(event, desk);
    }
}

fn play(scenario: &Scenario, script: impl FnMut(Event, &mut Desk<'_, '_>)) -> Replay {
    replay(scenario, &mut Script(script))
}

/// One job of `sd15` kind per entry: arrival, work and true peak; predicted are the work and 3,000 MiB.
fn scenario(jobs: &[(i64, i64, i64)]) -> Scenario {
    let line = |(number, (t, work, peak)): (usize, &(i64, i64, i64))| {
        format!(
            "{{\"t\":{t},\"job\":\"j{number}\",\"tenant\":\"a\",\"prio\":1,\"family\":\"sd\",\"ckpt\":\"c-sd\",\"loras\":[],\
             \"cns\":[],\"steps\":1,\"w\":1,\"h\":1,\"batch\":1,\"est_ms\":{work},\"work_ms\":{work},\
             \"est_vram_mib\":3000,\"peak_vram_mib\":{peak}}}\n"
        )
    };
    let trace: String = jobs.iter().enumerate().map(line).collect();
    parse(FLEET, MODELS, &trace).unwrap()
}

fn node(desk: &Desk<'_, '_>, position: usize) -> NodeIx {
    desk.setting().node_ixs().nth(position).unwrap()
}

/// From disk on a big node: 400 + 2,000 MiB at 4,000 and at 500 MiB/s.
const COLD_ON_BIG_MS: i64 = 400 + 500 + 4000;

#[test]
fn a_second_job_of_the_same_model_pays_for_the_model_no_more() {
    let scenario = scenario(&[(0, 1000, 3000), (0, 1000, 3000)]);
    let mut waiting = Vec::new();
    let replay = play(&scenario, |event, desk| {
        if let Event::Arrived { job } = event {
            waiting.push(job);
        }
        let first = node(desk, 0);
        if desk.is_idle(first)
            && let Some(job) = waiting.pop()
        {
            desk.start(job, first).unwrap();
            assert_eq!(desk.start(job, first), Err(Refused::NodeBusy));
            assert_eq!(desk.start(job, node(desk, 2)), Err(Refused::NotWaiting));
        }
    });
    let took: Vec<i64> = replay.attempts.iter().map(|attempt| attempt.end_ms - attempt.start_ms).collect();
    assert_eq!(took, [150 + COLD_ON_BIG_MS + 1000, 150 + 1000]);
}

#[test]
fn an_interrupted_job_starts_again_from_nothing_but_its_models_stay() {
    let scenario = scenario(&[(0, 60_000, 3000)]);
    let mut heard = Vec::new();
    let replay = play(&scenario, |event, desk| {
        if !matches!(event, Event::Notice { .. } | Event::Down { .. } | Event::Up { .. }) {
            heard.push((desk.now_ms(), event));
        }
        let first = node(desk, 0);
        match event {
            Event::Arrived { job } => {
                desk.start(job, first).unwrap();
                desk.wake_at(20_000);
            }
            Event::Timer => {
                let job = desk.interrupt(first).unwrap();
                assert_eq!(desk.interrupt(first), Err(Refused::NothingRuns));
                assert_eq!(desk.start(job, first), Err(Refused::NodeBusy), "it lets go first");
                assert_eq!((desk.running(first), desk.attempts(job)), (None, 0));
            }
            Event::Freed { node } => {
                let job = heard.iter().find_map(|(_, event)| match event {
                    Event::Arrived { job } => Some(*job),
                    _ => None,
                });
                desk.start(job.unwrap(), node).unwrap();
            }
            _ => {}
        }
    });
    let times: Vec<i64> = heard.iter().map(|(at, _)| *at).collect();
    assert_eq!(times, [0, 20_000, 20_500, 20_500 + 150 + 60_000], "the end it would have had is not heard");
    let outcomes: Vec<AttemptOutcome> = replay.attempts.iter().map(|attempt| attempt.outcome).collect();
    assert_eq!(outcomes, [AttemptOutcome::Interrupted, AttemptOutcome::Completed]);
    let metrics = Metrics::of(&scenario, &replay);
    assert_eq!((metrics.preemptions, metrics.wasted_gpu_s, metrics.jct_mean_s), (1, 20.5, Some(80.65)));
}

#[test]
fn an_out_of_memory_teaches_the_peak_and_counts() {
    let scenario = scenario(&[(21_000, 1000, 9000)]);
    let replay = play(&scenario, |event, desk| match event {
        Event::Arrived { job } => desk.start(job, node(desk, 1)).unwrap(),
        Event::OutOfMemory { node: small, job, fate } => {
            // 150, then 400 + 2,000 MiB at 2,000 and at 200 MiB/s, then the 1,000 until it shows.
            assert_eq!(desk.now_ms(), 21_000 + 150 + 400 + 1000 + 10_000 + 1000);
            assert_eq!((fate, desk.attempts(job), desk.est_vram_mib(job)), (Fate::Waits, 1, 8001));
            assert_eq!(desk.start(job, small), Err(Refused::DoesNotFit));
            desk.start(job, node(desk, 0)).unwrap();
        }
        _ => {}
    });
    assert_eq!(replay.failed_attempts, [1]);
    assert_eq!(Metrics::of(&scenario, &replay).oom, 1);
}

#[test]
fn a_job_that_its_nodes_keep_losing_is_given_up() {
    // The second node goes down at 9,000 and comes back at 20,000: two more such outages are added.
    let more = "{\"t\": 30000, \"node\": \"n1\", \"kind\": \"down\"}, {\"t\": 31000, \"node\": \"n1\", \"kind\": \"up\"}, \
                {\"t\": 40000, \"node\": \"n1\", \"kind\": \"down\"}]";
    let fleet = FLEET.replacen("\"kind\": \"up\"}]", &format!("\"kind\": \"up\"}}, {more}"), 1);
    let trace = "{\"t\":100,\"job\":\"j0\",\"tenant\":\"a\",\"prio\":1,\"family\":\"sd\",\"ckpt\":\"c-sd\",\"loras\":[],\"cns\":[],\
                 \"steps\":1,\"w\":1,\"h\":1,\"batch\":1,\"est_ms\":90000,\"work_ms\":90000,\"est_vram_mib\":3000,\
                 \"peak_vram_mib\":3000}";
    let scenario = parse(&fleet, MODELS, trace).unwrap();
    let (mut only, mut fates) = (None::<JobIx>, Vec::new());
    let replay = play(&scenario, |event, desk| match event {
        Event::Arrived { job } => {
            only = Some(job);
            desk.start(job, node(desk, 1)).unwrap();
        }
        Event::Notice { node: second, down_at_ms } => assert_eq!((second, down_at_ms), (node(desk, 1), 9000)),
        Event::Down { lost: Some((_, fate)), .. } => fates.push(fate),
        Event::Up { node } => desk.start(only.unwrap(), node).unwrap(),
        _ => {}
    });
    assert_eq!(fates, [Fate::Waits, Fate::Waits, Fate::Lost]);
    assert_eq!((replay.ends, replay.failed_attempts, replay.end_ms), (vec![JobEnd::Lost], vec![3], 40_000));
}

#[test]
fn a_job_that_fits_nowhere_is_lost_without_a_word() {
    let trace = "{\"t\":5,\"job\":\"j0\",\"tenant\":\"a\",\"prio\":1,\"family\":\"xl\",\"ckpt\":\"c-xl\",\"loras\":[],\"cns\":[],\
                 \"steps\":1,\"w\":1,\"h\":1,\"batch\":1,\"est_ms\":9,\"work_ms\":9,\"est_vram_mib\":24001,\"peak_vram_mib\":9}";
    let scenario = parse(FLEET, MODELS, trace).unwrap();
    let replay = play(&scenario, |event, _| panic!("heard of {event:?}"));
    assert_eq!((replay.ends, replay.end_ms), (vec![JobEnd::Lost], 5));
}

#[test]
fn what_happens_at_one_instant_comes_in_the_order_of_the_model() {
    // The first job ends at 9,000 on a big node, where the second node goes down and the second job arrives.
    let work = 9000 - 150 - COLD_ON_BIG_MS;
    let scenario = scenario(&[(0, work, 3000), (9000, 1, 3000)]);
    let mut heard = Vec::new();
    play(&scenario, |event, desk| {
        if desk.now_ms() == 9000 {
            heard.push(match event {
                Event::Completed { exec_ms, load_ms, peak_vram_mib, .. } => {
                    assert_eq!((exec_ms, load_ms, peak_vram_mib), (work, COLD_ON_BIG_MS, 3000));
                    "completed"
                }
                Event::Down { lost: None, .. } => "down",
                Event::Arrived { .. } => "arrived",
                Event::Timer => "timer",
                _ => "something else",
            });
        } else if event == Event::Timer {
            return;
        }
        if let Event::Arrived { job } = event {
            desk.start(job, node(desk, 0)).unwrap();
            desk.wake_at(9000);
        }
    });
    assert_eq!(heard, ["completed", "down", "arrived", "timer", "timer"]);
}
