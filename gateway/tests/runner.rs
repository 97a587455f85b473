//! The runner drives a simulated ComfyUI over real sockets: what goes right, and what is withdrawn.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

#[path = "support/runner.rs"]
mod support;

use std::sync::Arc;
use std::time::Duration;

use comfyui_sim::PromptState;
use gateway::link::message::{Command, OutputKind, Report, Signal};
use gateway::runner::nvml::{Nvml, Settings};
use support::{GPU, World, dispatch, paced, picture, sampled, slow_picture};

#[tokio::test]
async fn a_workflow_becomes_a_stored_picture() {
    let mut world = World::start().await;
    let sent = world.dispatch(&picture(1)).await;
    let (listed, stored) = world.finish(sent.attempt).await;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].name, "portraits/one_00001_.png");
    assert_eq!(listed[0].kind, OutputKind::Image);
    assert_eq!(listed[0].node_id, "2");
    assert_eq!(stored[0].content_type, "image/png");
    let signals = world.signals(sent.attempt);
    assert!(matches!(signals[0], Signal::Accepted) || matches!(signals[0], Signal::Started), "{signals:?}");
}

#[tokio::test]
async fn an_instance_is_reported_with_its_device_and_catalogue() {
    let mut world = World::start().await;
    let facts = world.up().await;
    assert_eq!((facts.device_name.as_str(), facts.device_class.as_str()), ("Tesla T4", "t4"));
    assert_eq!((facts.speed_milli, facts.vram_mib), (160, Some(15_360)));
    assert_eq!(facts.comfyui_version.as_deref(), Some("0.33.0"));
    let hash = facts.catalogue.unwrap();
    // the kept body first, then one that has to be read again
    for times in 1..=2 {
        world.command(Command::SendCatalogue { instance: GPU.into() }).await;
        world
            .until("catalogue", |seen| {
                let bodies = seen.iter().filter(|report| match report {
                    Report::Catalogue { hash: of, body } => {
                        assert_eq!(*of, hash);
                        assert_eq!(blake3::hash(body.as_bytes()).to_hex().to_string(), hash);
                        true
                    }
                    _ => false,
                });
                (bodies.count() == times).then_some(())
            })
            .await;
    }
}

#[tokio::test]
async fn every_prompt_carries_our_mark_and_ids_and_no_number() {
    let mut world = World::start().await;
    let mut sent = dispatch(&picture(2));
    sent.extra_pnginfo = Some(r#"{"workflow":{"nodes":[]}}"#.into());
    world.command(Command::Dispatch(Box::new(sent.clone()))).await;
    world.finish(sent.attempt).await;
    let observed = world.sim.observed();
    let prompt = &observed.prompts[0];
    assert_eq!(prompt.prompt_id, sent.prompt.to_string());
    let mark = &prompt.extra_data["darkroom"];
    assert_eq!(mark["cell"], world.cell.to_string());
    assert_eq!(mark["job"], sent.attempt.job.to_string());
    assert_eq!(mark["attempt"], 1);
    assert_eq!(prompt.extra_data["extra_pnginfo"]["workflow"]["nodes"], serde_json::json!([]));
    let prefix = prompt.graph["2"]["inputs"]["filename_prefix"].as_str().unwrap();
    assert_eq!(prefix, format!("{}/1/portraits/one", sent.attempt.job));
}

#[tokio::test]
async fn two_hundred_jobs_of_no_duration_end_each_once() {
    let mut world = World::start().await;
    for color in 0..200 {
        let sent = world.dispatch(&picture(color)).await;
        world.finish(sent.attempt).await;
        let ends = world.signals(sent.attempt);
        assert_eq!(ends.iter().filter(|signal| matches!(signal, Signal::Stored { .. })).count(), 1);
        world.seen.clear();
    }
    assert_eq!(world.sim.observed().posts, 200);
}

#[tokio::test]
async fn a_prefetched_prompt_starts_only_when_the_first_has_ended() {
    let mut world = World::with(paced(20), |_| {}).await;
    let first = world.dispatch(&sampled(10, 1)).await;
    world.started(first.attempt).await;
    let second = world.dispatch(&sampled(10, 2)).await;
    world.accepted(second.attempt).await;
    world.finish(first.attempt).await;
    world.finish(second.attempt).await;
    let at = |what: &dyn Fn(&Report) -> bool| world.seen.iter().position(what).unwrap();
    let ended = at(
        &|report| matches!(report, Report::Attempt { attempt, signal: Signal::Executed { .. } } if *attempt == first.attempt),
    );
    let started = at(
        &|report| matches!(report, Report::Attempt { attempt, signal: Signal::Started } if *attempt == second.attempt),
    );
    let accepted = at(
        &|report| matches!(report, Report::Attempt { attempt, signal: Signal::Accepted } if *attempt == second.attempt),
    );
    assert!(accepted < ended && accepted < started);
}

#[tokio::test]
async fn progress_grows_to_the_end_and_names_node_and_step() {
    let mut world = World::with(paced(20), |_| {}).await;
    let sent = world.dispatch(&sampled(10, 1)).await;
    world.finish(sent.attempt).await;
    let progress: Vec<_> = world
        .signals(sent.attempt)
        .into_iter()
        .filter_map(|signal| match signal {
            Signal::Progress(progress) => Some(progress),
            _ => None,
        })
        .collect();
    assert!(progress.windows(2).all(|pair| pair[0].value <= pair[1].value));
    let sampling = progress.iter().find(|progress| progress.steps == Some(10)).unwrap();
    assert_eq!(sampling.current_node_class.as_deref(), Some("KSampler"));
    assert_eq!(sampling.nodes_total, 6);
}

#[tokio::test]
async fn a_withdrawn_prompt_in_the_queue_never_runs() {
    let mut world = World::start().await;
    let first = world.dispatch(&slow_picture(1.0)).await;
    world.started(first.attempt).await;
    let second = world.dispatch(&picture(3)).await;
    world.accepted(second.attempt).await;
    world.withdraw(&second).await;
    world.stopped(second.attempt).await;
    world.finish(first.attempt).await;
    let observed = world.sim.observed();
    assert_eq!(observed.prompts[1].state, PromptState::Removed);
    assert_eq!(observed.interrupts, 0);
}

#[tokio::test]
async fn a_withdrawn_running_prompt_is_interrupted_and_the_next_goes_on() {
    let mut world = World::start().await;
    let first = world.dispatch(&slow_picture(60.0)).await;
    world.started(first.attempt).await;
    let second = world.dispatch(&picture(3)).await;
    world.accepted(second.attempt).await;
    world.withdraw(&first).await;
    world.stopped(first.attempt).await;
    world.finish(second.attempt).await;
    assert_eq!(world.sim.observed().prompts[0].state, PromptState::Interrupted);
}

#[tokio::test]
async fn a_withdrawal_right_behind_its_dispatch_does_not_overtake_it() {
    let mut world = World::start().await;
    for color in 0..20 {
        let sent = world.dispatch(&slow_picture(30.0 + f64::from(color))).await;
        world.withdraw(&sent).await;
        world.stopped(sent.attempt).await;
    }
    let left = world.sim.observed().prompts;
    assert!(left.iter().all(|prompt| !matches!(prompt.state, PromptState::Pending | PromptState::Running)));
}

#[tokio::test]
async fn an_attempt_never_heard_of_is_stopped_at_once() {
    let mut world = World::start().await;
    let unknown = dispatch(&picture(1));
    world.withdraw(&unknown).await;
    world.stopped(unknown.attempt).await;
}

#[tokio::test]
async fn a_refused_graph_comes_back_with_its_node_errors() {
    let mut world = World::start().await;
    let mut graph = picture(1);
    graph["1"]["inputs"]["width"] = (-5).into();
    let sent = world.dispatch(&graph).await;
    let rejection = world
        .signal(sent.attempt, "refusal", |signal| match signal {
            Signal::Invalid(rejection) => Some(rejection.clone()),
            _ => None,
        })
        .await;
    assert_eq!(rejection.kind, "prompt_outputs_failed_validation");
    assert!(rejection.node_errors.unwrap().contains("value_smaller_than_min"));
}

#[tokio::test]
async fn dropped_outputs_refuse_a_strict_prompt_and_let_the_other_run() {
    let mut world = World::start().await;
    let mut graph = picture(1);
    graph["3"] = serde_json::json!({"class_type": "SaveImage", "inputs": {"filename_prefix": "none"}});
    let strict = world.dispatch(&graph).await;
    world
        .signal(strict.attempt, "refusal", |signal| matches!(signal, Signal::Invalid(_)).then_some(()))
        .await;
    let mut lenient = dispatch(&graph);
    lenient.strict = false;
    world.command(Command::Dispatch(Box::new(lenient.clone()))).await;
    let (listed, _) = world.finish(lenient.attempt).await;
    assert_eq!(listed.len(), 1);
}

#[tokio::test]
async fn previews_are_passed_on_but_not_all_of_them() {
    let sim = comfyui_sim::Config { preview: true, ..paced(20) };
    let mut world = World::with(sim, |config| config.times.preview_every = Duration::from_secs(60)).await;
    let sent = world.dispatch(&sampled(10, 1)).await;
    world.finish(sent.attempt).await;
    let signals = world.signals(sent.attempt);
    let previews: Vec<_> = signals
        .iter()
        .filter_map(|signal| match signal {
            Signal::Preview(preview) => Some(preview),
            _ => None,
        })
        .collect();
    assert_eq!(previews.len(), 1);
    assert_eq!(
        (previews[0].node_id.as_deref(), previews[0].content_type.as_str()),
        (Some("4"), "image/jpeg")
    );
    assert!(previews[0].bytes.starts_with(b"\xff\xd8"));
}

#[tokio::test]
async fn a_host_without_a_driver_reports_that_as_a_fact() {
    let settings = Settings { library: Some("/nonexistent/libnvidia-ml.so.1".into()), ..Settings::default() };
    let mut world = World::with(comfyui_sim::Config::default(), |config| {
        config.nvml = Some(Arc::new(Nvml::start(settings)));
    })
    .await;
    world
        .until("reading", |seen| {
            let tells =
                |problem: &Option<String>| problem.as_deref().is_some_and(|it| it.contains("library"));
            let told = |report: &Report| matches!(report, Report::Devices(report) if tells(&report.problem));
            seen.iter().any(told).then_some(())
        })
        .await;
}

#[tokio::test]
async fn settling_deletes_the_attempts_own_folder_and_nothing_else() {
    let output = tempfile::tempdir().unwrap();
    let folder = output.path().to_owned();
    let mut world = World::with(comfyui_sim::Config::default(), |config| {
        config.instances[0].output_folder = Some(folder);
    })
    .await;
    let sent = world.dispatch(&picture(1)).await;
    let job = output.path().join(sent.attempt.job.to_string());
    let (own, other) = (job.join("1").join("portraits"), job.join("2"));
    for folder in [&own, &other] {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join("one_00001_.png"), "png").unwrap();
    }
    std::fs::write(output.path().join("foreign.png"), "png").unwrap();
    world.finish(sent.attempt).await;
    world.eventually("its folder is gone", |_| !job.join("1").exists()).await;
    assert!(other.join("one_00001_.png").exists() && output.path().join("foreign.png").exists());
}

#[tokio::test]
async fn the_node_cache_is_emptied_on_demand() {
    let world = World::start().await;
    world.command(Command::Free { instance: GPU.into() }).await;
    world.eventually("freed", |world| world.sim.observed().frees == 1).await;
}

#[tokio::test]
async fn an_attempt_that_is_looked_up_while_it_is_known_tells_again_where_it_stands() {
    let mut world = World::start().await;
    let sent = world.dispatch(&picture(1)).await;
    let listed = world.executed(sent.attempt).await;
    world.seen.clear();
    world.look_up(&sent).await;
    assert_eq!(world.executed(sent.attempt).await, listed);
    world.grant(sent.attempt, listed.len()).await;
    let stored = world.stored(sent.attempt).await;
    world.seen.clear();
    world.look_up(&sent).await;
    assert_eq!(world.stored(sent.attempt).await, stored);
    assert_eq!(world.sim.observed().posts, 1);
}

async fn preempt(world: &World, dispatch: &gateway::link::message::Dispatch) {
    let (attempt, prompt) = (dispatch.attempt, dispatch.prompt);
    world.command(Command::Preempt { attempt, instance: GPU.into(), prompt }).await;
}

#[tokio::test]
async fn work_whose_place_is_wanted_is_interrupted() {
    let mut world = World::start().await;
    let first = world.dispatch(&slow_picture(60.0)).await;
    world.started(first.attempt).await;
    preempt(&world, &first).await;
    world.stopped(first.attempt).await;
    assert_eq!(world.sim.observed().prompts[0].state, PromptState::Interrupted);
    let next = world.dispatch(&picture(1)).await;
    world.finish(next.attempt).await;
}

#[tokio::test]
async fn work_that_is_done_when_its_place_is_wanted_goes_on_to_its_outputs() {
    let mut world = World::start().await;
    let sent = world.dispatch(&picture(1)).await;
    world.executed(sent.attempt).await;
    preempt(&world, &sent).await;
    world.finish(sent.attempt).await;
    assert_eq!(world.sim.observed().interrupts, 0);
    assert!(!world.signals(sent.attempt).contains(&Signal::Stopped));
}

#[tokio::test]
async fn work_that_has_ended_unnoticed_when_its_place_is_wanted_is_not_thrown_away() {
    // Nobody tells that it ends, and it is not asked for before the place is wanted.
    let mut world = World::with(comfyui_sim::Config::default(), |config| {
        config.times.poll_after = Duration::from_secs(4);
    })
    .await;
    world.sim.faults().deaf(true);
    let sent = world.dispatch(&picture(1)).await;
    let has_ended = |world: &World| {
        world.sim.observed().prompts.first().is_some_and(|prompt| prompt.state == PromptState::Succeeded)
    };
    world.eventually("its end", has_ended).await;
    assert!(!world.signals(sent.attempt).iter().any(|signal| matches!(signal, Signal::Executed { .. })));
    preempt(&world, &sent).await;
    world.finish(sent.attempt).await;
    assert!(!world.signals(sent.attempt).contains(&Signal::Stopped));
    assert_eq!(world.sim.observed().posts, 1);
}
