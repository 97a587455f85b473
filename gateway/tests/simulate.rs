//! `gateway simulate` from outside: what it prints, writes and refuses.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

use std::path::PathBuf;
use std::process::{Command, Output};

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/scheduling")
}

fn public(name: &str) -> String {
    fixtures().join("scenarios").join(name).display().to_string()
}

fn simulate(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gateway")).arg("simulate").args(args).output().unwrap()
}

#[track_caller]
fn printed(args: &[&str]) -> String {
    let output = simulate(args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn refused(args: &[&str]) -> String {
    let output = simulate(args);
    assert!(!output.status.success() && output.stdout.is_empty());
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn the_json_of_a_public_scenario_equals_the_reference_result() {
    let results = std::fs::read_to_string(fixtures().join("results.json")).unwrap();
    let results: serde_json::Value = serde_json::from_str(&results).unwrap();
    let found = printed(&["--policy", "fifo", "--scenario", &public("light"), "--json"]);
    let found: serde_json::Value = serde_json::from_str(&found).unwrap();
    assert_eq!(found.as_object().unwrap().len(), results["light"]["fifo"].as_object().unwrap().len());
    for (key, expected) in results["light"]["fifo"].as_object().unwrap() {
        assert_eq!(&found[key], expected, "{key}");
    }
}

#[test]
fn three_files_are_as_good_as_a_folder() {
    let folder = public("light");
    let [fleet, models, trace] =
        ["nodes.json", "models.json", "trace.jsonl.gz"].map(|file| format!("{folder}/{file}"));
    let files = ["--policy", "ect", "--fleet", &fleet, "--models", &models, "--trace", &trace];
    assert_eq!(printed(&files), printed(&["--policy", "ect", "--scenario", &folder]));
}

#[test]
fn a_generated_scenario_is_the_fresh_one_of_its_seed() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("seven").display().to_string();
    printed(&["--generate", "light", "--seed", "7", "--out", &out]);
    let figures = |scenario: &str| -> String {
        printed(&["--policy", "ect", "--scenario", scenario]).lines().skip(1).collect()
    };
    assert_eq!(figures(&out), figures("light@7"));
    assert_ne!(figures(&out), figures("light@8"));
}

#[test]
fn a_comparison_has_a_column_for_each_policy_and_a_line_for_each_scenario() {
    let table = printed(&["--compare", "least_queue,ect", "--scenario", &public("light"), "light@1-2"]);
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let lines: Vec<Vec<String>> = table.lines().take(6).map(words).collect();
    assert_eq!(lines[0], ["Mean", "completion", "time,", "s", "least_queue", "ect"]);
    assert_eq!(lines[1], ["light", "54.1", "26.9"]);
    assert_eq!((lines[2][0].as_str(), lines[3][0].as_str()), ("light@1", "light@2"));
    assert_eq!(lines[4][..2], ["against", "ect"]);
    assert_eq!(lines[5], ["against", "least_queue", "1.000", "x", &lines[5][4], "x"]);
}

#[test]
fn the_picture_is_written_where_it_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.html");
    printed(&["--policy", "ect", "--scenario", &public("light"), "--timeline", &path.display().to_string()]);
    let page = std::fs::read_to_string(path).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.contains("ect on light"));
}

#[test]
fn an_error_of_estimates_changes_what_a_predicting_policy_does() {
    let light = public("light");
    let with = |sigma: &str, seed: &str| {
        printed(&["--policy", "ect", "--scenario", &light, "--est-sigma", sigma, "--seed", seed])
    };
    assert_eq!(with("0.3", "1"), with("0.300", "1"));
    assert_ne!(with("0.3", "1"), with("0.3", "2"));
    assert_eq!(with("0", "1"), with("0", "2"));
    assert!(
        refused(&["--policy", "ect", "--scenario", &light, "--est-sigma", "much"]).contains("`much` must be")
    );
}

#[test]
fn preemption_is_off_unless_asked_for() {
    let folder = public("deadline_mix");
    let run = |times: &str| {
        let text = printed(&["--policy", "darkroom", "--scenario", &folder, "--preemption", times, "--json"]);
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["preemptions"].as_u64().unwrap()
    };
    assert_eq!(run("0"), 0);
    assert!(run("4") > 0);
}

#[test]
fn what_cannot_be_done_is_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("nowhere").display().to_string();
    let message = refused(&["--policy", "ect", "--scenario", &missing]);
    assert!(message.contains("is no folder"), "{message}");
    assert!(refused(&["--policy", "best", "--scenario", &missing]).contains("there is no policy `best`"));
    assert!(
        refused(&["--policy", "ect", "--scenario", "stormy@1"]).contains("there is no scenario `stormy`")
    );
    assert!(refused(&["--policy", "ect", "--scenario", "light@x"]).contains("`x` is no seed"));

    for file in ["nodes.json", "models.json"] {
        std::fs::copy(fixtures().join("scenarios/light").join(file), folder.path().join(file)).unwrap();
    }
    std::fs::write(folder.path().join("trace.jsonl"), "{\"t\":1}\n").unwrap();
    let message = refused(&["--policy", "ect", "--scenario", &folder.path().display().to_string()]);
    assert!(message.contains("trace.jsonl:1: `family` is missing; add it"), "{message}");
    std::fs::write(folder.path().join("trace.jsonl"), [0xff, 0xfe, 0x00]).unwrap();
    let message = refused(&["--policy", "ect", "--scenario", &folder.path().display().to_string()]);
    assert!(message.contains("trace.jsonl as text"), "{message}");
}
