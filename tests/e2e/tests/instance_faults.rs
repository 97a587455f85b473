//! Instances die, go deaf, restart and run out of memory; their jobs do not.

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};
use comfyui_sim::{Device, PromptState, Simulator};
use e2e::api::Api;
use e2e::pictures;
use e2e::sandbox::Sandbox;
use e2e::wait::{self, SOON};
use e2e::workflows::{self, Painting};
use futures_util::future::try_join_all;
use serde_json::json;

/// Jobs that take no time, and how many clients send them.
const INSTANT_JOBS: u32 = 300;
const CLIENTS: u32 = 6;

/// The simulator that runs something now.
async fn busy(gpus: &[Simulator]) -> anyhow::Result<usize> {
    wait::until("a prompt to run", SOON, async || {
        let runs = |gpu: &Simulator| {
            gpu.observed().prompts.iter().any(|prompt| prompt.state == PromptState::Running)
        };
        Ok(gpus.iter().position(runs))
    })
    .await
}

fn succeeded(gpu: &Simulator) -> usize {
    gpu.observed().prompts.iter().filter(|prompt| prompt.state == PromptState::Succeeded).count()
}

/// Checks the one output of a job made from a colour.
async fn has_color(api: &Api, id: &str, color: u32) -> anyhow::Result<()> {
    let job = api.succeeded(id).await?;
    ensure!(pictures::only_color(&api.only_output(&job).await?)? == color, "another picture: {job}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_instance_is_killed_finishes_elsewhere() -> anyhow::Result<()> {
    let plan = Sandbox::plan().settings("[scheduler]\nlease_seconds = 5");
    let sandbox = plan.gpu(Device::t4()).gpu(Device::v100()).start().await?;
    let api = sandbox.api();
    let id = api.submit(&workflows::slow(0xaa_bb_cc, 2.0)).await?;
    let first = busy(sandbox.gpus()).await?;
    sandbox.gpus()[first].kill().await;
    has_color(api, &id, 0xaa_bb_cc).await?;
    ensure!(succeeded(&sandbox.gpus()[1 - first]) == 1, "the other one did not run it");
    let job = api.job_v1(&id).await?;
    ensure!(job["attempt"] == 2, "{job}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_socket_costs_a_running_job_nothing() -> anyhow::Result<()> {
    let sandbox = Sandbox::plan().gpu(Device::t4()).start().await?;
    let id = sandbox.api().submit(&workflows::slow(5, 2.0)).await?;
    busy(sandbox.gpus()).await?;
    sandbox.gpus()[0].faults().drop_sockets();
    has_color(sandbox.api(), &id, 5).await?;
    ensure!(sandbox.posts() == 1, "it ran {} times", sandbox.posts());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_stays_open_but_says_nothing_costs_a_job_nothing() -> anyhow::Result<()> {
    let sandbox = Sandbox::plan().gpu(Device::t4()).start().await?;
    sandbox.gpus()[0].faults().deaf(true);
    let first = sandbox.api().submit(&workflows::slow(6, 1.0)).await?;
    let second = sandbox.api().submit(&workflows::plain(7, 8)).await?;
    has_color(sandbox.api(), &first, 6).await?;
    has_color(sandbox.api(), &second, 7).await?;
    ensure!(sandbox.posts() == 2, "two jobs ran {} times", sandbox.posts());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_restarts_gets_its_job_again() -> anyhow::Result<()> {
    let sandbox = Sandbox::plan().gpu(Device::t4()).start().await?;
    let id = sandbox.api().submit(&workflows::slow(8, 1.5)).await?;
    busy(sandbox.gpus()).await?;
    sandbox.gpus()[0].restart().await?;
    has_color(sandbox.api(), &id, 8).await?;
    let job = sandbox.api().job_v1(&id).await?;
    ensure!(job["attempt"] == 2, "{job}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_reply_is_looked_up_and_the_prompt_runs_once() -> anyhow::Result<()> {
    let sandbox = Sandbox::plan().gpu(Device::t4()).start().await?;
    sandbox.gpus()[0].faults().lose_next_reply();
    let id = sandbox.api().submit(&workflows::slow(9, 0.5)).await?;
    has_color(sandbox.api(), &id, 9).await?;
    ensure!(sandbox.posts() == 1, "it ran {} times", sandbox.posts());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_instant_jobs_all_succeed_and_no_poll_ever_sees_one_expired() -> anyhow::Result<()> {
    let plan = Sandbox::plan().gpu(Device::t4()).gpu(Device::v100()).gpu(Device::a100());
    let sandbox = plan.start().await?;
    let client = async |client: u32| {
        let api = sandbox.api();
        for n in 0..INSTANT_JOBS / CLIENTS {
            let color = client * INSTANT_JOBS + n;
            let id = api.submit(&workflows::plain(color, 8)).await?;
            has_color(api, &id, color).await?;
        }
        anyhow::Ok(())
    };
    try_join_all((0..CLIENTS).map(client)).await?;
    ensure!(sandbox.posts() == u64::from(INSTANT_JOBS), "{} prompts", sandbox.posts());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_runs_out_of_memory_goes_to_a_larger_card() -> anyhow::Result<()> {
    let plan = Sandbox::plan().settings("").gpu(Device::t4()).gpu(Device::a100());
    let sandbox = plan.start().await?;
    let api = sandbox.api();
    api.post("/v1/instances/gpu-1/cordon", &json!({})).await?;
    sandbox.gpus()[0].faults().out_of_memory(1);
    let id = api.submit(&Painting::default().workflow()).await?;
    wait::until("the small card to fail", SOON, async || {
        let observed = sandbox.gpus()[0].observed();
        Ok(observed.prompts.iter().any(|prompt| prompt.state == PromptState::Failed).then_some(()))
    })
    .await?;
    let path = format!("/v1/jobs/{id}/explain");
    let why = wait::until("the job to wait for a larger card", SOON, async || {
        let why = api.get(&path).await?.expect(200)?.json()?;
        Ok((why["status"] == "queued").then_some(why))
    })
    .await?;
    let small = why["instances"].as_array().and_then(|all| all.iter().find(|one| one["name"] == "gpu-0"));
    ensure!(small.is_some_and(|verdict| verdict["obstacle"] == "room"), "{why}");
    api.post("/v1/instances/gpu-1/uncordon", &json!({})).await?;
    api.succeeded(&id).await?;
    ensure!(succeeded(&sandbox.gpus()[1]) == 1, "the larger card did not run it");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_raises_fails_the_job_with_its_name_and_words_and_is_not_tried_elsewhere()
-> anyhow::Result<()> {
    let sandbox = Sandbox::plan().gpu(Device::t4()).gpu(Device::t4()).start().await?;
    let api = sandbox.api();
    let mut workflow = workflows::plain(1, 8);
    workflow["2"] = json!({"class_type": "TestSyncError", "inputs": {"value": ["1", 0]}});
    workflow["9"]["inputs"]["images"] = json!(["2", 0]);
    let id = api.submit(&workflow).await?;
    let job = api.reaches(&id, "failed").await?;
    let error = &job["error"];
    ensure!(error["code"] == "node_execution_error" && error["node_id"] == "2", "{job}");
    ensure!(error["class_type"] == "TestSyncError", "{job}");
    ensure!(error["message"].as_str().is_some_and(|text| text.contains("Intentional")), "{job}");
    ensure!(sandbox.posts() == 1, "it ran {} times", sandbox.posts());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_breaks_off_is_fetched_again() -> anyhow::Result<()> {
    let sandbox = Sandbox::plan().gpu(Device::t4()).start().await?;
    sandbox.gpus()[0].faults().truncate_view(2);
    let id = sandbox.api().submit(&workflows::plain(0x11_22_33, 64)).await?;
    has_color(sandbox.api(), &id, 0x11_22_33).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_instance_jobs_wait_and_the_reason_is_told() -> anyhow::Result<()> {
    let sandbox = Sandbox::plan().gpu(Device::t4()).start().await?;
    let api = sandbox.api();
    sandbox.gpus()[0].kill().await;
    let ids: BTreeSet<String> =
        [api.submit(&workflows::plain(1, 8)).await?, api.submit(&workflows::plain(2, 8)).await?].into();
    let first = ids.first().context("no job")?;
    let path = format!("/v1/jobs/{first}/explain");
    wait::until("the reason", SOON, async || {
        let why = api.get(&path).await?.expect(200)?.json()?;
        Ok((why["cause"] == "device").then_some(()))
    })
    .await?;
    sandbox.gpus()[0].restart().await?;
    for id in &ids {
        api.succeeded(id).await?;
    }
    Ok(())
}

/// A prompt hangs when it makes no progress for a configured time (here 1 s) and four times what it should take.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_instance_hangs_finishes_elsewhere() -> anyhow::Result<()> {
    let plan = Sandbox::plan().settings("[runner]\nhang_seconds = 1");
    let sandbox = plan.gpu(Device::t4()).gpu(Device::t4()).start().await?;
    let api = sandbox.api();
    for gpu in sandbox.gpus() {
        gpu.faults().never_finish_next();
    }
    let id = api.submit(&workflows::plain(0x0a_0b_0c, 8)).await?;
    let first = busy(sandbox.gpus()).await?;
    sandbox.gpus()[1 - first].faults().clear();
    has_color(api, &id, 0x0a_0b_0c).await?;
    ensure!(succeeded(&sandbox.gpus()[1 - first]) == 1, "the other one did not run it");
    ensure!(api.job_v1(&id).await?["faults"] == 1, "a hang is a fault");
    Ok(())
}
