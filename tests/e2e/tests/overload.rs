//! A full queue says so, and says when to come back.

use std::time::Duration;

use anyhow::ensure;
use comfyui_sim::Device;
use e2e::api::{Answer, id_of};
use e2e::sandbox::Sandbox;
use e2e::wait::{self, SOON};
use e2e::workflows;
use serde_json::json;

const SMALL: &str = "[scheduler]\nhigh_watermark = 6\nlow_watermark = 3\ntenant_queue = 6\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_answers_429_with_retry_after_and_frees_the_key() -> anyhow::Result<()> {
    let sandbox = Sandbox::plan().settings(SMALL).gpu(Device::t4()).start().await?;
    let api = sandbox.api();
    sandbox.gpus()[0].faults().hang(true);
    let mut accepted = Vec::new();
    let refused: Answer = wait::until("the queue to be full", SOON, async || {
        let color = u32::try_from(accepted.len())?;
        let body = json!({"workflow": workflows::plain(color, 8)});
        let answer = api.post_once("/api/v2/jobs", &body, &format!("key {color}")).await?;
        if answer.status == 429 {
            return Ok(Some(answer));
        }
        accepted.push(id_of(&answer.expect(201)?.json()?)?.to_owned());
        Ok(None)
    })
    .await?;
    ensure!(accepted.len() >= 6, "full after {} jobs", accepted.len());
    ensure!(refused.code() == "queue_full", "{refused:?}");
    let seconds: u64 = refused.header("retry-after").parse()?;
    ensure!(seconds >= 1, "{refused:?}");
    let private = api.post("/v1/jobs", &json!({"workflow": workflows::plain(9, 8)})).await?.expect(429)?;
    ensure!(private.code() == "queue_full" && !private.header("retry-after").is_empty(), "{private:?}");

    sandbox.gpus()[0].faults().hang(false);
    for id in &accepted {
        api.succeeded(id).await?;
    }
    let n = accepted.len();
    let body = json!({"workflow": workflows::plain(u32::try_from(n)?, 8)});
    let job = api.post_once("/api/v2/jobs", &body, &format!("key {n}")).await?.expect(201)?.json()?;
    api.succeeded(id_of(&job)?).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_after_retry_after_is_served() -> anyhow::Result<()> {
    let plan = Sandbox::plan().settings(SMALL).paced(Device::a100(), Duration::from_millis(5));
    let sandbox = plan.start().await?;
    let api = sandbox.api();
    let (mut ids, mut refusals) = (Vec::new(), 0);
    for color in 0..40 {
        let body = json!({"workflow": workflows::slow(color, 0.1)});
        loop {
            let answer = api.post_once("/api/v2/jobs", &body, &format!("key {color}")).await?;
            if answer.status == 201 {
                ids.push(id_of(&answer.json()?)?.to_owned());
                break;
            }
            ensure!(answer.code() == "queue_full", "{answer:?}");
            refusals += 1;
            ensure!(refusals < 60, "no room came free");
            tokio::time::sleep(Duration::from_secs(answer.header("retry-after").parse()?)).await;
        }
    }
    for id in &ids {
        api.succeeded(id).await?;
    }
    ensure!(refusals > 0, "the queue was never full");
    Ok(())
}
