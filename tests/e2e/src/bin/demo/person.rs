//! Somebody in the mini program: logs in, buys credits, has a picture made and looks at it.

use std::time::Instant;

use anyhow::{Context as _, ensure};
use e2e::api::id_of;
use e2e::pictures;
use e2e::wait::{self, SOON};
use e2e::wechat::Wechat;
use serde_json::json;

use crate::fleet::Fleet;
use crate::orders::Orders;
use crate::screen::Screen;
use crate::servers::Servers;

/// What they buy.
const PACK: &str = "credits_100";

/// The whole visit; fails if anything on its way does.
pub async fn visit(
    servers: &Servers,
    wechat: &Wechat,
    fleet: &Fleet,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let visitor = wechat.visitor(&servers.backend).await.context("logging in")?;
    let user = id_of(visitor.user())?;
    screen.say(&format!("In the mini program, somebody logs in with WeChat: user {user}"));

    let order = visitor.pays_for(PACK).await.context("buying credits")?;
    let order = visitor.order_is(&order, "fulfilled").await?;
    let credits = visitor.credits().await?;
    let price = order["price_fen"].as_i64().unwrap_or_default();
    ensure!(Some(credits) == order["credits"].as_i64(), "{credits} credits for {order}");
    screen.say(&format!(
        "  pays {}.{:02} yuan by virtual payment; the platform's event is confirmed: {credits} credits",
        price / 100,
        price % 100
    ));

    let wish = Orders::new(fleet).await?.next().context("nothing to order")?;
    let asked = Instant::now();
    let body = json!({"workflow": wish.workflow, "labels": {"title": wish.title}, "user_key": user});
    let work = servers.backend.post("/works", &body).await?.expect(201)?.json()?;
    let path = format!("/works/{}?wait_seconds=5", id_of(&work)?);
    let work = wait::until("their picture", SOON, async || {
        let work = servers.backend.get(&path).await?.expect(200)?.json()?;
        let is_open = matches!(work["status"].as_str(), Some("submitting" | "queued" | "running"));
        Ok((!is_open).then_some(work))
    })
    .await?;
    let url = work["outputs"][0]["url"].as_str().with_context(|| format!("no picture: {work}"))?;
    let bytes = servers.gateway.get(url).await?.expect(200)?.bytes;
    let size = pictures::decode(&bytes)?.dimensions();
    ensure!(size == wish.size, "it measures {size:?}");
    let base = if url.starts_with('/') { servers.gateway.base() } else { "" };
    screen.say(&format!("  wishes for {}", wish.title));
    screen.say(&format!("  has it after {:.1?}: {base}{url}\n", asked.elapsed()));
    Ok(())
}
