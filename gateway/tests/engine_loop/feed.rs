//! What instances tell of themselves reaches the predictions, and what was learned survives.

use std::collections::BTreeMap;

use gateway::link::message::{InstanceFacts, LoadingFacts, Report, Signal};
use gateway::store::{NewJob, StoredState};
use gateway::workflow;
use scheduler::{FamilyId, ModelKind, ModelUse, Phase, Requirement};

use crate::world::{PATIENCE, World, facts, job};

const MODEL: &str = "checkpoints/base.safetensors";

fn family_job(family: FamilyId) -> NewJob {
    let mut job = job();
    job.plan.shape = scheduler::Shape { id: scheduler::ShapeId(family.0), family, ..job.plan.shape };
    job
}

fn with_checkpoint(mut job: NewJob) -> NewJob {
    let id = workflow::model_file(MODEL).unwrap();
    let models = Box::new([ModelUse { id, kind: ModelKind::Checkpoint }]);
    job.plan.requirement = Requirement { models, ..Requirement::default() }.into();
    job
}

#[tokio::test(flavor = "multi_thread")]
async fn a_speed_told_for_a_family_counts_for_its_jobs_alone() {
    let mut world = World::new().await;
    let family_speeds = BTreeMap::from([("sdxl".to_owned(), 100)]);
    world.ready_with(InstanceFacts { family_speeds, ..facts() }).await;
    world.submit(family_job(workflow::family("sdxl"))).await.unwrap();
    let slow = world.next_dispatch().await;
    assert!(slow.expected_ms >= 9_000, "a second of reference work at a tenth: {}", slow.expected_ms);
    world.submit(family_job(FamilyId(0))).await.unwrap();
    let usual = world.next_dispatch().await;
    assert!(usual.expected_ms < slow.expected_ms, "{} is for another family", usual.expected_ms);
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_and_rates_that_an_instance_tells_make_the_load() {
    let mut world = World::new().await;
    let loading = Some(LoadingFacts { disk_mib_s: 10, pcie_mib_s: 1_000, host_cache_mib: 10_000 });
    let models_mib = BTreeMap::from([(MODEL.to_owned(), 1_000)]).into();
    world.ready_with(InstanceFacts { loading, models_mib, ..facts() }).await;
    world.submit(with_checkpoint(job())).await.unwrap();
    let cold = world.next_dispatch().await.expected_ms;
    assert!((100_000..110_000).contains(&cold), "1000 MiB at 10 MiB/s, and the run: {cold}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_process_holds_no_models() {
    let mut world = World::new().await;
    world.ready().await;
    let job = with_checkpoint(job());
    let id = job.id;
    world.submit(job).await.unwrap();
    let dispatch = world.next_dispatch().await;
    world.tell(dispatch.attempt, Signal::Started).await;
    world.finish(dispatch.attempt).await;
    world.until(id, StoredState::Succeeded).await;
    world.until_warm(1).await;
    world.report(Report::InstanceRestarted { instance: "gpu-0".into() }).await;
    world.until_warm(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_taken_away_gets_nothing_that_would_not_end_before() {
    let mut world = World::new().await;
    world.report(Report::HostLeaving { within_ms: Some(1_000) }).await;
    world.ready().await;
    let job = job();
    let id = job.id;
    world.submit(job).await.unwrap();
    let told = world.engine.explain(id).await.unwrap().unwrap();
    assert_eq!((told.phase, told.attempt), (Phase::Queued, None), "it would take 2.5 s");
    world.report(Report::HostLeaving { within_ms: None }).await;
    assert_eq!(world.next_dispatch().await.attempt.job, id);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_learned_of_run_times_is_there_after_a_restart() {
    let mut world = World::new().await;
    world.ready().await;
    let mut expected = Vec::new();
    for _ in 0..4 {
        let job = job();
        let id = job.id;
        world.submit(job).await.unwrap();
        let dispatch = world.next_dispatch().await;
        expected.push(dispatch.expected_ms);
        world.tell(dispatch.attempt, Signal::Started).await;
        world.finish(dispatch.attempt).await;
        world.until(id, StoredState::Succeeded).await;
        assert!(matches!(world.next().await, gateway::link::message::Command::Settle { .. }));
    }
    let (first, last) = (expected[0], expected[3]);
    assert!(last * 2 < first, "it learned: {expected:?}");
    let mut world = world.restart().await;
    world.instance_up().await;
    world.submit(job()).await.unwrap();
    let again = tokio::time::timeout(PATIENCE, world.next_dispatch()).await.unwrap();
    assert!(again.expected_ms <= last, "{} after {expected:?}", again.expected_ms);
}
