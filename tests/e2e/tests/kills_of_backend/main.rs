//! The whole road of money, killed: `kill -9` of backend-api between any two steps of order → payment → credit → hold →
//! job → settle, with the real gateway, the simulated fleet and the simulated platform around it. In the end the books
//! balance, nobody has paid without credits, and nobody was charged for a picture that failed.
//!
//! Gateway, fleet and platform outlive all kills; only backend-api is started again. A kill follows one of the named
//! [`moments`] after a pause of chance, and the moments take turns, so that each is met in every run. `KILLS` sets how
//! often (50), `SEED` repeats the pauses; the seed is printed with every failure.

mod customers;
mod ends;
mod moments;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use comfyui_sim::Device;
use e2e::api::{Api, id_of};
use e2e::chance::{Dice, number, seed};
use e2e::program::{self, Program};
use e2e::sandbox::Sandbox;
use e2e::wechat::{Visitor, Wechat};
use e2e::workflows;
use serde_json::json;

use customers::Town;
use moments::{Moment, Watch};

/// Enough that somebody is at each step at any time.
const CUSTOMERS: usize = 8;
const DEFAULT_KILLS: u64 = 50;
/// Credits of what everybody buys, and of a picture.
const PACK: i64 = 100;
const COSTS: i64 = 10;
/// Pauses between a moment and the kill are below 1, 2, 4 … up to this power of two milliseconds: a step takes a few, a
/// picture about a hundred.
const PAUSE_POWERS: u64 = 8;

/// Stores two templates: one that works for a moment, one that always fails.
async fn store_templates(gateway: &Api) -> anyhow::Result<()> {
    let mut broken = workflows::plain(0, 8);
    broken["2"] = json!({"class_type": "TestSyncError", "inputs": {"value": ["1", 0]}});
    broken["9"]["inputs"]["images"] = json!(["2", 0]);
    for (name, mut workflow) in [("good", workflows::slow(0xc0_ff_ee, 0.05)), ("broken", broken)] {
        workflow["7"] = json!({"class_type": "PrimitiveString", "inputs": {"value": ""}});
        let words =
            json!({"name": "words", "type": "text", "targets": ["/7/inputs/value"], "max_length": 200});
        let template = json!({"name": name, "workflow": workflow, "parameters": [words]});
        let stored = gateway.post("/v1/templates", &template).await?;
        ensure!(matches!(stored.status, 200 | 201), "{stored:?}");
    }
    Ok(())
}

/// What outlives the killed, and how it is started.
struct World {
    sandbox: Sandbox,
    wechat: Wechat,
    port: u16,
    settings: String,
}

impl World {
    async fn start() -> anyhow::Result<Self> {
        let plan = Sandbox::plan().settings(&Wechat::gateway_settings());
        let sandbox = plan.gpu(Device::t4()).gpu(Device::a100()).start().await?;
        store_templates(sandbox.api()).await?;
        let wechat = Wechat::start().await?;
        // What died with a step under way gives it up soon, and logins outlast the run.
        let settings = wechat
            .settings()
            .replace("[chores]\n", "[chores]\nclaim_seconds = 2\n")
            .replace("[identity]\n", "[identity]\naccess_token_seconds = 86400\nrecheck_seconds = 1\n")
            + &Wechat::generation("{base}", "good", COSTS)
            + &format!("[generation.templates.broken]\ncredits = {COSTS}\n")
            + "[http]\nwrites_per_minute = 100000\nreads_per_minute = 100000\n";
        Ok(Self { sandbox, wechat, port: program::free_port()?, settings })
    }

    async fn backend(&self) -> anyhow::Result<(Program, Api)> {
        self.sandbox.backend_at(self.port, &self.settings, &[]).await
    }

    /// Somebody who may look into the books.
    async fn bookkeeper(&self, api: &Api) -> anyhow::Result<Visitor> {
        let somebody = self.wechat.visitor(api).await?;
        let role = ["user", "role", id_of(somebody.user())?, "admin"];
        let done = self.sandbox.backend_command(self.port, &role).await?;
        ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        Ok(somebody)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_paid_has_credits_and_a_failed_picture_costs_nothing_whenever_backend_dies()
-> anyhow::Result<()> {
    let seed = seed()?;
    eprintln!("to repeat it: SEED={seed}");
    story(Dice::new(seed)).await.with_context(|| format!("to repeat it: SEED={seed}"))
}

async fn story(mut dice: Dice) -> anyhow::Result<()> {
    let world = World::start().await?;
    let (mut backend, api) = world.backend().await?;
    world.wechat.lead_to(&api);
    let bookkeeper = world.bookkeeper(&api).await?;
    let mut town = Town::default();
    for _ in 0..CUSTOMERS {
        town.enters(Arc::new(world.wechat.visitor(&api).await?));
    }

    let kills = usize::try_from(number("KILLS")?.unwrap_or(DEFAULT_KILLS))?;
    let mut met = Vec::new();
    for moment in Moment::ALL.into_iter().cycle().take(kills) {
        let watch = Watch::new(&world.wechat, &world.sandbox, &town);
        met.extend(watch.comes(moment).await.then_some(moment));
        let pause = 1 << dice.below(PAUSE_POWERS);
        tokio::time::sleep(Duration::from_millis(dice.below(pause))).await; // any instant after it
        backend.kill().await?;
        (backend, _) = world.backend().await?;
    }
    let lives = town.ends().await?;
    let missed: Vec<_> = Moment::ALL.into_iter().take(kills).filter(|moment| !met.contains(moment)).collect();
    ensure!(missed.is_empty(), "never met: {missed:?}");

    let books = ends::all_ended(&bookkeeper, &lives).await?;
    eprintln!("{kills} kills, {} of them right after their moment: {books:?}", met.len());
    ensure!(books.made > 0 && books.failed > 0, "the test has to have seen all of it: {books:?}");
    Ok(())
}
