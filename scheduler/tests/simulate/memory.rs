//! What ran out of memory on a class of devices is not tried there again.

use std::collections::BTreeMap;

use scheduler::ShapeId;
use scheduler::simulate::{
    AttemptOutcome, ClassIx, Generated, Job, ModelIx, PolicyKind, Replay, Scenario, darkroom_shape,
};

use crate::bad_files::{FLEET, MODELS};
use crate::support::{SCENARIOS, parse, play, scenario};

/// Seeds of the scenarios that are drawn beside the public ones.
const FRESH: [u64; 2] = [11, 12];

/// What a gateway sees of a job's need: its shape and its models.
type Signature = (ShapeId, ModelIx, Vec<ModelIx>, Vec<ModelIx>);

fn signature(job: &Job) -> Signature {
    (darkroom_shape(job).id, job.ckpt, job.cns.clone(), job.loras.clone())
}

/// How often each signature ran out of memory on each class, not counting attempts that had begun before the first
/// such end was known.
fn overflows(scenario: &Scenario, replay: &Replay) -> BTreeMap<(Signature, ClassIx), u32> {
    let mut known_at = BTreeMap::new();
    let mut overflows = BTreeMap::new();
    let failed = replay.attempts.iter().filter(|attempt| attempt.outcome == AttemptOutcome::OutOfMemory);
    for attempt in failed {
        let class = scenario.setting().nodes[attempt.node.index()].class;
        let key = (signature(&scenario.jobs()[attempt.job.index()]), class);
        let known_at = *known_at.entry(key.clone()).or_insert(attempt.end_ms);
        let count = overflows.entry(key).or_insert(1);
        *count += u32::from(attempt.start_ms >= known_at);
    }
    overflows
}

/// The kinds whose devices ran out of memory, and how many did.
fn assert_once(name: &str, scenario: &Scenario) -> usize {
    let overflows = overflows(scenario, &play(scenario, PolicyKind::Darkroom));
    let again: Vec<_> = overflows.iter().filter(|(_, count)| **count > 1).collect();
    assert!(again.is_empty(), "{name}: {again:?}");
    overflows.len()
}

#[test]
fn no_signature_runs_out_of_memory_twice_on_one_class_in_any_public_scenario() {
    let seen: usize = SCENARIOS.into_iter().map(|name| assert_once(name, &scenario(name))).sum();
    assert!(seen >= 5, "only {seen} ran out of memory: nothing was proved");
}

#[test]
fn no_signature_runs_out_of_memory_twice_on_one_class_in_fresh_scenarios() {
    let draw = |name: &str, seed| Generated::draw(name, seed, None).unwrap().scenario().unwrap();
    let runs = FRESH.into_iter().flat_map(|seed| ["mixed_vram", "heavy_tail"].map(|name| (name, seed)));
    let seen: usize = runs.map(|(name, seed)| assert_once(name, &draw(name, seed))).sum();
    assert!(seen >= 3, "only {seen} ran out of memory: nothing was proved");
}

/// Thirty jobs of one signature that is believed to fit everywhere and does not fit the small card, in three waves: each
/// would fill all cards.
#[test]
fn of_many_jobs_alike_only_the_first_runs_out_of_memory() {
    let line = |number: i64| {
        let at = 21_000 + 300_000 * (number / 10);
        format!(
            "{{\"t\":{at},\"job\":\"j{number}\",\"tenant\":\"a\",\"prio\":1,\"family\":\"sd\",\"ckpt\":\"c-sd\",\"loras\":[],\
             \"cns\":[],\"steps\":1,\"w\":1,\"h\":1,\"batch\":1,\"est_ms\":60000,\"work_ms\":60000,\
             \"est_vram_mib\":3000,\"peak_vram_mib\":9000}}\n"
        )
    };
    let scenario = parse(FLEET, MODELS, &(0..30).map(line).collect::<String>()).unwrap();
    assert_eq!(assert_once("thirty alike", &scenario), 1, "one class ran out of memory");
}
