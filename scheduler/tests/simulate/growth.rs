//! A fleet that is many times as large, with as many times the jobs, serves each of them at least as well.

use scheduler::simulate::{PolicyKind, Scenario};
use serde_json::Value;

use crate::support::{measure, parse, text};

/// So much of a trace is played, ms: enough for a backlog to form.
const BEGINNING_MS: i64 = 300_000;
/// Copies of a job arrive within this, ms.
const SPREAD_MS: i64 = 60_000;

/// The beginning of a public scenario with its fleet and each of its jobs so many times.
fn grown(name: &str, times: usize, until_ms: i64) -> Scenario {
    let path = |file: &str| format!("scenarios/{name}/{file}");
    let mut fleet: Value = serde_json::from_str(&text(&path("nodes.json"))).unwrap();
    let nodes = fleet["nodes"].as_array().unwrap().clone();
    let copies = (0..times).flat_map(|copy| nodes.iter().map(move |node| renamed(node, "id", copy)));
    fleet["nodes"] = copies.collect();
    let trace = text(&path("trace.jsonl.gz"));
    let jobs = trace.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let first: Vec<Value> = jobs.take_while(|job| job["t"].as_i64().unwrap() < until_ms).collect();
    let mut jobs: Vec<Value> =
        (0..times).flat_map(|copy| first.iter().map(move |job| later(job, copy, times))).collect();
    jobs.sort_by_key(|job| job["t"].as_i64());
    let trace: String = jobs.iter().map(|job| format!("{job}\n")).collect();
    parse(&fleet.to_string(), &text(&path("models.json")), &trace).unwrap()
}

fn renamed(of: &Value, member: &str, copy: usize) -> Value {
    let mut renamed = of.clone();
    renamed[member] = format!("{}-{copy}", of[member].as_str().unwrap()).into();
    renamed
}

fn later(job: &Value, copy: usize, times: usize) -> Value {
    let by = SPREAD_MS * i64::try_from(copy).unwrap() / i64::try_from(times).unwrap();
    let mut later = renamed(job, "job", copy);
    for member in ["t", "deadline"] {
        if let Some(at) = job[member].as_i64() {
            later[member] = (at + by).into();
        }
    }
    later
}

/// Before what was found for waiting jobs was kept, decisions of a large fleet looked at the same jobs again and again:
/// with twenty times as much of everything the mean was twice as long.
#[test]
fn a_fleet_twenty_times_as_large_with_twenty_times_the_jobs_is_no_slower() {
    let mean = |times| measure(&grown("steady", times, BEGINNING_MS), PolicyKind::Darkroom).jct_mean_s;
    let (one, twenty) = (mean(1).unwrap(), mean(20).unwrap());
    assert!(twenty <= one, "{twenty} s against {one} s");
}
