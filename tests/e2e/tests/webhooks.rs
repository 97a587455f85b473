//! Webhooks over a gateway that dies: every event arrives at least once, in order for each job, and a receiver that is
//! down concerns nobody else.
//!
//! `KILLS` sets how many rounds there are, `SEED` repeats a run; the seed is printed with every failure.

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};
use comfyui_sim::Device;
use e2e::api::{Api, id_of};
use e2e::receiver::{Mood, Receiver};
use e2e::sandbox::Sandbox;
use e2e::wait::{self, SOON};
use e2e::workflows;
use serde_json::json;

const SETTINGS: &str = r#"
[outside]
allow = ["127.0.0.0/8"]
allow_http = ["127.0.0.0/8"]
ports = []
[webhooks]
first_retry_ms = 50
longest_retry_seconds = 1
longest_pause_seconds = 1
[[tenants]]
name = "default"
[tenants.webhook]
keys = [{ id = "k1", secret = "a secret of at least thirty-two characters" }]
"#;

const KINDS: &[&str] = &["job.accepted", "job.placed", "job.requeued", "job.succeeded", "job.failed"];

async fn fleet() -> anyhow::Result<Sandbox> {
    Sandbox::plan().settings(SETTINGS).gpu(Device::t4()).gpu(Device::a100()).start().await
}

async fn submit(api: &Api, color: u32, url: &str) -> anyhow::Result<String> {
    let webhook = json!({"url": url, "events": KINDS});
    let body = json!({"workflow": workflows::plain(color, 8), "webhook": webhook});
    Ok(id_of(&api.post("/v1/jobs", &body).await?.expect(201)?.json()?)?.to_owned())
}

/// Everything the feed tells, as id and type.
async fn feed(api: &Api) -> anyhow::Result<Vec<(String, String, String)>> {
    let (mut all, mut query) = (Vec::new(), String::new());
    loop {
        let page = api.get(&format!("/v1/events?limit=500{query}")).await?.expect(200)?.json()?;
        let events = page["events"].as_array().context("no events")?;
        if events.is_empty() {
            return Ok(all);
        }
        let text =
            |event: &serde_json::Value, name: &str| event[name].as_str().unwrap_or_default().to_owned();
        all.extend(
            events.iter().map(|event| (text(event, "id"), text(event, "type"), text(event, "job_id"))),
        );
        query = format!("&after={}", page["next"].as_str().context("no cursor")?);
    }
}

/// The receiver has exactly what the feed tells of its jobs.
fn complete(
    receiver: &Receiver,
    feed: &[(String, String, String)],
    jobs: &BTreeSet<String>,
) -> anyhow::Result<()> {
    let of_jobs = feed.iter().filter(|(_, _, job)| jobs.contains(job));
    let told: BTreeSet<_> = of_jobs.map(|(id, kind, _)| (id.clone(), kind.clone())).collect();
    let heard = receiver.in_order()?;
    ensure!(told == heard, "missing: {:?}", told.difference(&heard).collect::<Vec<_>>());
    ensure!(told.len() >= jobs.len() * 3, "{} events of {} jobs", told.len(), jobs.len());
    Ok(())
}

async fn all_ended(receiver: &Receiver, jobs: &BTreeSet<String>) -> anyhow::Result<()> {
    wait::until("every end to be heard", SOON, async || Ok((receiver.ended() == *jobs).then_some(()))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_was_committed_and_not_sent_arrives_after_a_kill() -> anyhow::Result<()> {
    let mut sandbox = fleet().await?;
    let receiver = Receiver::start(Mood::Holds).await?;
    let mut jobs = BTreeSet::new();
    for color in 0..20 {
        jobs.insert(submit(sandbox.api(), color, &receiver.url()).await?);
    }
    for job in &jobs {
        let path = format!("/v1/jobs/{job}");
        wait::until("the job to end", SOON, async || {
            let shown = sandbox.api().get(&path).await?.expect(200)?.json()?;
            Ok((shown["status"] == "succeeded").then_some(()))
        })
        .await?;
    }
    ensure!(receiver.ended().is_empty(), "nothing was taken yet");
    sandbox.kill().await?;
    receiver.become_of(Mood::Takes);
    sandbox.start().await?;
    all_ended(&receiver, &jobs).await?;
    complete(&receiver, &feed(sandbox.api()).await?, &jobs)
}

#[tokio::test(flavor = "multi_thread")]
async fn receivers_of_every_mood_have_everything_in_order_whenever_the_gateway_is_killed()
-> anyhow::Result<()> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("SEED").unwrap_or_else(|| u64::from(uuid::Uuid::new_v4().as_fields().0));
    for round in 0..number("KILLS").unwrap_or(2) {
        let seed = seed.wrapping_add(round);
        eprintln!("seed {seed}");
        killed_at(seed).await.with_context(|| format!("to repeat it: SEED={seed} KILLS=1"))?;
    }
    Ok(())
}

/// Kills the gateway after some number of requests that follows from the seed, three times.
async fn killed_at(seed: u64) -> anyhow::Result<()> {
    let mut sandbox = fleet().await?;
    let good = Receiver::start(Mood::Takes).await?;
    let moody = Receiver::start(Mood::Fails).await?;
    let down = format!("http://127.0.0.1:{}/hook", e2e::program::free_port()?);
    let (mut good_jobs, mut moody_jobs, mut point) = (BTreeSet::new(), BTreeSet::new(), seed % 17);
    for kill in 0..3_u32 {
        let heard = good.heard().len() + usize::try_from(point)?;
        for color in 0..20 {
            let api = sandbox.api();
            good_jobs.insert(submit(api, kill * 100 + color, &good.url()).await?);
            moody_jobs.insert(submit(api, kill * 100 + color, &moody.url()).await?);
            submit(api, color, &down).await?;
        }
        wait::until("some events", SOON, async || Ok((good.heard().len() >= heard).then_some(()))).await?;
        sandbox.kill().await?;
        point = (point * 31 + seed / 17) % 50;
        sandbox.start().await?;
    }
    all_ended(&good, &good_jobs).await?;
    ensure!(moody.ended().is_empty(), "it takes nothing");
    moody.become_of(Mood::Takes);
    all_ended(&moody, &moody_jobs).await?;
    let feed = feed(sandbox.api()).await?;
    complete(&good, &feed, &good_jobs)?;
    complete(&moody, &feed, &moody_jobs)?;
    // What is down keeps its events: three of each job at least.
    wait::until("the events of the receiver that is down", SOON, async || {
        let receivers = sandbox.api().get("/v1/webhooks").await?.expect(200)?.json()?;
        let mut lags = receivers["receivers"].as_array().into_iter().flatten();
        let lag = lags.find(|receiver| receiver["url"] == down);
        Ok(lag.and_then(|lag| lag["pending"].as_u64()).filter(|pending| *pending >= 180))
    })
    .await?;
    Ok(())
}
