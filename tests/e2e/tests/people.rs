//! People and money in the mini program: the real backend-api as a process, the simulated WeChat platform around it.

use anyhow::ensure;
use e2e::api::{Api, id_of};
use e2e::program::Program;
use e2e::sandbox::Sandbox;
use e2e::wechat::Wechat;
use serde_json::json;
use wechat_sim::{CourierFault, Mishap, Seal};

/// Everything a person meets, at work.
struct World {
    _sandbox: Sandbox,
    wechat: Wechat,
    backend: Api,
    _program: Program,
}

impl World {
    async fn start() -> anyhow::Result<Self> {
        let sandbox = Sandbox::plan().keyed().start().await?;
        let wechat = Wechat::start().await?;
        let (program, backend) = sandbox.backend_with(&wechat.settings()).await?;
        wechat.lead_to(&backend);
        Ok(Self { _sandbox: sandbox, wechat, backend, _program: program })
    }

    fn mishap(&self, matching: &str, mishap: Mishap) {
        self.wechat.sim().courier_fault(CourierFault { matching: matching.to_owned(), times: 1, mishap });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_bought_credits_has_them_at_the_next_login() -> anyhow::Result<()> {
    let world = World::start().await?;
    let mut visitor = world.wechat.visitor(&world.backend).await?;
    ensure!(visitor.credits().await? == 0, "a stranger has credits");
    let order = visitor.pays_for("credits_100").await?;
    visitor.order_is(&order, "fulfilled").await?;
    ensure!(visitor.credits().await? == 100, "other credits than were bought");

    let user = id_of(visitor.user())?.to_owned();
    visitor.log_in().await?;
    ensure!(
        id_of(visitor.user())? == user && visitor.credits().await? == 100,
        "a second login is somebody else"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_copies_of_a_delivery_event_credit_once() -> anyhow::Result<()> {
    let world = World::start().await?;
    let visitor = world.wechat.visitor(&world.backend).await?;
    world.mishap("xpay_goods_deliver_notify", Mishap::Copies { count: 50 });
    let order = visitor.pays_for("credits_500").await?;
    world.wechat.quiet().await?;
    visitor.order_is(&order, "fulfilled").await?;
    ensure!(visitor.credits().await? == 500, "{} credits", visitor.credits().await?);
    ensure!(world.wechat.sim().deliveries().iter().any(|one| one.taken), "no event was taken");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn credits_come_when_the_delivery_event_is_lost() -> anyhow::Result<()> {
    let world = World::start().await?;
    let visitor = world.wechat.visitor(&world.backend).await?;
    world.mishap("xpay_goods_deliver_notify", Mishap::Lose);
    let order = visitor.pays_for("credits_100").await?;
    visitor.order_is(&order, "fulfilled").await?;
    ensure!(visitor.credits().await? == 100, "other credits than were bought");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_credits_on_the_clients_word() -> anyhow::Result<()> {
    let world = World::start().await?;
    let (buyer, other) =
        (world.wechat.visitor(&world.backend).await?, world.wechat.visitor(&world.backend).await?);
    let (order, payment) = buyer.orders("credits_100").await?;
    ensure!(other.person().pays_virtually(&payment).is_err(), "somebody else's session key signed");
    let forged = json!({"OutTradeNo": order, "OpenId": buyer.person().openid(), "Env": 0});
    world.backend.without_key().post("/callbacks/wechat-events", &forged).await?.expect(401)?;
    let seen = buyer.api().get(&format!("/orders/{order}")).await?.expect(200)?.json()?;
    ensure!(seen["state"] != "fulfilled" && buyer.credits().await? == 0, "{seen}");
    other.api().get(&format!("/orders/{order}")).await?.expect(404)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lesson_is_paid_when_a_true_callback_follows_the_probes() -> anyhow::Result<()> {
    let world = World::start().await?;
    let visitor = world.wechat.visitor(&world.backend).await?;
    for seal in Seal::BAD {
        world.mishap("TRANSACTION.SUCCESS", Mishap::SealedFirst { seal });
        let order = visitor.pays_for("lesson").await?;
        world.wechat.quiet().await?;
        let deliveries = world.wechat.sim().deliveries();
        let [.., bad, good] = &deliveries[..] else { anyhow::bail!("{deliveries:?}") };
        ensure!(bad.seal == seal && bad.status.is_some_and(|status| status >= 400), "{bad:?}");
        ensure!(good.seal == Seal::Good && good.taken, "{good:?}");
        visitor.order_is(&order, "fulfilled").await?;
    }
    ensure!(world.wechat.sim().paid_orders().len() == Seal::BAD.len(), "lessons without payment");
    Ok(())
}
