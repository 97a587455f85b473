//! The runner against a ComfyUI that breaks, hangs, lies and dies (PROTOCOL §8).

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

#[path = "support/runner.rs"]
mod support;

use std::time::Duration;

use comfyui_sim::{Fault, PromptState};
use gateway::link::message::{Command, Report, Signal};
use scheduler::AttemptEnd;
use support::{World, dispatch, paced, picture, sampled, slow_picture};

#[tokio::test]
async fn a_dropped_socket_costs_no_job() {
    let mut world = World::with(paced(30), |_| {}).await;
    let first = world.dispatch(&sampled(20, 1)).await;
    let second = world.dispatch(&sampled(5, 2)).await;
    world.started(first.attempt).await;
    world.sim.faults().drop_sockets();
    world.finish(first.attempt).await;
    world.finish(second.attempt).await;
    let third = world.dispatch(&sampled(5, 3)).await;
    world.finish(third.attempt).await;
    let clients: Vec<_> =
        world.sim.observed().prompts.iter().map(|prompt| prompt.client_id.clone()).collect();
    assert_ne!(clients[0], clients[2], "a new socket has an id of its own");
}

#[tokio::test]
async fn sockets_that_break_at_every_frame_cost_no_job() {
    let mut world = World::start().await;
    for frames in 0..12 {
        world.sim.faults().drop_sockets_after(frames);
        let sent = world.dispatch(&picture(u32::try_from(frames).unwrap())).await;
        world.finish(sent.attempt).await;
    }
    assert_eq!(world.sim.observed().posts, 12, "no prompt was sent twice");
}

#[tokio::test]
async fn a_deaf_socket_is_replaced_and_its_job_polled() {
    let mut world = World::with(comfyui_sim::Config::default(), |config| {
        config.times.deaf_after = Duration::from_millis(200);
    })
    .await;
    world.sim.faults().deaf(true);
    let before = world.sim.observed().sockets;
    let sent = world.dispatch(&slow_picture(1.0)).await;
    world.eventually("another socket", |world| world.sim.observed().sockets > before).await;
    world.sim.faults().deaf(false);
    world.finish(sent.attempt).await;
}

#[tokio::test]
async fn a_lost_reply_is_looked_up_and_not_sent_again() {
    let mut world = World::start().await;
    for color in 0..5 {
        world.sim.faults().lose_next_reply();
        let sent = world.dispatch(&picture(color)).await;
        world.finish(sent.attempt).await;
    }
    assert_eq!(world.sim.observed().posts, 5);
}

#[tokio::test]
async fn a_post_that_queues_nothing_leaves_no_trace() {
    let mut world = World::start().await;
    world.sim.faults().fail_next_post(1);
    let sent = world.dispatch(&picture(1)).await;
    assert_eq!(world.lost(sent.attempt).await, AttemptEnd::NoTrace);
}

#[tokio::test]
async fn an_instance_that_refuses_connections_surely_never_got_it() {
    let mut world = World::start().await;
    world.sim.kill().await;
    let sent = world.dispatch(&picture(1)).await;
    assert_eq!(world.lost(sent.attempt).await, AttemptEnd::Unreachable);
    world
        .until("down", |seen| seen.iter().any(|r| matches!(r, Report::InstanceDown { .. })).then_some(()))
        .await;
    world.seen.clear();
    world.sim.restart().await.unwrap();
    world.up().await;
    let again = world.dispatch(&picture(1)).await;
    world.finish(again.attempt).await;
}

#[tokio::test]
async fn a_killed_instance_died_for_the_running_prompt_and_lost_the_waiting_one() {
    let mut world = World::start().await;
    let running = world.dispatch(&slow_picture(60.0)).await;
    world.started(running.attempt).await;
    let waiting = world.dispatch(&picture(1)).await;
    world.accepted(waiting.attempt).await;
    world.sim.kill().await;
    for attempt in [running.attempt, waiting.attempt] {
        world.signal(attempt, "loss of contact", |s| matches!(s, Signal::ContactLost).then_some(())).await;
    }
    world.sim.restart().await.unwrap();
    assert_eq!(world.lost(running.attempt).await, AttemptEnd::InstanceDied);
    assert_eq!(world.lost(waiting.attempt).await, AttemptEnd::NoTrace);
}

#[tokio::test]
async fn history_may_come_late() {
    let mut world = World::start().await;
    world.sim.faults().delay_history(Duration::from_millis(700));
    let sent = world.dispatch(&picture(1)).await;
    let (listed, _) = world.finish(sent.attempt).await;
    assert_eq!(listed.len(), 1);
}

#[tokio::test]
async fn lost_history_is_no_trace() {
    let mut world = World::with(comfyui_sim::Config::default(), |config| {
        config.times.history_grace = Duration::from_millis(300);
    })
    .await;
    world.sim.faults().lose_history(true);
    let sent = world.dispatch(&picture(1)).await;
    assert_eq!(world.lost(sent.attempt).await, AttemptEnd::NoTrace);
}

#[tokio::test]
async fn a_blocked_branch_is_no_failure() {
    let mut world = World::start().await;
    world.sim.faults().blocked_branch(1);
    let sent = world.dispatch(&picture(1)).await;
    let (listed, _) = world.finish(sent.attempt).await;
    assert_eq!(listed.len(), 1);
}

#[tokio::test]
async fn a_success_with_an_error_among_its_messages_is_a_failure() {
    let mut world = World::start().await;
    world.sim.faults().lying_success(1);
    let sent = world.dispatch(&picture(1)).await;
    world
        .signal(sent.attempt, "failure", |s| {
            matches!(s, Signal::NodeFailed(_) | Signal::Lost { .. }).then_some(())
        })
        .await;
    assert!(!world.signals(sent.attempt).iter().any(|s| matches!(s, Signal::Executed { .. })));
}

#[tokio::test]
async fn a_node_error_names_the_node_and_hides_the_server() {
    let mut world = World::start().await;
    let mut graph = slow_picture(0.1);
    graph["2"] = serde_json::json!({"class_type": "TestSyncError", "inputs": {"value": ["1", 0]}});
    let sent = world.dispatch(&graph).await;
    let error = world
        .signal(sent.attempt, "failure", |signal| match signal {
            Signal::NodeFailed(error) => Some(error.clone()),
            _ => None,
        })
        .await;
    assert_eq!((error.node_id.as_deref(), error.class_type.as_deref()), (Some("2"), Some("TestSyncError")));
    assert!(error.message.contains("Intentional"));
    assert!(!error.traceback.unwrap_or_default().contains("/home/"));
}

#[tokio::test]
async fn out_of_memory_and_cuda_faults_are_told_apart() {
    let mut world = World::start().await;
    for legacy_name in [false, true] {
        world.sim.faults().apply(Fault::OutOfMemory { prompts: 1, legacy_name });
        let sent = world.dispatch(&sampled(2, 1)).await;
        assert_eq!(world.lost(sent.attempt).await, AttemptEnd::OutOfMemory);
    }
    world.sim.faults().cuda_fault(1);
    let sent = world.dispatch(&sampled(2, 2)).await;
    assert_eq!(world.lost(sent.attempt).await, AttemptEnd::DeviceFault);
}

#[tokio::test]
async fn a_prompt_that_stops_moving_is_interrupted_and_hung() {
    let mut world = World::with(paced(5), |config| config.times.hang_min = Duration::from_millis(500)).await;
    world.sim.faults().never_finish_next();
    let mut sent = dispatch(&sampled(3, 1));
    sent.expected_ms = 10;
    world.command(Command::Dispatch(Box::new(sent.clone()))).await;
    assert_eq!(world.lost(sent.attempt).await, AttemptEnd::Hung);
    assert_eq!(world.sim.observed().prompts[0].state, PromptState::Interrupted);
    let next = world.dispatch(&sampled(3, 2)).await;
    world.finish(next.attempt).await;
}

#[tokio::test]
async fn a_dead_worker_is_a_hung_instance_that_is_avoided() {
    let mut world = World::with(comfyui_sim::Config::default(), |config| {
        config.times.dead_worker_after = Duration::from_millis(500);
        config.times.poll_after = Duration::from_millis(100);
        config.times.stuck_cooldown = Duration::from_millis(300);
    })
    .await;
    world.sim.faults().stick_queue(true);
    let sent = world.dispatch(&picture(1)).await;
    assert_eq!(world.lost(sent.attempt).await, AttemptEnd::Hung);
    world
        .until("down", |seen| seen.iter().any(|r| matches!(r, Report::InstanceDown { .. })).then_some(()))
        .await;
    world.sim.faults().stick_queue(false);
    world
        .until("up again", |seen| {
            let ups = seen.iter().filter(|report| matches!(report, Report::InstanceUp { .. }));
            (ups.count() >= 2).then_some(())
        })
        .await;
    let next = world.dispatch(&picture(2)).await;
    world.finish(next.attempt).await;
}

#[tokio::test]
async fn an_older_server_that_chooses_its_own_ids_is_followed_by_them() {
    let mut world = World::start().await;
    world.sim.faults().ignore_prompt_id(true);
    let first = world.dispatch(&picture(1)).await;
    world.finish(first.attempt).await;
    // found by our mark, since the id in the reply is lost
    world.sim.faults().lose_next_reply();
    let second = world.dispatch(&picture(2)).await;
    world.finish(second.attempt).await;
    let slow = world.dispatch(&slow_picture(60.0)).await;
    world.started(slow.attempt).await;
    world.withdraw(&slow).await;
    world.stopped(slow.attempt).await;
    assert_eq!(world.sim.observed().posts, 3);
}

#[tokio::test]
async fn foreign_frames_bare_nan_and_broadcast_text_disturb_nobody() {
    let mut world = World::with(paced(20), |_| {}).await;
    let sent = world.dispatch(&sampled(10, 1)).await;
    world.started(sent.attempt).await;
    world.sim.faults().nan_frame();
    world.sim.faults().broadcast_text("1", "hello");
    world.sim.faults().foreign_frames("00000000-0000-4000-8000-000000000000");
    world.finish(sent.attempt).await;
}

#[tokio::test]
async fn a_runner_that_starts_again_adopts_what_runs_and_what_has_ended() {
    let mut world = World::start().await;
    let ended = world.dispatch(&picture(1)).await;
    world.executed(ended.attempt).await;
    let running = world.dispatch(&slow_picture(1.5)).await;
    world.started(running.attempt).await;
    let waiting = world.dispatch(&picture(2)).await;
    world.accepted(waiting.attempt).await;
    world.restart_runner().await;
    for sent in [&ended, &running, &waiting] {
        world.look_up(sent).await;
    }
    for sent in [&ended, &running, &waiting] {
        world.finish(sent.attempt).await;
    }
    assert_eq!(world.sim.observed().posts, 3);
    let never_sent = dispatch(&picture(3));
    world.look_up(&never_sent).await;
    assert_eq!(world.lost(never_sent.attempt).await, AttemptEnd::NoTrace);
}

#[tokio::test]
async fn a_prompt_of_ours_that_nobody_knows_is_reported_once_and_removed_on_demand() {
    let mut world = World::with(comfyui_sim::Config::default(), |config| {
        config.times.stray_scan = Duration::from_millis(50);
    })
    .await;
    let stray = world.dispatch(&slow_picture(60.0)).await;
    world.started(stray.attempt).await;
    world.restart_runner().await;
    let strays = |seen: &[Report]| {
        let of = |report: &&Report| matches!(report, Report::Stray { prompt, .. } if *prompt == stray.prompt);
        seen.iter().filter(of).count()
    };
    world.until("stray", |seen| (strays(seen) == 1).then_some(())).await;
    let known = world.dispatch(&picture(1)).await;
    world.accepted(known.attempt).await;
    world.withdraw(&stray).await;
    world.stopped(stray.attempt).await;
    world.finish(known.attempt).await;
    assert_eq!(strays(&world.seen), 1);
    assert_eq!(world.sim.observed().prompts[0].state, PromptState::Interrupted);
}

#[tokio::test]
async fn a_prompt_without_our_mark_is_left_alone() {
    let mut world = World::start().await;
    let body = serde_json::json!({"prompt": slow_picture(0.5), "client_id": "somebody"});
    let client = reqwest::Client::new();
    client.post(format!("{}/prompt", world.sim.url())).json(&body).send().await.unwrap();
    let sent = world.dispatch(&picture(1)).await;
    world.finish(sent.attempt).await;
    assert_eq!(world.sim.observed().prompts[0].state, PromptState::Succeeded);
    assert!(!world.seen.iter().any(|report| matches!(report, Report::Stray { .. })));
}

#[tokio::test]
async fn a_repeated_dispatch_is_sent_once() {
    let mut world = World::start().await;
    let sent = world.dispatch(&slow_picture(0.3)).await;
    for _ in 0..3 {
        world.command(Command::Dispatch(Box::new(sent.clone()))).await;
    }
    world.finish(sent.attempt).await;
    assert_eq!(world.sim.observed().posts, 1);
}
