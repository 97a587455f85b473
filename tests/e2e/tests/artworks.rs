//! Pictures for people: mini program, backend-api, gateway, fleet, bucket and checks, all at work.

use std::path::Path;

use anyhow::{Context as _, ensure};
use comfyui_sim::Device;
use e2e::api::{Api, id_of};
use e2e::pictures;
use e2e::program::Program;
use e2e::sandbox::Sandbox;
use e2e::wait::{self, SOON};
use e2e::wechat::{Visitor, Wechat};
use e2e::workflows;
use futures_util::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};
use wechat_sim::Verdict;

const TEMPLATE: &str = "painting";
/// Takes a photo, and makes its negative.
const NEGATIVE: &str = "negative";
const COSTS: i64 = 10;
const COLOR: u32 = 0xc0_ff_ee;

struct World {
    sandbox: Sandbox,
    wechat: Wechat,
    backend: Api,
    _program: Program,
}

impl World {
    /// Everything runs, and two templates are offered: this workflow, with a text that does nothing, and the negative of
    /// a photo.
    async fn start(workflow: Value) -> anyhow::Result<Self> {
        Self::start_with(workflow, "").await
    }

    /// The same with more settings of generation.
    async fn start_with(workflow: Value, more: &str) -> anyhow::Result<Self> {
        let sandbox = Sandbox::plan().settings(&Wechat::gateway_settings()).gpu(Device::t4()).start().await?;
        let mut workflow = workflow;
        workflow["7"] = json!({"class_type": "PrimitiveString", "inputs": {"value": ""}});
        let template = json!({
            "name": TEMPLATE, "workflow": workflow,
            "parameters": [{"name": "words", "type": "text", "targets": ["/7/inputs/value"], "max_length": 200}],
        });
        let photo =
            json!({"name": "photo", "type": "image", "targets": ["/1/inputs/image"], "required": true});
        let workflow = workflows::negative(&json!("none.png"));
        let negative = json!({"name": NEGATIVE, "workflow": workflow, "parameters": [photo]});
        for template in [template, negative] {
            let stored = sandbox.api().post("/v1/templates", &template).await?;
            ensure!(matches!(stored.status, 200 | 201), "{stored:?}");
        }
        let wechat = Wechat::start().await?;
        let generation = Wechat::generation("{base}", TEMPLATE, COSTS);
        let generation = generation.replacen("[generation]\n", &format!("[generation]\n{more}"), 1);
        let also = format!("[generation.templates.{NEGATIVE}]\ncredits = {COSTS}\n");
        let settings = wechat.settings() + &generation + &also;
        let (program, backend) = sandbox.backend_with(&settings).await?;
        wechat.lead_to(&backend);
        Ok(Self { sandbox, wechat, backend, _program: program })
    }

    /// Somebody with 100 credits.
    async fn customer(&self) -> anyhow::Result<Visitor> {
        let visitor = self.wechat.visitor(&self.backend).await?;
        let order = visitor.pays_for("credits_100").await?;
        visitor.order_is(&order, "fulfilled").await?;
        Ok(visitor)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wish_becomes_a_picture_in_the_bucket_and_is_paid() -> anyhow::Result<()> {
    let world = World::start(workflows::plain(COLOR, 16)).await?;
    let customer = world.customer().await?;
    let artwork = customer.wishes_for(TEMPLATE, &json!({"words": "海边的灯塔"})).await?;
    ensure!(artwork["state"] == "visible", "{artwork}");
    ensure!(customer.credits().await? == 100 - COSTS, "{} credits", customer.credits().await?);

    let url = artwork["pictures"][0]["url"].as_str().context("no url")?;
    let bytes = customer.api().without_key().get(url).await?.expect(200)?.bytes;
    ensure!(pictures::only_color(&bytes)? == COLOR, "another picture");
    let sim = world.wechat.sim();
    ensure!(sim.cos().keys().len() == 1, "in the bucket: {:?}", sim.cos().keys());
    let checked =
        |line: &str| sim.requests().iter().any(|seen| seen.line.ends_with(line) && seen.code == "0");
    ensure!(checked("/wxa/msg_sec_check") && checked("/wxa/media_check_async"), "something was not checked");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_sees_a_picture_that_the_check_finds_risky() -> anyhow::Result<()> {
    let world = World::start(workflows::plain(COLOR, 16)).await?;
    world.wechat.sim().judge_pictures("", Verdict::RISKY);
    let customer = world.customer().await?;
    let artwork = customer.wishes_for(TEMPLATE, &json!({"words": "a"})).await?;
    ensure!(artwork["state"] == "hidden" && artwork["reason"] == "risky", "{artwork}");
    ensure!(artwork["pictures"].as_array().is_none_or(Vec::is_empty), "{artwork}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn risky_words_are_refused_before_they_cost_anything() -> anyhow::Result<()> {
    let world = World::start(workflows::plain(COLOR, 16)).await?;
    let customer = world.customer().await?;
    let wish = json!({"template": TEMPLATE, "inputs": {"words": "违禁"}});
    let refused = customer.api().post("/artworks", &wish).await?;
    ensure!(refused.status == 422 && refused.code() == "content_refused", "{refused:?}");
    ensure!(customer.credits().await? == 100 && world.sandbox.posts() == 0, "it cost something");
    let poor = world.wechat.visitor(&world.backend).await?;
    let wish = json!({"template": TEMPLATE, "inputs": {"words": "a"}});
    let refused = poor.api().post("/artworks", &wish).await?;
    ensure!(refused.status == 409 && refused.code() == "not_enough_credits", "{refused:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gateway_refuses_is_refused_in_its_words_and_costs_nothing() -> anyhow::Result<()> {
    let world = World::start(workflows::plain(COLOR, 16)).await?;
    let customer = world.customer().await?;
    let wish = json!({"template": TEMPLATE, "inputs": {"words": "长".repeat(201)}});
    let refused = customer.api().post("/artworks", &wish).await?;
    ensure!(refused.status == 422 && refused.code() == "template_parameters_invalid", "{refused:?}");
    ensure!(customer.credits().await? == 100 && world.sandbox.posts() == 0, "it cost something");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_that_cannot_be_made_costs_nothing() -> anyhow::Result<()> {
    let mut workflow = workflows::plain(COLOR, 16);
    workflow["2"] = json!({"class_type": "TestSyncError", "inputs": {"value": ["1", 0]}});
    workflow["9"]["inputs"]["images"] = json!(["2", 0]);
    let world = World::start(workflow).await?;
    let customer = world.customer().await?;
    let artwork = customer.wishes_for(TEMPLATE, &json!({"words": "a"})).await?;
    ensure!(artwork["state"] == "failed", "{artwork}");
    ensure!(customer.credits().await? == 100, "{} credits", customer.credits().await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wish_outlives_a_gateway_that_dies_and_one_job_is_made_of_it() -> anyhow::Result<()> {
    let mut world = World::start(workflows::plain(COLOR, 16)).await?;
    let customer = world.customer().await?;
    // The gateway has told what is offered.
    let first = customer.wishes_for(TEMPLATE, &json!({"words": "a"})).await?;
    ensure!(first["state"] == "visible", "{first}");
    let posts = world.sandbox.posts();
    world.sandbox.kill().await?;
    let wish = json!({"template": TEMPLATE, "inputs": {"words": "b"}});
    let artwork = customer.api().post_once("/artworks", &wish, "wish-0001").await?.expect(201)?.json()?;
    ensure!(customer.credits().await? == 100 - 2 * COSTS, "nothing is held");
    world.sandbox.start().await?;
    let again = customer.api().post_once("/artworks", &wish, "wish-0001").await?.expect(201)?.json()?;
    ensure!(id_of(&again)? == id_of(&artwork)?, "the same wish became another artwork");
    let artwork = customer.end_of(&artwork).await?;
    ensure!(artwork["state"] == "visible", "{artwork}");
    ensure!(world.sandbox.posts() == posts + 1, "{} prompts of one wish", world.sandbox.posts() - posts);
    ensure!(customer.credits().await? == 100 - 2 * COSTS, "{} credits", customer.credits().await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_is_made_of_a_photo_by_its_owner_alone_and_both_go_with_them() -> anyhow::Result<()> {
    let world = World::start(workflows::plain(COLOR, 16)).await?;
    let (customer, other) = (world.customer().await?, world.customer().await?);
    let give = customer.api().request(Method::POST, "/photos").body(pictures::of_color(COLOR)?);
    let photo = customer.api().send(give).await?.expect(201)?.json()?;
    let path = format!("/photos/{}", id_of(&photo)?);
    wait::until("the photo to be ready", SOON, async || {
        let photo = customer.api().get(&path).await?.expect(200)?.json()?;
        Ok((photo["state"] == "ready").then_some(()))
    })
    .await?;

    let inputs = json!({"photo": id_of(&photo)?});
    let refused = other.api().post("/artworks", &json!({"template": NEGATIVE, "inputs": inputs})).await?;
    ensure!(refused.status == 404 && refused.code() == "no_such_photo", "{refused:?}");
    let artwork = customer.wishes_for(NEGATIVE, &inputs).await?;
    ensure!(artwork["state"] == "visible", "{artwork}");
    let url = artwork["pictures"][0]["url"].as_str().context("no url")?;
    let bytes = customer.api().without_key().get(url).await?.expect(200)?.bytes;
    ensure!(pictures::only_color(&bytes)? == COLOR ^ 0xff_ff_ff, "not its negative");

    let asset = asset_of_the_only_photo(&world.sandbox.path("backend/backend.sqlite3"))?;
    let asset = format!("/api/v2/assets/{asset}");
    world.sandbox.api().get(&asset).await?.expect(200)?;
    let leave = customer.api().request(Method::DELETE, "/me");
    customer.api().send(leave).await?.expect(204)?;
    wait::until("everything to be gone", SOON, async || {
        let is_gone = world.sandbox.api().get(&asset).await?.status == 404;
        Ok((is_gone && world.wechat.sim().cos().keys().is_empty()).then_some(()))
    })
    .await
}

fn asset_of_the_only_photo(database: &Path) -> anyhow::Result<String> {
    let database = rusqlite::Connection::open(database)?;
    Ok(database.query_row("SELECT asset_id FROM photos", [], |row| row.get(0))?)
}

/// Its own looks come once an hour here: the gateway's feed is what tells it.
#[tokio::test(flavor = "multi_thread")]
async fn a_socket_is_told_of_the_end_the_moment_that_it_comes() -> anyhow::Result<()> {
    let world = World::start_with(workflows::slow(COLOR, 1.0), "socket_look_seconds = 3600\n").await?;
    let customer = world.customer().await?;
    let wish = json!({"template": TEMPLATE, "inputs": {"words": "a"}});
    let artwork = customer.api().post("/artworks", &wish).await?.expect(201)?.json()?;
    let ticket = customer.api().post("/sockets", &json!({})).await?.expect(200)?.json()?;
    let ticket = ticket["ticket"].as_str().context("no ticket")?;
    let address = format!("{}/ws?ticket={ticket}", world.backend.base().replacen("http", "ws", 1));
    let (mut socket, _) = tokio_tungstenite::connect_async(address).await?;
    tokio::time::timeout(SOON, async {
        loop {
            let message = socket.next().await.context("the socket was closed")??;
            let news: Value = serde_json::from_str(message.to_text()?).unwrap_or_default();
            ensure!(news.is_null() || news["artwork"]["id"] == artwork["id"], "{news}");
            if matches!(news["artwork"]["state"].as_str(), Some("made" | "checking" | "visible")) {
                return Ok(());
            }
        }
    })
    .await
    .context("nothing was told")?
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_never_learns_who_somebody_is_at_wechat() -> anyhow::Result<()> {
    let world = World::start(workflows::plain(COLOR, 16)).await?;
    let customer = world.customer().await?;
    let code = customer.person().phone_code();
    customer.api().post("/me/phone", &json!({"code": code})).await?.expect(200)?;
    let artwork = customer.wishes_for(TEMPLATE, &json!({"words": "a"})).await?;
    ensure!(artwork["state"] == "visible", "{artwork}");
    let secrets = [customer.person().openid().to_owned(), customer.person().phone()];
    let mut files = Vec::new();
    collect(&world.sandbox.path("data"), &mut files)?;
    files.push(world.sandbox.path("gateway.log"));
    ensure!(files.len() > 1, "the gateway has no files");
    for file in files {
        let text = String::from_utf8_lossy(&std::fs::read(&file)?).into_owned();
        ensure!(secrets.iter().all(|secret| !text.contains(secret)), "{} knows", file.display());
    }
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<std::path::PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
