//! Whatever a file holds, it is read or refused with its place; nothing panics.

use proptest::prelude::*;
use scheduler::simulate::{Metrics, PolicyKind, replay};

use crate::support::parse;

pub(crate) const FLEET: &str = r#"{
"version": 1,
"classes": {
  "big": {"vram_mib": 24000, "usd_per_hour": 3.5, "speed_milli": {"sd": 1000, "xl": 900}, "disk_mib_s": 500, "pcie_mib_s": 4000, "host_cache_mib": 20000},
  "small": {"vram_mib": 8000, "usd_per_hour": 0.5, "speed_milli": {"sd": 300, "xl": 0}, "disk_mib_s": 200, "pcie_mib_s": 2000, "host_cache_mib": 9000}
},
"nodes": [{"id": "n0", "class": "big", "spot": false}, {"id": "n1", "class": "small", "spot": true}, {"id": "n2", "class": "big", "spot": true}],
"events": [{"t": 4000, "node": "n1", "kind": "notice", "down_at": 9000}, {"t": 9000, "node": "n1", "kind": "down"}, {"t": 20000, "node": "n1", "kind": "up"}],
"tenants": {"a": {"weight": 1, "compliant": true}, "b": {"weight": 2, "compliant": false}},
"sim": {"overhead_ms": 150, "fixed_ms": {"checkpoint": 400, "controlnet": 200, "lora": 60}, "patch_ms": {"sd": 300, "xl": 900}, "interrupt_ms": 500, "oom_ms": 1000, "max_attempts": 3}
}"#;

pub(crate) const MODELS: &str = r#"{
"c-sd": {"kind": "checkpoint", "family": "sd", "mib": 2000},
"c-xl": {"kind": "checkpoint", "family": "xl", "mib": 6600},
"n-sd": {"kind": "controlnet", "family": "sd", "mib": 700},
"l-sd": {"kind": "lora", "family": "sd", "mib": 90}
}"#;

const TRACE: &str = r#"{"t":100,"job":"j0","tenant":"a","prio":1,"family":"sd","ckpt":"c-sd","loras":["l-sd"],"cns":["n-sd"],"steps":30,"w":512,"h":512,"batch":1,"est_ms":4000,"work_ms":4100,"est_vram_mib":3000,"peak_vram_mib":3000,"deadline":null}
{"t":200,"job":"j1","tenant":"b","prio":2,"family":"xl","ckpt":"c-xl","loras":[],"cns":[],"steps":30,"w":512,"h":512,"batch":1,"est_ms":4000,"work_ms":3100,"est_vram_mib":9000,"peak_vram_mib":9000,"deadline":30000,"new":true}

{"t":200,"job":"j2","tenant":"b","prio":0,"family":"sd","ckpt":"c-sd","loras":[],"cns":[],"steps":30,"w":512,"h":512,"batch":1,"est_ms":4000,"work_ms":40000,"est_vram_mib":3000,"peak_vram_mib":9000}
"#;

fn refusal(fleet: &str, models: &str, trace: &str) -> String {
    parse(fleet, models, trace).unwrap_err()
}

#[track_caller]
fn refuses_trace(from: &str, to: &str, message: &str) {
    assert!(TRACE.contains(from));
    assert_eq!(refusal(FLEET, MODELS, &TRACE.replacen(from, to, 1)), message);
}

#[track_caller]
fn refuses_fleet(from: &str, to: &str, message: &str) {
    assert!(FLEET.contains(from));
    assert_eq!(refusal(&FLEET.replacen(from, to, 1), MODELS, TRACE), message);
}

#[test]
fn unknown_keys_empty_lines_and_a_missing_deadline_are_fine() {
    assert_eq!(parse(FLEET, MODELS, TRACE).unwrap().jobs().len(), 3);
    assert_eq!(parse(FLEET, MODELS, "").unwrap().jobs().len(), 0);
}

#[test]
fn a_mistake_in_the_trace_names_line_and_field() {
    refuses_trace(
        "\"t\":100",
        "\"t\":-1",
        "trace.jsonl:1: `t` must be a whole number from 0 to 1000000000, not -1",
    );
    refuses_trace("\"t\":100,", "", "trace.jsonl:1: `t` is missing; add it");
    refuses_trace(
        "\"t\":100",
        "\"t\":300",
        "trace.jsonl:2: `t` is earlier than the line before; sort the trace by t",
    );
    refuses_trace("\"j2\"", "\"j0\"", "trace.jsonl:4: `job` is `j0` a second time; ids must differ");
    refuses_trace(
        "\"prio\":2",
        "\"prio\":3",
        "trace.jsonl:2: `prio` must be a whole number from 0 to 2, not 3",
    );
    refuses_trace("[\"l-sd\"]", "7", "trace.jsonl:1: `loras` must be a list in brackets");
    refuses_trace(
        "[\"l-sd\"]",
        "[\"n-sd\"]",
        "trace.jsonl:1: `loras` names `n-sd`, which the catalogue does not have as a LoRA",
    );
    refuses_trace(
        "\"tenant\":\"a\"",
        "\"tenant\":\"c\"",
        "trace.jsonl:1: `tenant` is `c`, which the fleet's `tenants` does not have",
    );
    refuses_trace(
        "{\"t\":200,\"job\":\"j2\"",
        "{\"t\":200,\"job\" \"j2\"",
        "trace.jsonl:4: is not valid JSON at column 16: expected `:`",
    );
}

#[test]
fn a_mistake_in_the_fleet_names_the_way_to_the_field() {
    refuses_fleet(
        "\"vram_mib\": 8000",
        "\"vram_mib\": \"8000\"",
        "nodes.json: `classes.small.vram_mib` must be a whole number from 0 to 1000000000, not \"8000\"",
    );
    refuses_fleet(
        "\"class\": \"small\"",
        "\"class\": \"tiny\"",
        "nodes.json: `nodes[1].class` is `tiny`, which `classes` does not have; add it there",
    );
    refuses_fleet(
        "\"n1\", \"kind\": \"up\"",
        "\"n9\", \"kind\": \"up\"",
        "nodes.json: `events[2].node` is `n9`, which `nodes` does not have; add it there",
    );
    refuses_fleet(
        "\"kind\": \"up\"",
        "\"kind\": \"on\"",
        "nodes.json: `events[2].kind` must be notice, down or up, not `on`",
    );
    refuses_fleet(
        "3.5",
        "-1",
        "nodes.json: `classes.big.usd_per_hour` must be a number from 0 to 1000000, not -1",
    );
    refuses_fleet(
        "\"version\": 1,",
        "\"version\": 1",
        "nodes.json:3: is not valid JSON at column 1: expected `,` or `}`",
    );
    assert_eq!(refusal("[]", MODELS, TRACE), "nodes.json: must be a JSON object in braces");
}

#[test]
fn a_mistake_in_the_catalogue_names_the_model() {
    let kind = MODELS.replacen("\"lora\"", "\"laura\"", 1);
    assert_eq!(
        refusal(FLEET, &kind, TRACE),
        "models.json: `l-sd.kind` must be checkpoint, controlnet or lora, not `laura`"
    );
}

/// Replaces a piece of a text by something that may or may not make sense there.
fn broken(text: &'static str) -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just(String::new()),
        Just("null".to_owned()),
        Just("-9223372036854775808".to_owned()),
        Just("1e400".to_owned()),
        Just("999999999".to_owned()),
        Just("\"\\ud800\"".to_owned()),
        Just("[[".to_owned()),
        any::<String>(),
        any::<i64>().prop_map(|number| number.to_string()),
    ];
    (0..text.len(), 0..12_usize, piece).prop_map(move |(at, len, piece)| {
        let mut text = text.to_owned();
        text.replace_range(at..(at + len).min(text.len()), &piece);
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_file_makes_anything_panic(
        fleet in prop_oneof![Just(FLEET.to_owned()), broken(FLEET)],
        models in prop_oneof![Just(MODELS.to_owned()), broken(MODELS)],
        trace in prop_oneof![Just(TRACE.to_owned()), broken(TRACE), any::<String>()],
    ) {
        if let Ok(scenario) = parse(&fleet, &models, &trace) {
            for kind in PolicyKind::ALL {
                let mut policy = kind.build(scenario.setting());
                let metrics = Metrics::of(&scenario, &replay(&scenario, policy.as_mut()));
                prop_assert_eq!(metrics.completed + metrics.lost, scenario.jobs().len());
            }
        }
    }
}
