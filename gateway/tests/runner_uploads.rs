//! Results go to a bucket while the instance works on, whatever becomes of the runner meanwhile.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

#[path = "support/runner.rs"]
mod support;

use std::sync::Arc;
use std::time::Duration;

use gateway::artifacts::{Artifacts, Reach};
use gateway::link::message::{Attempt, Command, Ticket};
use support::{World, picture};
use wechat_sim::cos::{self, Cos, Fault};

fn credentials(name: &str) -> Option<String> {
    match name {
        "COS_SECRET_ID" => Some(cos::ID.to_owned()),
        "COS_SECRET_KEY" => Some(cos::KEY.to_owned()),
        _ => None,
    }
}

async fn start(cos: &Cos) -> (World, Artifacts) {
    let artifacts = Artifacts::open_with(&cos.location(""), credentials).unwrap();
    let desk = artifacts.clone();
    let world = World::with(comfyui_sim::Config::default(), |config| {
        config.times.upload_backoff = (Duration::from_millis(10), Duration::from_millis(50));
        config.desk = Some(Arc::new(desk));
    });
    (world.await, artifacts)
}

async fn grant(world: &World, artifacts: &Artifacts, attempt: Attempt, in_parts: bool) {
    let key = format!("outputs/{}/1-0.png", attempt.job);
    let mut ticket = artifacts.upload_ticket(&key, "image/png", 1 << 20, Reach::Here).await.unwrap();
    if let (Ticket::BySize { whole, .. }, true) = (&mut ticket, in_parts) {
        *whole = None;
    }
    world.command(Command::Grant { attempt, tickets: vec![ticket], receipts: Vec::new() }).await;
}

#[tokio::test]
async fn a_result_that_waits_for_its_bucket_outlives_the_runner_while_the_instance_works_on() {
    for in_parts in [false, true] {
        let cos = Cos::start().await;
        let (mut world, artifacts) = start(&cos).await;
        cos.fault("PUT cell-1", Fault::Stall);
        let sent = world.dispatch(&picture(3)).await;
        world.executed(sent.attempt).await;
        grant(&world, &artifacts, sent.attempt, in_parts).await;
        world.eventually("the upload hangs", |_| cos.seen().iter().any(|line| line.starts_with("PUT"))).await;
        let next = world.dispatch(&picture(4)).await;
        world.finish(next.attempt).await;

        world.sim.restart().await.unwrap();
        world.restart_runner().await;
        world.look_up(&sent).await;
        world.executed(sent.attempt).await;
        grant(&world, &artifacts, sent.attempt, in_parts).await;
        let stored = world.stored(sent.attempt).await;
        world.command(Command::Settle { attempt: sent.attempt }).await;
        let object = cos.object(&format!("cell-1/outputs/{}/1-0.png", sent.attempt.job)).unwrap();
        assert_eq!(blake3::hash(&object.bytes).to_hex().to_string(), stored[0].hash);
        assert_eq!(object.headers["content-type"], "image/png");
        assert_eq!(cos.uploads(), 0);
        let spool = world.dir.path().join("spool");
        world.eventually("the spool is empty", |_| std::fs::read_dir(&spool).unwrap().next().is_none()).await;
    }
}
