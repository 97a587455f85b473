//! Scenarios of 300 jobs on a handful of devices, cut from freshly drawn ones.

use std::collections::BTreeSet;

use scheduler::simulate::{Event, File, Generated, Scenario};
use serde_json::Value;

use super::script::Script;

const JOBS: usize = 300;
const NODES: usize = 8;
/// A backlog of so many jobs forms at least …
const WAIT_AT_LEAST: usize = 15;
/// … and at most: the scheduler checks itself after each event, which takes its time with many open jobs.
const WAIT_AT_MOST: usize = 80;
/// Enough to see that one of them differs.
const FEW_JOBS: usize = 80;
/// Seeds that are tried for a scenario that shows what it is to show.
const TRIES: u64 = 60;

pub struct Drawn {
    pub seed: u64,
    pub scenario: Scenario,
    pub script: Script,
}

pub fn steady() -> Drawn {
    draw("steady", JOBS, 350, 2, |_| true)
}

pub fn short() -> Drawn {
    draw("steady", FEW_JOBS, 500, 1, |_| true)
}

pub fn out_of_memory() -> Drawn {
    draw("mixed_vram", JOBS, 350, 10, |script| {
        script.count(|event| matches!(event, Event::OutOfMemory { .. })) >= 2
    })
}

pub fn failures() -> Drawn {
    draw("failures_spot", JOBS, 250, 1, |script| {
        let shows = |of: fn(&Event) -> bool| script.count(of) > 0;
        shows(|event| matches!(event, Event::Notice { .. }))
            && shows(|event| matches!(event, Event::Down { lost: Some(_), .. }))
            && shows(|event| matches!(event, Event::Down { lost: None, .. }))
            && shows(|event| matches!(event, Event::Up { .. }))
    })
}

/// The first seed from `first` on whose scenario is of use; those before it were of no use when this was written.
/// `load_milli` is a load of the whole fleet of 24, of which a third is kept.
fn draw(name: &str, jobs: usize, load_milli: u64, first: u64, shows: impl Fn(&Script) -> bool) -> Drawn {
    let found = (first..first + TRIES).find_map(|seed| {
        let scenario = cut(&Generated::draw(name, seed, Some(load_milli)).unwrap(), jobs);
        let script = Script::of(&scenario);
        let all_arrive = script.count(|event| matches!(event, Event::Arrived { .. })) == jobs;
        let backlog_forms = (WAIT_AT_LEAST..=WAIT_AT_MOST).contains(&script.most_waiting());
        let is_of_use =
            all_arrive && backlog_forms && script.has_one_order() && !script.gives_up() && shows(&script);
        is_of_use.then_some(Drawn { seed, scenario, script })
    });
    found.expect("one of the seeds gives a scenario of use")
}

/// The first jobs with their models, on a few of the devices: those that come and go before the others.
fn cut(generated: &Generated, jobs: usize) -> Scenario {
    let mut fleet: Value = serde_json::from_str(&generated.fleet).unwrap();
    let nodes = fleet["nodes"].as_array_mut().unwrap();
    nodes.sort_by_key(|node| node["spot"] != true);
    nodes.truncate(NODES);
    let kept: Vec<Value> = nodes.iter().map(|node| node["id"].clone()).collect();
    fleet["events"].as_array_mut().unwrap().retain(|event| kept.contains(&event["node"]));

    let lines: Vec<&str> = generated.trace.lines().take(jobs).collect();
    let used: BTreeSet<String> = lines.iter().flat_map(|line| models(line)).collect();
    let mut models: serde_json::Map<String, Value> = serde_json::from_str(&generated.models).unwrap();
    models.retain(|id, _| used.contains(id));

    let file = |name, text| File { name, text };
    Scenario::parse(
        file("nodes.json", &fleet.to_string()),
        file("models.json", &Value::Object(models).to_string()),
        file("trace.jsonl", &lines.join("\n")),
    )
    .unwrap()
}

/// The models of one line of the trace.
fn models(line: &str) -> Vec<String> {
    let job: Value = serde_json::from_str(line).unwrap();
    let listed = ["loras", "cns"].into_iter().flat_map(|list| job[list].as_array().unwrap());
    listed.chain(std::iter::once(&job["ckpt"])).map(|id| id.as_str().unwrap().to_owned()).collect()
}
