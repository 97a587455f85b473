//! Results wait: for an engine that lost its memory, for tickets, for a folder that can be written.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

#[path = "support/runner.rs"]
mod support;

use std::time::Duration;

use gateway::link::message::{Attempt, Command, Input, Report, Signal, Ticket};
use gateway::runner::Config;
use scheduler::AttemptEnd;
use serde_json::json;
use support::{World, dispatch, picture};

fn impatient(config: &mut Config) {
    config.times.spool_after = Duration::from_millis(20);
    config.times.ticket_retry = Duration::from_millis(20);
    config.times.upload_backoff = (Duration::from_millis(10), Duration::from_millis(20));
}

fn asks(seen: &[Report]) -> usize {
    seen.iter().filter(|report| matches!(report, Report::Attempt { signal: Signal::NeedTickets, .. })).count()
}

/// Waits until the list was told and after it that all is stored.
async fn list_before_stored(world: &mut World, attempt: Attempt) {
    world
        .until("the list, then the files", |seen| {
            let mut signals = seen.iter().filter_map(|report| match report {
                Report::Attempt { attempt: of, signal } if *of == attempt => Some(signal),
                _ => None,
            });
            signals.find(|signal| matches!(signal, Signal::Executed { .. }))?;
            signals.find(|signal| matches!(signal, Signal::Stored { .. })).map(drop)
        })
        .await;
}

#[tokio::test]
async fn an_engine_that_asks_after_all_is_stored_hears_the_list_first() {
    let mut world = World::start().await;
    let sent = world.dispatch(&picture(1)).await;
    world.executed(sent.attempt).await;
    world.grant(sent.attempt, 1).await;
    world.stored(sent.attempt).await;
    world.seen.clear();
    world.look_up(&sent).await;
    list_before_stored(&mut world, sent.attempt).await;
    // tickets for what is stored change nothing
    world.grant(sent.attempt, 1).await;
    world.command(Command::Settle { attempt: sent.attempt }).await;
    let next = world.dispatch(&picture(2)).await;
    world.finish(next.attempt).await;
}

#[tokio::test]
async fn an_engine_that_asks_during_a_delivery_hears_the_list() {
    let mut world = World::start().await;
    world.sim.faults().slow_view(Duration::from_millis(300));
    let sent = world.dispatch(&picture(3)).await;
    world.executed(sent.attempt).await;
    world.seen.clear();
    world.grant(sent.attempt, 1).await;
    world.look_up(&sent).await;
    list_before_stored(&mut world, sent.attempt).await;
}

#[tokio::test]
async fn tickets_for_another_number_of_files_are_asked_for_again_with_the_list() {
    let mut world = World::with(comfyui_sim::Config::default(), impatient).await;
    let sent = world.dispatch(&picture(4)).await;
    world.executed(sent.attempt).await;
    world.seen.clear();
    world.grant(sent.attempt, 0).await;
    assert_eq!(world.executed(sent.attempt).await.len(), 1);
    world.grant(sent.attempt, 1).await;
    world.stored(sent.attempt).await;
}

#[tokio::test]
async fn results_wait_for_an_artifact_folder_that_cannot_be_written() {
    let mut world = World::with(comfyui_sim::Config::default(), impatient).await;
    let folder = world.dir.path().join("artifacts");
    std::fs::write(&folder, "in the way").unwrap();
    let sent = world.dispatch(&picture(5)).await;
    world.executed(sent.attempt).await;
    for round in 1..=3 {
        let so_far = asks(&world.seen);
        world.grant(sent.attempt, 1).await;
        world.until("another request", |seen| (asks(seen) > so_far).then_some(())).await;
        assert!(
            !world.signals(sent.attempt).iter().any(|s| matches!(s, Signal::Lost { .. })),
            "round {round}"
        );
    }
    // by now nothing of it is needed from the instance
    world.sim.faults().lose_files();
    std::fs::remove_file(&folder).unwrap();
    world.finish(sent.attempt).await;
    assert_eq!(world.sim.observed().prompts.len(), 1);
}

#[tokio::test]
async fn an_output_that_comfyui_never_serves_fails_the_job() {
    let mut world = World::start().await;
    let mut graph = picture(6);
    graph["2"]["inputs"]["filename_prefix"] = json!("one..two");
    let sent = world.dispatch(&graph).await;
    world.executed(sent.attempt).await;
    world.grant(sent.attempt, 1).await;
    let error = world
        .signal(sent.attempt, "failure", |signal| match signal {
            Signal::NodeFailed(error) => Some(error.clone()),
            _ => None,
        })
        .await;
    assert_eq!(error.node_id.as_deref(), Some("2"));
    assert!(error.message.contains("one..two"), "{}", error.message);
}

#[tokio::test]
async fn an_upload_of_an_input_that_stalls_is_given_up() {
    let mut world = World::with(comfyui_sim::Config::default(), |config| {
        config.times.stall_timeout = Duration::from_millis(100);
    })
    .await;
    let pipe = world.dir.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // open at both ends, and nothing ever comes
    let held = std::fs::File::options().read(true).write(true).open(&pipe).unwrap();
    let mut sent = dispatch(&picture(7));
    sent.inputs.push(Input {
        pointer: "/2/inputs/filename_prefix".into(),
        hash: "00".repeat(32),
        size_bytes: 10,
        extension: "png".into(),
        content_type: "image/png".into(),
        source: Ticket::File { path: pipe },
    });
    world.command(Command::Dispatch(Box::new(sent.clone()))).await;
    assert_eq!(world.lost(sent.attempt).await, AttemptEnd::Unreachable);
    drop(held);
}
