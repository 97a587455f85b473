//! The engine's loop with a real store and a scripted runner: what is durable, what is told, in which order.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests may")]

#[macro_use]
#[path = "../support/store_calls.rs"]
mod store_calls;

mod feed;
mod world;

use std::sync::atomic::Ordering;

use gateway::engine::{Readiness, SubmitError};
use gateway::link::message::{Attempt, Command, Progress, Report, Signal};
use gateway::store::{Face, IdempotencyKey, StoredState};
use scheduler::{AttemptEnd, Phase};
use uuid::Uuid;
use world::{World, job, settings};

#[tokio::test(flavor = "multi_thread")]
async fn a_job_goes_from_submit_to_stored_outputs() {
    let mut world = World::new().await;
    world.ready().await;
    run_one(&mut world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_runs_with_every_link_message_put_through_json() {
    let mut world = World::with(true, settings()).await;
    world.ready().await;
    run_one(&mut world).await;
}

async fn run_one(world: &mut World) {
    let job = job();
    let id = job.id;
    let mut watch = world.engine.watch(id);
    world.submit(job).await.unwrap();
    assert!(world.row(id).await.accepted_at > 0);
    let dispatch = world.next_dispatch().await;
    assert_eq!(dispatch.attempt, Attempt { job: id, number: 1 });
    assert_eq!(world.row(id).await.state, StoredState::Placed, "the placement is on disk before it is sent");

    world.tell(dispatch.attempt, Signal::Accepted).await;
    world.tell(dispatch.attempt, Signal::Started).await;
    let progress = Progress { value: 0.5, nodes_done: 1, nodes_total: 2, ..Progress::default() };
    world.tell(dispatch.attempt, Signal::Progress(progress.clone())).await;
    while world.engine.live(id).and_then(|live| live.progress).is_none() {
        watch.changed().await;
        let _ = watch.state();
    }
    let live = world.engine.live(id).unwrap();
    assert_eq!((live.phase, live.progress), (Some(Phase::Running), Some(progress)));
    assert_eq!(live.instance.as_deref(), Some("gpu-0"));

    world.finish(dispatch.attempt).await;
    let row = world.until(id, StoredState::Succeeded).await;
    assert!(row.started_at.is_some() && row.ended_at.is_some());
    let outputs = world.engine.store().outputs(id).await.unwrap();
    assert_eq!(outputs.len(), 1);
    assert_eq!(outputs[0].name, "ComfyUI_00001_.png", "the tenant's own numbering");
    assert!(outputs[0].object_key.contains(&format!("{id}-1-")), "{}", outputs[0].object_key);
    let settled = world.next().await;
    assert_eq!(settled, Command::Settle { attempt: dispatch.attempt });
    let phases: Vec<_> = watch.state().transitions.into_iter().map(|(_, phase)| phase).collect();
    assert_eq!(
        phases,
        [Phase::Queued, Phase::Dispatching, Phase::Running, Phase::Collecting, Phase::Succeeded]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_key_creates_nothing() {
    let mut world = World::new().await;
    world.ready().await;
    let key = IdempotencyKey { key: "k".into(), body_hash: [1; 32], expires_at: i64::MAX, response: None };
    let first = gateway::store::NewJob { idempotency: Some(key.clone()), ..job() };
    let id = first.id;
    let again = gateway::store::NewJob { idempotency: Some(key), ..job() };
    let (one, two) = tokio::join!(world.submit(first), world.submit(again.clone()));
    assert_eq!(one, Ok(()));
    let Err(SubmitError::DuplicateKey { job, same_body, .. }) = two else { panic!("{two:?}") };
    assert_eq!((job, same_body), (id, true));
    assert!(world.engine.store().job(again.id).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_and_frees_the_key() {
    let mut settings = settings();
    settings.scheduler.high_watermark = 1;
    settings.scheduler.low_watermark = 1;
    let world = World::with(false, settings).await;
    world.submit(job()).await.unwrap();
    let key = IdempotencyKey { key: "k".into(), body_hash: [1; 32], expires_at: i64::MAX, response: None };
    let refused = gateway::store::NewJob { idempotency: Some(key), ..job() };
    let id = refused.id;
    let Err(SubmitError::Refused(refusal)) = world.submit(refused).await else {
        panic!("expected a refusal")
    };
    assert!(refusal.retry_after.0 >= 1_000);
    assert!(world.engine.store().job(id).await.unwrap().is_none(), "nothing of it stays");
    assert!(world.engine.store().replay(1, Face::V2, "k".into()).await.unwrap().is_none(), "the key is free");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_fails_tells_nobody_yes_and_the_engine_comes_back() {
    let mut world = World::new().await;
    world.ready().await;
    let kept = job();
    let kept_id = kept.id;
    world.submit(kept).await.unwrap();
    let dispatch = world.next_dispatch().await;

    world.flaky.broken.store(true, Ordering::SeqCst);
    let lost = job();
    let lost_id = lost.id;
    assert!(matches!(world.submit(lost).await, Err(SubmitError::Unavailable(_))));
    world.flaky.broken.store(false, Ordering::SeqCst);
    assert!(world.engine.store().job(lost_id).await.unwrap().is_none());

    // What was on an instance is looked up again, and goes on.
    match world.next().await {
        Command::LookUp { dispatch: again, .. } => {
            assert_eq!((again.attempt, again.prompt), (dispatch.attempt, dispatch.prompt));
        }
        other => panic!("expected a look-up, got {other:?}"),
    }
    world.finish(dispatch.attempt).await;
    world.until(kept_id, StoredState::Succeeded).await;
    assert_eq!(world.engine.readiness(), Readiness::Ready);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_what_runs_is_adopted_and_what_waits_is_placed() {
    let mut world = World::new().await;
    world.ready().await;
    let jobs: Vec<_> = (0..4).map(|_| job()).collect();
    let ids: Vec<Uuid> = jobs.iter().map(|job| job.id).collect();
    for job in jobs {
        world.submit(job).await.unwrap();
    }
    let running = world.next_dispatch().await;
    world.tell(running.attempt, Signal::Started).await;
    let prefetched = world.next_dispatch().await;

    let mut world = world.restart().await;
    let mut looked_up = Vec::new();
    for _ in 0..2 {
        match world.next().await {
            Command::LookUp { dispatch, maybe_in_flight } => {
                assert!(maybe_in_flight, "the reply of its POST may have been lost with the process");
                looked_up.push(dispatch.attempt);
            }
            other => panic!("expected a look-up, got {other:?}"),
        }
    }
    looked_up.sort();
    let mut expected = [running.attempt, prefetched.attempt];
    expected.sort();
    assert_eq!(looked_up, expected);
    world.instance_up().await;
    let mut lost = false;
    let mut done = 0;
    // The running one finishes where it was; the prefetched one left no trace and runs again.
    world.tell(running.attempt, Signal::Started).await;
    world.tell(prefetched.attempt, Signal::Lost { end: AttemptEnd::NoTrace, message: String::new() }).await;
    world.tell(running.attempt, Signal::Executed { files: vec![world::picture()] }).await;
    while done < 4 {
        match world.next().await {
            Command::Grant { attempt, .. } => {
                world.tell(attempt, Signal::Stored { files: vec![world::stored()] }).await;
                done += 1;
            }
            Command::Dispatch(dispatch) => {
                lost |= dispatch.attempt == Attempt { job: prefetched.attempt.job, number: 2 };
                world.tell(dispatch.attempt, Signal::Executed { files: vec![world::picture()] }).await;
            }
            Command::Settle { .. } | Command::LookUp { .. } | Command::Withdraw { .. } => {}
            other => panic!("unexpected {other:?}"),
        }
    }
    assert!(lost, "the prefetched job had a second attempt");
    for id in ids {
        world.until(id, StoredState::Succeeded).await;
        assert_eq!(world.engine.store().outputs(id).await.unwrap().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_is_on_disk_before_it_is_sent_and_never_overtakes_its_post() {
    let mut world = World::new().await;
    world.ready().await;
    let job = job();
    let id = job.id;
    world.submit(job).await.unwrap();
    world.until(id, StoredState::Placed).await;
    world.engine.cancel(id).await.unwrap();
    assert_eq!(world.row(id).await.state, StoredState::Canceling);
    let dispatch = world.next_dispatch().await;
    match world.next().await {
        Command::Withdraw { attempt, .. } => assert_eq!(attempt, dispatch.attempt),
        other => panic!("expected a withdrawal, got {other:?}"),
    }
    world.tell(dispatch.attempt, Signal::Stopped).await;
    world.until(id, StoredState::Canceled).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_with_our_mark_that_belongs_to_nobody_is_withdrawn() {
    let mut world = World::new().await;
    world.ready().await;
    let attempt = Attempt { job: Uuid::now_v7(), number: 3 };
    let prompt = Uuid::now_v7();
    let over = Attempt { number: 2, ..attempt };
    for (attempt, ended) in [(over, true), (attempt, false)] {
        let stray = Report::Stray { instance: "gpu-0".into(), attempt, prompt, ended };
        world.runner.reports.send(stray).await.unwrap();
    }
    // The one that is over needs nothing: the next word is about the other.
    assert_eq!(world.next().await, Command::Withdraw { attempt, instance: "gpu-0".into(), prompt });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_closes_the_door_and_ends_when_nothing_runs() {
    let mut world = World::new().await;
    world.ready().await;
    let running = job();
    let id = running.id;
    world.submit(running).await.unwrap();
    let dispatch = world.next_dispatch().await;
    world.engine.drain().await;
    let refused = world.submit(job()).await;
    assert!(matches!(refused, Err(SubmitError::Refused(_))), "{refused:?}");
    world.finish(dispatch.attempt).await;
    world.until(id, StoredState::Succeeded).await;
}

/// The instance is lost and found again, and the engine has heard of it.
async fn come_back(world: &World) {
    world.report(Report::InstanceDown { instance: "gpu-0".into(), reason: "not there".into() }).await;
    world.instance_up().await;
    let deadline = tokio::time::Instant::now() + world::PATIENCE;
    while world.engine.fleet().instances[0].reconnects == 0 {
        assert!(tokio::time::Instant::now() < deadline, "it did not come back");
        tokio::task::yield_now().await;
    }
}

/// Submits a job, once the engine takes it, and has it run to its end.
async fn run_to_the_end(world: &mut World) {
    let job = job();
    let id = job.id;
    let deadline = tokio::time::Instant::now() + world::PATIENCE;
    while let Err(error) = world.submit(job.clone()).await {
        assert!(tokio::time::Instant::now() < deadline, "{error}");
        tokio::task::yield_now().await;
    }
    let dispatch = world.next_dispatch().await;
    assert_eq!(dispatch.attempt, Attempt { job: id, number: 1 });
    world.finish(dispatch.attempt).await;
    world.until(id, StoredState::Succeeded).await;
    assert_eq!(world.next().await, Command::Settle { attempt: dispatch.attempt });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_is_over_when_its_host_comes_back_and_stays_over_when_the_store_is_read_again() {
    let mut world = World::new().await;
    world.ready().await;
    world.report(Report::HostLeaving { within_ms: Some(0) }).await;
    come_back(&world).await;
    run_to_the_end(&mut world).await;

    world.flaky.broken.store(true, Ordering::SeqCst);
    assert!(matches!(world.submit(job()).await, Err(SubmitError::Unavailable(_))));
    world.flaky.broken.store(false, Ordering::SeqCst);
    run_to_the_end(&mut world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_outlives_a_contact_that_was_lost_and_found_again() {
    let mut world = World::new().await;
    world.ready().await;
    world.report(Report::HostLeaving { within_ms: Some(600_000) }).await;
    come_back(&world).await;
    let mut waiting = job();
    waiting.plan.shape.prior_run_ms = 3_600_000; // It would be cut short.
    let id = waiting.id;
    world.submit(waiting).await.unwrap();
    assert_eq!(world.row(id).await.state, StoredState::Queued);
    world.report(Report::HostLeaving { within_ms: None }).await;
    assert_eq!(world.next_dispatch().await.attempt, Attempt { job: id, number: 1 });
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_ends_in_the_moment_in_which_its_place_is_taken_keeps_its_outputs() {
    let mut settings = settings();
    settings.scheduler.preemption = 2;
    settings.scheduler.prefetch = 0;
    let mut world = World::with(false, settings).await;
    world.ready().await;
    let of_class = |class, prior_run_ms| {
        let mut job = job();
        (job.plan.class, job.plan.shape.prior_run_ms) = (class, prior_run_ms);
        job.plan.shape.id = scheduler::ShapeId(u64::from(prior_run_ms));
        job
    };
    let batch = of_class(scheduler::Class::Batch, 600_000);
    let quick = of_class(scheduler::Class::Interactive, 1_000);
    let ids = [batch.id, quick.id];
    world.submit(batch).await.unwrap();
    let running = world.next_dispatch().await;
    world.tell(running.attempt, Signal::Started).await;
    world.submit(quick).await.unwrap();
    match world.next().await {
        Command::Preempt { attempt, prompt, .. } => {
            assert_eq!((attempt, prompt), (running.attempt, running.prompt));
        }
        other => panic!("expected a preemption, got {other:?}"),
    }
    // It was done when the order came: the runner goes on to its outputs.
    world.tell(running.attempt, Signal::Executed { files: vec![world::picture()] }).await;
    let (mut granted, mut dispatched) = (false, None);
    while !granted || dispatched.is_none() {
        match world.next().await {
            Command::Grant { attempt, .. } => granted = attempt == running.attempt,
            Command::Dispatch(dispatch) => dispatched = Some(dispatch.attempt),
            other => panic!("unexpected {other:?}"),
        }
    }
    let next = dispatched.unwrap();
    assert_eq!(next, Attempt { job: ids[1], number: 1 }, "the seat is free as soon as nothing runs there");
    world.tell(running.attempt, Signal::Stored { files: vec![world::stored()] }).await;
    world.until(ids[0], StoredState::Succeeded).await;
    assert_eq!(world.next().await, Command::Settle { attempt: running.attempt });
    world.finish(next).await;
    world.until(ids[1], StoredState::Succeeded).await;
    for id in ids {
        let row = world.row(id).await;
        assert_eq!((row.attempt, row.faults, row.losses), (1, 0, 0));
        assert_eq!(world.engine.store().outputs(id).await.unwrap().len(), 1);
    }
}

/// A job as it is accepted while no catalogue is known.
fn unjudged(workflow: &str) -> gateway::store::NewJob {
    let mut job = job();
    job.plan.provisional = true;
    job.body.workflow = workflow.into();
    job
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_accepted_before_any_catalogue_was_known_is_judged_before_it_is_placed() {
    let mut world = World::new().await;
    let runs = unjudged(
        r#"{"1":{"class_type":"SaveImage","inputs":{"images":["2",0],"filename_prefix":"a"}},
            "2":{"class_type":"EmptyImage","inputs":{}}}"#,
    );
    let fails = unjudged(r#"{"1":{"class_type":"NoSuchNode","inputs":{}}}"#);
    let (runs_id, fails_id) = (runs.id, fails.id);
    world.submit(runs).await.unwrap();
    world.submit(fails).await.unwrap();
    assert_eq!(world.row(fails_id).await.state, StoredState::Queued, "accepted, and waiting");
    world.ready().await;

    let dispatch = world.next_dispatch().await;
    assert_eq!(dispatch.attempt.job, runs_id);
    let row = world.until(fails_id, StoredState::Failed).await;
    assert_eq!(row.error.unwrap().code, "invalid_workflow");
    assert_eq!(row.attempt, 0, "it was never sent to an instance");
}
