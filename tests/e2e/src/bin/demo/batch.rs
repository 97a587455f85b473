//! Orders in, pictures out; then now and again another one.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use e2e::api::{Api, id_of};
use e2e::pictures;
use serde_json::json;

use crate::fleet::Fleet;
use crate::follow::Follow;
use crate::orders::{Order, Orders};
use crate::screen::Screen;
use crate::servers::Servers;

/// Pause between two looks at the jobs.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Longest time for the batch; a real server without a GPU needs some of it.
const BATCH_WITHIN: Duration = Duration::from_secs(900);
/// Pause between two orders while the demo serves, and between two looks then.
const TRICKLE_EVERY: Duration = Duration::from_secs(4);
const LOOK_AT_TRICKLE_EVERY: Duration = Duration::from_millis(500);
/// No new order while this many are open, and none at all after so many.
const TRICKLE_OPEN_MAX: usize = 4;
const TRICKLE_MAX: usize = 5_000;

/// Runs the batch to its end and looks at every picture.
pub async fn run(servers: &Servers, orders: &[Order], screen: &mut Screen) -> anyhow::Result<()> {
    let mut follow = Follow::from_now(&servers.gateway).await?;
    let started = Instant::now();
    let mut sent = Vec::new();
    for order in orders {
        sent.push(send(servers, order).await.with_context(|| format!("ordering {}", order.title))?);
    }
    screen.say(&format!("{} workflows submitted in {:.1?}", sent.len(), started.elapsed()));

    while follow.look(&servers.gateway, Some(orders.len()), screen).await?.open() > 0 {
        ensure!(started.elapsed() < BATCH_WITHIN, "the batch did not end within {BATCH_WITHIN:?}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
    screen.erase();

    let (mut good, mut bytes) = (0, 0);
    for (order, sent) in orders.iter().zip(&sent) {
        match check(servers, order, sent).await {
            Ok(size) => {
                good += 1;
                bytes += size;
            }
            Err(error) => screen.say(&format!("  {}: {error:#}", order.title)),
        }
    }
    screen.say(&format!(
        "\n{good} of {} pictures fetched, decoded and measured ({} KiB) in {:.1?}",
        orders.len(),
        bytes / 1024,
        started.elapsed()
    ));
    ensure!(good == orders.len(), "{} pictures are missing", orders.len() - good);
    Ok(())
}

/// Goes on with an order every few seconds, for the page to live.
pub async fn trickle(servers: &Servers, fleet: &Fleet, screen: &mut Screen) -> anyhow::Result<()> {
    let mut orders = Orders::new(fleet).await?.skip(1_000).take(TRICKLE_MAX);
    let mut follow = Follow::from_now(&servers.gateway).await?;
    let mut last = Instant::now();
    loop {
        let counts = follow.look(&servers.gateway, None, screen).await?;
        if last.elapsed() >= TRICKLE_EVERY && counts.open() < TRICKLE_OPEN_MAX {
            last = Instant::now();
            if let Some(order) = orders.next() {
                send(servers, &order).await?;
            }
        }
        tokio::time::sleep(LOOK_AT_TRICKLE_EVERY).await;
    }
}

/// Orders a picture; its job.
async fn send(servers: &Servers, order: &Order) -> anyhow::Result<String> {
    let body = json!({"workflow": order.workflow, "metadata": {"title": order.title}});
    let job = servers.gateway.post("/api/v2/jobs", &body).await?.expect(201)?.json()?;
    Ok(id_of(&job)?.to_owned())
}

/// Fetches and decodes the picture of an order; returns its size in bytes.
async fn check(servers: &Servers, order: &Order, job: &str) -> anyhow::Result<usize> {
    let url = url_of_output(&servers.gateway, &format!("/v1/jobs/{job}")).await?;
    let bytes = servers.gateway.get(&url).await?.expect(200)?.bytes;
    let size = pictures::decode(&bytes)?.dimensions();
    ensure!(size == order.size, "it measures {size:?}");
    Ok(bytes.len())
}

async fn url_of_output(api: &Api, path: &str) -> anyhow::Result<String> {
    let ended = api.get(path).await?.expect(200)?.json()?;
    if ended["status"] != "succeeded" {
        bail!("it is {}: {}", ended["status"], ended["error"]["message"]);
    }
    ended["outputs"][0]["url"].as_str().map(str::to_owned).context("it has no picture")
}
