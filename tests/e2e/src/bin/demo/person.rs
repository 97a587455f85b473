//! Somebody in the mini program: logs in, buys credits, has a picture made and looks at it.

use std::time::Instant;

use anyhow::{Context as _, ensure};
use e2e::api::id_of;
use e2e::pictures;
use e2e::wechat::{Visitor, Wechat};
use e2e::workflows::Painting;
use serde_json::json;

use crate::fleet::Fleet;
use crate::screen::Screen;
use crate::servers::Servers;

/// What they buy.
const PACK: &str = "credits_100";
/// What they have made; backend-api offers it by this name.
pub const TEMPLATE: &str = "scene";
/// What it costs, credits.
pub const COSTS: i64 = 10;
/// Its size.
const SIZE: (u32, u32) = (768, 512);
const WORDS: &str = "a lighthouse at dusk";

/// Gives the gateway the template that backend-api offers; false when the fleet has no model for it.
async fn prepare(servers: &Servers, fleet: &Fleet) -> anyhow::Result<bool> {
    let usual = Painting::default();
    let checkpoint = match fleet.is_simulated() {
        true => Some(usual.checkpoint.clone()),
        false => fleet.any_checkpoint().await?,
    };
    let Some(checkpoint) = checkpoint else { return Ok(false) };
    let (width, height) = SIZE;
    let painting = Painting { checkpoint, width, height, steps: 12, ..usual };
    let template = json!({
        "name": TEMPLATE, "workflow": painting.workflow(), "meta": {"title": "A scene"},
        "parameters": [
            {"name": "prompt", "type": "text", "targets": ["/6/inputs/text"], "max_length": 200, "required": true},
            {"name": "seed", "type": "seed", "targets": ["/3/inputs/seed"]},
        ],
    });
    let stored = servers.gateway.post("/v1/templates", &template).await?;
    ensure!(matches!(stored.status, 200 | 201), "the gateway does not take the template: {stored:?}");
    Ok(true)
}

/// The whole visit; fails if anything on its way does.
pub async fn visit(
    servers: &Servers,
    wechat: &Wechat,
    fleet: &Fleet,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let has_models = prepare(servers, fleet).await?;
    let visitor = wechat.visitor(&servers.backend).await.context("logging in")?;
    screen
        .say(&format!("In the mini program, somebody logs in with WeChat: user {}", id_of(visitor.user())?));
    buys(&visitor, screen).await.context("buying credits")?;
    if !has_models {
        screen.say("  finds no template: the fleet has no checkpoint\n");
        return Ok(());
    }
    has_made(&visitor, screen).await.context("having a picture made")
}

async fn buys(visitor: &Visitor, screen: &mut Screen) -> anyhow::Result<()> {
    let order = visitor.pays_for(PACK).await?;
    let order = visitor.order_is(&order, "fulfilled").await?;
    let credits = visitor.credits().await?;
    ensure!(Some(credits) == order["credits"].as_i64(), "{credits} credits for {order}");
    let price = order["price_fen"].as_i64().unwrap_or_default();
    screen.say(&format!(
        "  pays {}.{:02} yuan by virtual payment; the platform's event is confirmed: {credits} credits",
        price / 100,
        price % 100
    ));
    Ok(())
}

async fn has_made(visitor: &Visitor, screen: &mut Screen) -> anyhow::Result<()> {
    let (before, asked) = (visitor.credits().await?, Instant::now());
    let artwork = visitor.wishes_for(TEMPLATE, &json!({"prompt": WORDS})).await?;
    ensure!(artwork["state"] == "visible", "it ended as {artwork}");
    let url = artwork["pictures"][0]["url"].as_str().with_context(|| format!("no picture in {artwork}"))?;
    let bytes = visitor.api().without_key().get(url).await?.expect(200)?.bytes;
    let size = pictures::decode(&bytes)?.dimensions();
    ensure!(size == SIZE, "it measures {size:?}");
    let credits = visitor.credits().await?;
    ensure!(credits == before - COSTS, "{credits} credits are left of {before}");
    screen.say(&format!("  wishes for {WORDS}: words checked, {COSTS} credits held, made, picture checked"));
    screen.say(&format!("  has it after {:.1?}, {credits} credits left: {url}\n", asked.elapsed()));
    Ok(())
}
