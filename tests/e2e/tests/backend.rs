//! backend-api through the real gateway to a finished picture.

use anyhow::{Context as _, ensure};
use comfyui_sim::Device;
use e2e::api::{Api, id_of};
use e2e::pictures;
use e2e::sandbox::Sandbox;
use e2e::wait::{self, SOON};
use e2e::workflows;
use serde_json::{Value, json};

async fn ended(backend: &Api, id: &str) -> anyhow::Result<Value> {
    wait::until("the work to end", SOON, async || {
        let work = backend.get(&format!("/works/{id}?wait_seconds=5")).await?.expect(200)?.json()?;
        let open = matches!(work["status"].as_str(), Some("submitting" | "queued" | "running"));
        Ok((!open).then_some(work))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_work_becomes_a_picture() -> anyhow::Result<()> {
    let sandbox = Sandbox::plan().keyed().gpu(Device::t4()).gpu(Device::a100()).start().await?;
    let (_program, backend) = sandbox.backend().await?;
    let body = json!({"workflow": workflows::slow(0xc0_ff_ee, 0.3), "user_key": "u-1"});
    backend.without_key().post("/works", &body).await?.expect(401)?;
    let work = backend.post("/works", &body).await?.expect(201)?.json()?;
    let work = ended(&backend, id_of(&work)?).await?;
    ensure!(work["status"] == "succeeded" && work["user_key"] == "u-1", "{work}");

    let output = &work["outputs"][0];
    let url = output["url"].as_str().context("no url")?;
    let bytes = sandbox.api().get(url).await?.expect(200)?.bytes;
    ensure!(pictures::only_color(&bytes)? == 0xc0_ff_ee, "another picture");
    ensure!(output["hash"] == json!(pictures::hash(&bytes)), "{output}");
    ensure!(output["size_bytes"] == json!(bytes.len()), "{output}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_work_that_the_gateway_refuses_is_refused() -> anyhow::Result<()> {
    let sandbox = Sandbox::plan().gpu(Device::t4()).start().await?;
    let (_program, backend) = sandbox.backend().await?;
    let nonsense = json!({"workflow": {"1": {"class_type": "NobodyHasThis", "inputs": {}}}});
    let refused = backend.post("/works", &nonsense).await?;
    ensure!(refused.status == 422 && !refused.code().is_empty(), "{refused:?}");
    ensure!(sandbox.posts() == 0, "an instance saw it");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_work_survives_a_gateway_that_dies_and_one_job_is_made_of_it() -> anyhow::Result<()> {
    let mut sandbox = Sandbox::plan().gpu(Device::t4()).start().await?;
    let (_program, backend) = sandbox.backend().await?;
    sandbox.kill().await?;
    let body = json!({"workflow": workflows::plain(0x12_34_56, 8)});
    let answer = backend.post("/works", &body).await?;
    ensure!(matches!(answer.status, 202 | 502..=504), "{answer:?}");
    sandbox.start().await?;
    if answer.status == 202 {
        let work = ended(&backend, id_of(&answer.json()?)?).await?;
        ensure!(work["status"] == "succeeded", "{work}");
        ensure!(sandbox.posts() == 1, "{} prompts for one work", sandbox.posts());
    }
    let next = backend.post("/works", &body).await?.expect(201)?.json()?;
    ensure!(ended(&backend, id_of(&next)?).await?["status"] == "succeeded", "{next}");
    Ok(())
}
