//! Fresh scenarios: the same for a seed, and as hard as the public ones.

use std::collections::BTreeMap;

use scheduler::simulate::{Generated, Job, PolicyKind, Scenario};

use crate::support::{SCENARIOS, measure, scenario};

fn fresh(name: &str, seed: u64) -> Scenario {
    Generated::draw(name, seed, None).unwrap().scenario().unwrap()
}

#[test]
fn every_public_scenario_can_be_drawn_afresh() {
    let mut names: Vec<&str> = Generated::names().collect();
    names.sort_unstable();
    assert_eq!(names, SCENARIOS);
    for name in SCENARIOS {
        let (fresh, public) = (fresh(name, 1), scenario(name));
        assert_eq!(fresh.setting().classes, public.setting().classes, "{name}");
        assert_eq!(fresh.setting().constants, public.setting().constants, "{name}");
        assert_eq!(fresh.setting().tenants, public.setting().tenants, "{name}");
        let spots = |scenario: &Scenario| scenario.setting().nodes.iter().filter(|node| node.spot).count();
        assert_eq!(spots(&fresh), spots(&public), "{name}");
        let (few, many) = (public.jobs().len() * 3 / 4, public.jobs().len() * 5 / 4);
        assert!((few..=many).contains(&fresh.jobs().len()), "{name} has {} jobs", fresh.jobs().len());
    }
}

#[test]
fn a_kind_and_a_seed_always_mean_the_same_files() {
    let draw = |seed| Generated::draw("failures_spot", seed, None).unwrap();
    assert_eq!(draw(7), draw(7));
    assert_ne!(draw(7).trace, draw(8).trace);
    let trace = draw(7).trace;
    let first = trace.lines().next().unwrap_or_default();
    // Pinned, so that another platform that draws otherwise is found out.
    assert_eq!(
        first,
        r#"{"t":453,"job":"j000000","tenant":"t4","prio":0,"family":"sd15","ckpt":"c-sd15-000","loras":[],"cns":[],"steps":30,"w":512,"h":768,"batch":4,"est_ms":6053,"work_ms":6571,"est_vram_mib":6969,"peak_vram_mib":6969,"deadline":null}"#
    );
}

#[test]
fn an_unknown_kind_is_told_what_there_is() {
    let error = Generated::draw("stormy", 1, None).unwrap_err();
    assert!(
        error.to_string().starts_with("there is no scenario `stormy` to generate; there are light, steady")
    );
}

#[test]
fn a_load_can_be_asked_for() {
    let jobs = |load| Generated::draw("light", 3, Some(load)).unwrap().trace.lines().count();
    let (half, full) = (jobs(400) as f64, jobs(800) as f64);
    assert!((1.85..2.15).contains(&(full / half)), "{half} and {full} jobs");
}

/// The middle of an odd number of draws: one trace is nothing to go by, a few videos more double the waiting.
fn median_jct(name: &str, kind: PolicyKind) -> f64 {
    let mut means: Vec<f64> =
        (1..=5).map(|seed| measure(&fresh(name, seed), kind).jct_mean_s.unwrap_or_default()).collect();
    means.sort_by(f64::total_cmp);
    means[means.len() / 2]
}

#[test]
fn fresh_scenarios_are_about_as_hard_as_the_public_ones() {
    for name in ["light", "overload"] {
        let public = scenario(name);
        for kind in [PolicyKind::Ect, PolicyKind::LeastQueue] {
            let known = measure(&public, kind).jct_mean_s.unwrap_or_default();
            let ratio = median_jct(name, kind) / known;
            assert!(
                (0.75..1.25).contains(&ratio),
                "{kind} on {name}: {ratio:.2} of the public mean completion"
            );
        }
    }
}

#[test]
fn predictions_of_fresh_jobs_are_those_of_public_jobs_of_the_same_shape() {
    let (fresh, public) = (fresh("steady", 2), scenario("steady"));
    let shapes = |scenario: &Scenario| -> BTreeMap<_, i64> {
        let shape = |job: &Job| (job.family, job.steps, job.w, job.h, job.batch, job.cns.len());
        scenario.jobs().iter().map(|job| (shape(job), job.est_ms)).collect()
    };
    let (fresh, public) = (shapes(&fresh), shapes(&public));
    let shared: Vec<_> =
        fresh.iter().filter_map(|(shape, est)| Some((shape, est, public.get(shape)?))).collect();
    assert!(shared.len() > 100, "{} shapes in common", shared.len());
    for (shape, fresh, public) in shared {
        assert_eq!(fresh, public, "{shape:?}");
    }
}
