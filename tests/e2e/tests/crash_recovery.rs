//! The kill test: the gateway dies at any instant, and nothing that was acknowledged is lost or doubled.
//!
//! `KILLS` sets how many rounds there are, `SEED` repeats a run; the seed is printed with every failure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, ensure};
use comfyui_sim::{Device, PromptState};
use e2e::api::{Api, id_of};
use e2e::chance::{Dice, number, seed};
use e2e::pictures;
use e2e::sandbox::Sandbox;
use e2e::wait::{self, SOON};
use e2e::workflows;
use serde_json::{Value, json};

const JOBS: u32 = 200;
const DEFAULT_KILLS: u64 = 3;

/// Runs a story as often as asked, each time with a seed of its own.
async fn rounds(story: impl AsyncFn(Dice) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let seed = seed()?;
    for round in 0..number("KILLS")?.unwrap_or(DEFAULT_KILLS) {
        let seed = seed.wrapping_add(round);
        eprintln!("seed {seed}");
        story(Dice::new(seed)).await.with_context(|| format!("to repeat it: SEED={seed} KILLS=1"))?;
    }
    Ok(())
}

/// Four cards of three classes.
async fn fleet() -> anyhow::Result<Sandbox> {
    let plan = Sandbox::plan().gpu(Device::t4()).gpu(Device::t4());
    plan.gpu(Device::v100()).gpu(Device::a100()).start().await
}

/// A picture of the job's own colour. Most keep their card busy for a while, so that there is a middle to be killed in.
fn workflow(n: u32) -> Value {
    if n.is_multiple_of(4) { workflows::plain(n, 8) } else { workflows::slow(n, 0.15) }
}

fn prompts_ended(sandbox: &Sandbox) -> usize {
    let ended = |state| state == PromptState::Succeeded;
    let prompts = sandbox.gpus().iter().flat_map(|gpu| gpu.observed().prompts);
    prompts.filter(|prompt| ended(prompt.state)).count()
}

/// Every job succeeded with one output of its own colour, however it is looked at.
async fn check_all(api: &Api, jobs: &BTreeMap<u32, String>) -> anyhow::Result<()> {
    let mut outputs = BTreeSet::new();
    for (color, id) in jobs {
        let job = api.succeeded(id).await?;
        let picture = api.only_output(&job).await?;
        ensure!(pictures::only_color(&picture)? == *color, "the picture of another job: {job}");
        ensure!(outputs.insert(id_of(&job["outputs"][0])?.to_owned()), "an output of two jobs: {job}");
        let events = api.events(id).await?.rest().await?;
        let told = events.iter().filter(|event| event.name == "output").count();
        ensure!(told == 1, "{told} outputs on the stream of {id}");
        ensure!(events.last().is_some_and(|last| last.data["status"] == "succeeded"), "{events:?}");
    }
    Ok(())
}

/// All jobs there are, as id and labels.
async fn everything(api: &Api) -> anyhow::Result<Vec<Value>> {
    let (mut jobs, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = api.get(&format!("/api/v2/jobs?limit=100&cursor={cursor}")).await?.expect(200)?.json()?;
        jobs.extend(page["jobs"].as_array().cloned().unwrap_or_default());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => return Ok(jobs),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_jobs_survive_a_kill_at_any_point_each_with_one_result() -> anyhow::Result<()> {
    rounds(async |mut dice| {
        let mut sandbox = fleet().await?;
        let mut jobs = BTreeMap::new();
        for color in 0..JOBS {
            jobs.insert(color, sandbox.api().submit(&workflow(color)).await?);
        }
        let mut done = prompts_ended(&sandbox);
        // Once in the middle, and half of the time again in the middle of what was left.
        for kill in 0..=dice.below(2) {
            let left = u64::from(JOBS).saturating_sub(done as u64 + 20).max(1);
            let point = done + usize::try_from(dice.below(left))?;
            wait::until(&format!("{point} prompts to end"), SOON, async || {
                Ok((prompts_ended(&sandbox) >= point).then_some(()))
            })
            .await?;
            sandbox.kill().await?;
            done = prompts_ended(&sandbox);
            // Later on prompts may have run twice, and then their number says less.
            ensure!(kill > 0 || done < JOBS as usize, "nothing was left to lose");
            eprintln!("killed after {done} of {JOBS} prompts had ended");
            sandbox.start().await?;
        }
        check_all(sandbox.api(), &jobs).await?;
        let all = everything(sandbox.api()).await?;
        ensure!(all.len() == jobs.len(), "{} jobs of {JOBS}", all.len());
        check_usage(sandbox.api()).await
    })
    .await
}

/// What is counted is what the jobs used: none is missing and none counted twice, however often the process died.
async fn check_usage(api: &Api) -> anyhow::Result<()> {
    let (mut ended, mut gpu_ms, mut cursor) = (0, 0, String::new());
    loop {
        let page = api.get(&format!("/v1/jobs?limit=100&cursor={cursor}")).await?.expect(200)?.json()?;
        for job in page["jobs"].as_array().context("no list of jobs")? {
            ended += 1;
            gpu_ms += job["usage"]["gpu_ms"].as_u64().context("a job without usage")?;
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    let total = api.get("/v1/usage").await?.expect(200)?.json()?["total"].clone();
    let by_class = total["gpu_ms"].as_object().context("no GPU time")?;
    let counted: u64 = by_class.values().filter_map(Value::as_u64).sum();
    ensure!(total["jobs"] == ended && counted == gpu_ms, "{ended} jobs, {gpu_ms} ms, counted: {total}");
    ensure!(gpu_ms > 0, "nobody saw anything run");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_submission_is_there_after_a_kill_and_none_is_doubled_by_a_repeat()
-> anyhow::Result<()> {
    rounds(async |mut dice| {
        let mut sandbox = fleet().await?;
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let mut clients = tokio::task::JoinSet::new();
        for client in 0..8 {
            let (api, acknowledged) = (sandbox.api().clone(), acknowledged.clone());
            clients.spawn(async move { submit_until_dead(&api, client, &acknowledged).await });
        }
        let point = 1 + usize::try_from(dice.below(150))?;
        wait::until(&format!("{point} submissions"), SOON, async || {
            Ok((acknowledged.load(Ordering::SeqCst) >= point).then_some(()))
        })
        .await?;
        sandbox.kill().await?;
        let (mut jobs, mut in_doubt) = (BTreeMap::new(), Vec::new());
        while let Some(ended) = clients.join_next().await {
            let (acknowledged, last) = ended?;
            jobs.extend(acknowledged);
            in_doubt.push(last);
        }
        sandbox.start().await?;

        let api = sandbox.api();
        for color in in_doubt {
            let answer = api.post_once("/api/v2/jobs", &labelled(color), &key(color)).await?;
            match answer.status {
                201 => {}
                422 => ensure!(answer.code() == "idempotency_key_reuse", "{answer:?}"),
                _ => anyhow::bail!("{answer:?}"),
            }
            let found = api.get(&format!("/api/v2/jobs?metadata[n]={color}")).await?.expect(200)?.json()?;
            ensure!(found["jobs"].as_array().is_some_and(|jobs| jobs.len() == 1), "{found}");
            jobs.insert(color, id_of(&found["jobs"][0])?.to_owned());
        }
        check_all(api, &jobs).await?;
        let all = everything(api).await?;
        ensure!(all.len() == jobs.len(), "{} jobs for {} submissions", all.len(), jobs.len());
        Ok(())
    })
    .await
}

/// Submits until the gateway is gone; returns what was acknowledged, and the one whose fate is unknown.
async fn submit_until_dead(
    api: &Api,
    client: u32,
    acknowledged: &AtomicUsize,
) -> (BTreeMap<u32, String>, u32) {
    let mut jobs = BTreeMap::new();
    let mut color = client * 10_000;
    while let Ok(answer) = api.post_once("/api/v2/jobs", &labelled(color), &key(color)).await {
        let Some(id) = answer.json().ok().and_then(|job| job["id"].as_str().map(str::to_owned)) else {
            break;
        };
        jobs.insert(color, id);
        acknowledged.fetch_add(1, Ordering::SeqCst);
        color += 1;
    }
    (jobs, color)
}

fn labelled(color: u32) -> Value {
    json!({"workflow": workflows::plain(color, 8), "metadata": {"n": color.to_string()}})
}

fn key(color: u32) -> String {
    format!("submission {color}")
}
