//! An orderly end: no new work, what runs may finish, the rest is taken up by the next process.

use std::time::Duration;

use anyhow::ensure;
use comfyui_sim::{Device, PromptState};
use e2e::api::Api;
use e2e::pictures;
use e2e::sandbox::Sandbox;
use e2e::wait::{self, SOON};
use e2e::workflows;
use serde_json::json;

async fn is_draining(api: &Api) -> anyhow::Result<()> {
    wait::until("the door to close", SOON, async || {
        let answer = api.get("/readyz").await?;
        Ok((answer.status == 503 && answer.json()?["reason"] == "draining").then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_finishes_new_work_is_refused_and_the_next_process_does_the_rest() -> anyhow::Result<()> {
    let mut sandbox = Sandbox::plan().gpu(Device::t4()).start().await?;
    let running = sandbox.api().submit(&workflows::slow(1, 3.0)).await?;
    sandbox.api().reaches(&running, "running").await?;
    let mut waiting = Vec::new();
    for color in 2..8 {
        waiting.push((color, sandbox.api().submit(&workflows::slow(color, 0.1)).await?));
    }
    sandbox.terminate().await?;
    is_draining(sandbox.api()).await?;
    let body = json!({"workflow": workflows::plain(9, 8)});
    let refused = sandbox.api().post("/v1/jobs", &body).await?.expect(503)?;
    ensure!(refused.code() == "draining" && !refused.header("retry-after").is_empty(), "{refused:?}");
    let status = sandbox.exit(SOON).await?;
    ensure!(status.success(), "{status}");
    let states: Vec<PromptState> =
        sandbox.gpus()[0].observed().prompts.iter().map(|prompt| prompt.state).collect();
    ensure!(states.first() == Some(&PromptState::Succeeded), "{states:?}");
    ensure!(states.iter().all(|state| *state != PromptState::Running), "{states:?}");

    sandbox.start().await?;
    let api = sandbox.api();
    let job = api.job(&running).await?;
    ensure!(job["status"] == "succeeded", "it ended before the process did: {job}");
    for (color, id) in &waiting {
        let job = api.succeeded(id).await?;
        ensure!(pictures::only_color(&api.only_output(&job).await?)? == *color, "another picture");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_outlives_the_deadline_is_adopted_by_the_next_process_and_runs_once() -> anyhow::Result<()> {
    let mut sandbox = Sandbox::plan().settings("drain_seconds = 1").gpu(Device::t4()).start().await?;
    let id = sandbox.api().submit(&workflows::slow(0x00_aa_00, 8.0)).await?;
    sandbox.api().reaches(&id, "running").await?;
    sandbox.terminate().await?;
    // A deadline of 1 s, and some for what follows it; far less than the job takes.
    let status = sandbox.exit(Duration::from_secs(7)).await?;
    ensure!(status.success(), "{status}");
    sandbox.start().await?;
    let job = sandbox.api().succeeded(&id).await?;
    ensure!(pictures::only_color(&sandbox.api().only_output(&job).await?)? == 0x00_aa_00, "another picture");
    ensure!(sandbox.posts() == 1, "it ran {} times", sandbox.posts());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_gateway_and_backend_end_at_once() -> anyhow::Result<()> {
    let mut sandbox = Sandbox::plan().gpu(Device::t4()).start().await?;
    let (mut backend, _) = sandbox.backend().await?;
    let open_stream = sandbox.api().submit(&workflows::slow(1, 0.1)).await?;
    sandbox.api().succeeded(&open_stream).await?;
    backend.terminate().await?;
    let status = backend.exit(Duration::from_secs(10)).await?;
    ensure!(status.success(), "backend-api: {status}");
    sandbox.terminate().await?;
    let status = sandbox.exit(Duration::from_secs(10)).await?;
    ensure!(status.success(), "gateway: {status}");
    Ok(())
}
