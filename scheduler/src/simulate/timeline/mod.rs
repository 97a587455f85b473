//! A replay as a picture: one HTML page that needs nothing else.
//!
//! The page draws on a canvas, so that tens of thousands of jobs stay quick; what it draws is the JSON made here.

mod backlog;

use serde_json::{Value, json};

use super::metrics::Metrics;
use super::replay::{AttemptOutcome, Replay};
use super::scenario::{ClassIx, Job, NodeIx, Scenario};

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The page for a replay; `title` may be any text.
#[must_use]
pub fn timeline(title: &str, scenario: &Scenario, replay: &Replay) -> String {
    let data = data(scenario, replay).to_string().replace('<', "\\u003c");
    let parts = [("{{title}}", escaped(title).as_str()), ("{{style}}", STYLE), ("{{script}}", SCRIPT)]
        .into_iter()
        .fold(PAGE.to_owned(), |page, (place, text)| page.replace(place, text));
    // Last, so that nothing in a trace can be taken for a place.
    parts.replacen("{{data}}", &data, 1)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('{', "&#123;")
}

fn data(scenario: &Scenario, replay: &Replay) -> Value {
    let setting = &scenario.setting;
    let metrics = Metrics::of(scenario, replay);
    let models: Vec<Value> =
        setting.models.iter().map(|model| json!([model.id, model.family.index()])).collect();
    let mut tries = vec![0_u32; scenario.jobs.len()];
    for attempt in &replay.attempts {
        tries[attempt.job.index()] += 1;
    }
    let jobs = scenario.jobs.iter().zip(&tries).map(|(job, tries)| job_data(scenario, job, *tries));
    json!({
        "end": replay.end_ms,
        "subtitle": format!(
            "{} jobs, {} devices, {:.0} min", metrics.jobs, setting.nodes.len(), metrics.makespan_s / 60.0
        ),
        "tiles": tiles(&metrics),
        "families": setting.families,
        "models": models,
        "classes": classes(scenario, replay),
        "jobs": jobs.collect::<Vec<_>>(),
        "attempts": attempts(scenario, replay),
        "backlog": backlog::depth(scenario, replay),
    })
}

fn tiles(metrics: &Metrics) -> Vec<[String; 2]> {
    let shown = |value: Option<f64>, decimals: usize, unit: &str| {
        value.map_or_else(|| "–".to_owned(), |value| format!("{value:.decimals$}{unit}"))
    };
    let percent = |value: Option<f64>| shown(value.map(|share| share * 100.0), 1, " %");
    let tile = |name: &str, value: String| [name.to_owned(), value];
    let mut tiles = vec![
        tile("mean completion", shown(metrics.jct_mean_s, 1, " s")),
        tile("p99 completion", shown(metrics.jct_p99_s, 0, " s")),
        tile("deadlines met", percent(metrics.slo_attain)),
        tile("checkpoint switches per job", shown(metrics.ckpt_switches_per_job, 2, "")),
        tile("devices busy", percent(metrics.gpu_busy_frac)),
        tile("devices loading", percent(metrics.gpu_load_frac)),
        tile("cost per 1,000 jobs", format!("${}", shown(metrics.usd_busy_per_1k, 1, ""))),
    ];
    let rare = [
        ("out of memory", metrics.oom),
        ("preemptions", metrics.preemptions),
        ("lost with a device", metrics.failure_requeues),
        ("lost jobs", metrics.lost),
    ];
    tiles.extend(
        rare.into_iter().filter(|(_, count)| *count > 0).map(|(name, count)| tile(name, count.to_string())),
    );
    tiles
}

/// Classes from the dearest device down, each with its nodes; a node's `row` is its position in the fleet.
fn classes(scenario: &Scenario, replay: &Replay) -> Vec<Value> {
    let setting = &scenario.setting;
    let mut order: Vec<(usize, ClassIx)> = (0..setting.classes.len()).zip((0..).map(ClassIx)).collect();
    order.sort_by_key(|(at, _)| (std::cmp::Reverse(setting.classes[*at].usd_micro_per_hour), *at));
    let group = |class: ClassIx| {
        let nodes = setting.node_ixs().filter(|node| setting.nodes[node.index()].class == class);
        let nodes: Vec<Value> = nodes
            .map(|node| {
                let known = &setting.nodes[node.index()];
                json!({ "id": known.id, "row": node.index(), "spot": known.spot, "downs": downs(replay, node) })
            })
            .collect();
        let known = &setting.classes[class.index()];
        (!nodes.is_empty()).then(|| {
            json!({
                "name": known.name,
                "vram": format!("{} GiB", (known.vram_mib + 512) / 1024),
                "price": format!("${:.2}/h", known.usd_micro_per_hour as f64 / 1e6),
                "nodes": nodes,
            })
        })
    };
    order.into_iter().filter_map(|(_, class)| group(class)).collect()
}

/// When a node was down: what lies between the times it was up.
fn downs(replay: &Replay, node: NodeIx) -> Vec<[i64; 2]> {
    let mut ups: Vec<[i64; 2]> =
        replay.ups.iter().filter(|up| up.node == node).map(|up| [up.from_ms, up.until_ms]).collect();
    ups.sort_unstable();
    let mut downs = Vec::new();
    let mut since = 0;
    for [from, until] in ups {
        if since < from {
            downs.push([since, from]);
        }
        since = until;
    }
    if since < replay.end_ms {
        downs.push([since, replay.end_ms]);
    }
    downs
}

/// Id, tenant, class, checkpoint, LoRAs, shape, arrival, deadline and number of attempts.
fn job_data(scenario: &Scenario, job: &Job, tries: u32) -> Value {
    let shape = format!("{} × {} × {}, {} steps", job.w, job.h, job.batch, job.steps);
    json!([
        job.id,
        scenario.setting.tenants[job.tenant.index()].name,
        job.prio,
        job.ckpt.index(),
        job.loras.len(),
        shape,
        job.t,
        job.deadline,
        tries
    ])
}

/// Row, start, end of loading, end, job and outcome.
fn attempts(scenario: &Scenario, replay: &Replay) -> Vec<[i64; 6]> {
    let overhead = scenario.setting.constants.overhead_ms;
    let number = |index: usize| i64::try_from(index).unwrap_or(i64::MAX);
    let attempts = replay.attempts.iter();
    attempts
        .map(|attempt| {
            let loaded = attempt.start_ms.saturating_add(overhead).saturating_add(attempt.load_ms);
            let outcome = match attempt.outcome {
                AttemptOutcome::Completed => 0,
                AttemptOutcome::OutOfMemory => 1,
                AttemptOutcome::Interrupted => 2,
                AttemptOutcome::NodeLost => 3,
            };
            // The overhead alone is no loading worth showing.
            let loaded = if attempt.load_ms == 0 { attempt.start_ms } else { loaded };
            [
                number(attempt.node.index()),
                attempt.start_ms,
                loaded.min(attempt.end_ms),
                attempt.end_ms,
                number(attempt.job.index()),
                outcome,
            ]
        })
        .collect()
}
