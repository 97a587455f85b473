//! What everybody has in the end, and what the books say of it.

use std::time::Duration;

use anyhow::ensure;
use e2e::api::id_of;
use e2e::wait;
use e2e::wechat::Visitor;
use serde_json::Value;

use crate::customers::{Life, has_ended};
use crate::{COSTS, PACK};

/// Everything that was begun has ended within this after the last kill.
const IN_THE_END: Duration = Duration::from_secs(180);

/// What there was, over everybody.
#[derive(Debug, Default)]
pub struct Books {
    /// Orders that phones paid.
    pub paid: usize,
    /// Pictures that somebody has.
    pub made: usize,
    /// Pictures that were not made.
    pub failed: usize,
}

/// Waits until nothing is open any more, and holds what everybody has against what they paid and got.
pub async fn all_ended(bookkeeper: &Visitor, lives: &[Life]) -> anyhow::Result<Books> {
    let mut books = Books::default();
    for life in lives {
        let ended = wait::until("everything of somebody to end", IN_THE_END, async || {
            if orders_given(&life.visitor).await? < life.paid {
                return Ok(None);
            }
            let artworks = all(&life.visitor, "artworks").await?;
            Ok(artworks.iter().all(has_ended).then_some(artworks))
        });
        balances(life, &ended.await?, &mut books).await?;
    }
    let audit = bookkeeper.api().get("/admin/ledger/audit").await?.expect(200)?.json()?;
    ensure!(audit["balanced"] == true && audit["open_holds"] == 0, "{audit}");
    let credits = |account: &str| audit["accounts"]["credits"][account].as_i64().unwrap_or(0);
    let fen = |account: &str| audit["accounts"]["fen"][account].as_i64().unwrap_or(0);
    let (paid, made) = (i64::try_from(books.paid)?, i64::try_from(books.made)?);
    ensure!(credits("credits_sold") == -paid * PACK, "{books:?} against {audit}");
    ensure!(credits("credits_used") == made * COSTS, "{books:?} against {audit}");
    ensure!(fen("sales") == -paid * 990, "{books:?} against {audit}");
    Ok(books)
}

/// Orders whose credits were given; reading an open one has the platform asked.
async fn orders_given(visitor: &Visitor) -> anyhow::Result<usize> {
    let mut given = 0;
    for order in all(visitor, "orders").await? {
        let is_given = match order["state"].as_str() {
            Some("fulfilled") => true,
            Some("closed") => false,
            _ => {
                let path = format!("/orders/{}", id_of(&order)?);
                visitor.api().get(&path).await?.expect(200)?.json()?["state"] == "fulfilled"
            }
        };
        given += usize::from(is_given);
    }
    Ok(given)
}

async fn balances(life: &Life, artworks: &[Value], books: &mut Books) -> anyhow::Result<()> {
    let given = orders_given(&life.visitor).await?;
    ensure!(given == life.paid, "{} orders were paid, {given} given", life.paid);
    let is_made = |artwork: &&Value| matches!(artwork["state"].as_str(), Some("visible" | "hidden"));
    let made = artworks.iter().filter(is_made).count();
    let (paid, used) = (i64::try_from(life.paid)? * PACK, i64::try_from(made)? * COSTS);
    let credits = life.visitor.api().get("/credits").await?.expect(200)?.json()?;
    ensure!(credits["held"] == 0, "{credits}");
    ensure!(credits["available"] == paid - used, "{paid} paid, {used} used, {credits}");
    if let Some(artwork) = artworks.iter().find(is_made) {
        let path = format!("/artworks/{}", id_of(artwork)?);
        let artwork = life.visitor.api().get(&path).await?.expect(200)?.json()?;
        ensure!(artwork["pictures"].as_array().is_some_and(|pictures| pictures.len() == 1), "{artwork}");
    }
    books.paid += life.paid;
    books.made += made;
    books.failed += artworks.len() - made;
    Ok(())
}

/// All pages of a list.
async fn all(visitor: &Visitor, list: &str) -> anyhow::Result<Vec<Value>> {
    let (mut found, mut before) = (Vec::new(), String::new());
    loop {
        let page = visitor.api().get(&format!("/{list}?limit=50{before}")).await?.expect(200)?.json()?;
        let page = page[list].as_array().cloned().unwrap_or_default();
        let Some(last) = page.last() else { return Ok(found) };
        before = format!("&before={}", id_of(last)?);
        found.extend(page);
    }
}
