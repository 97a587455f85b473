//! Reads the reference files.

use std::io::Read;
use std::path::PathBuf;

use flate2::read::GzDecoder;
use scheduler::simulate::{File, Metrics, PolicyKind, Replay, Scenario, replay};

pub(crate) const SCENARIOS: [&str; 9] = [
    "deadline_mix",
    "diurnal_burst",
    "failures_spot",
    "heavy_tail",
    "light",
    "mixed_vram",
    "noisy_tenant",
    "overload",
    "steady",
];

/// The policies that have reference results.
pub(crate) const REFERENCES: [PolicyKind; 5] =
    [PolicyKind::Fifo, PolicyKind::RoundRobin, PolicyKind::LeastQueue, PolicyKind::Affinity, PolicyKind::Ect];

/// One of the reference files, unpacked.
pub(crate) fn text(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/scheduling").join(path);
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if path.extension().is_some_and(|extension| extension == "gz") {
        let mut text = String::new();
        GzDecoder::new(bytes.as_slice()).read_to_string(&mut text).unwrap();
        return text;
    }
    String::from_utf8(bytes).unwrap()
}

pub(crate) fn scenario(name: &str) -> Scenario {
    parse(
        &text(&format!("scenarios/{name}/nodes.json")),
        &text(&format!("scenarios/{name}/models.json")),
        &text(&format!("scenarios/{name}/trace.jsonl.gz")),
    )
    .unwrap()
}

pub(crate) fn parse(fleet: &str, models: &str, trace: &str) -> Result<Scenario, String> {
    let file = |name, text| File { name, text };
    Scenario::parse(file("nodes.json", fleet), file("models.json", models), file("trace.jsonl", trace))
        .map_err(|error| error.to_string())
}

pub(crate) fn play(scenario: &Scenario, kind: PolicyKind) -> Replay {
    replay(scenario, kind.build(scenario.setting()).as_mut())
}

pub(crate) fn measure(scenario: &Scenario, kind: PolicyKind) -> Metrics {
    Metrics::of(scenario, &play(scenario, kind))
}
