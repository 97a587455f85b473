//! One image, two services on one database: `app` behind WeChat, whose headers count, and `callbacks` in public, where
//! signatures alone do.

use anyhow::{Context as _, ensure};
use e2e::api::{Answer, Api};
use e2e::program::Program;
use e2e::sandbox::Sandbox;
use e2e::wait::{self, SOON};
use e2e::wechat::Wechat;
use reqwest::Method;
use serde_json::{Value, json};

struct Roles {
    wechat: Wechat,
    app: Api,
    callbacks: Api,
    sandbox: Sandbox,
    _programs: [Program; 2],
}

impl Roles {
    async fn start() -> anyhow::Result<Self> {
        let sandbox = Sandbox::plan().keyed().start().await?;
        let wechat = Wechat::start().await?;
        let settings = wechat.settings();
        let private = [
            ("BACKEND_ROLE", "app"),
            ("BACKEND_PUBLIC_ACCESS", "false"),
            ("BACKEND_TRUST_WX_HEADERS", "true"),
        ];
        let (one, app) = sandbox.backend_as(&settings, &private).await?;
        let (two, callbacks) = sandbox.backend_as(&settings, &[("BACKEND_ROLE", "callbacks")]).await?;
        wechat.lead_to(&callbacks);
        wechat.push_inside(&app);
        let (app, callbacks) = (app.without_key(), callbacks.without_key());
        Ok(Self { wechat, app, callbacks, sandbox, _programs: [one, two] })
    }
}

/// A request with the headers that WeChat adds for a person of ours.
async fn through_wechat(
    api: &Api,
    openid: &str,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> anyhow::Result<Answer> {
    let request = api.request(method, path).header("x-wx-openid", openid).header("x-wx-source", "wx_client");
    let request = match body {
        Some(body) => request.json(body),
        None => request,
    };
    api.send(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lesson_is_ordered_behind_wechat_and_its_payment_told_in_public() -> anyhow::Result<()> {
    let roles = Roles::start().await?;
    let person = roles.wechat.sim().person();
    let body = json!({"item": "lesson"});
    let placed = through_wechat(&roles.app, person.openid(), Method::POST, "/orders", Some(&body)).await?;
    let placed = placed.expect(201)?.json()?;
    person.pays(&placed["payment"])?;
    roles.wechat.quiet().await?;
    let delivery = roles.wechat.sim().deliveries().pop().context("no callback")?;
    ensure!(delivery.kind == "TRANSACTION.SUCCESS" && delivery.taken, "{delivery:?}");
    let path = format!("/orders/{}", placed["order"]["id"].as_str().context("no id")?);
    wait::until("the lesson", SOON, async || {
        let order = through_wechat(&roles.app, person.openid(), Method::GET, &path, None).await?;
        Ok((order.expect(200)?.json()?["state"] == "fulfilled").then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_on_wechats_own_way_and_nobody_else_can_send_them() -> anyhow::Result<()> {
    let roles = Roles::start().await?;
    let visitor = roles.wechat.visitor(&roles.app).await?;
    let order = visitor.pays_for("credits_100").await?;
    visitor.order_is(&order, "fulfilled").await?;
    ensure!(visitor.credits().await? == 100, "other credits than were bought");
    // A look at the order may have been faster than the event.
    wait::until("the event to be taken", SOON, async || {
        let events = roles.wechat.sim().deliveries();
        Ok(events.iter().any(|one| one.kind == "xpay_goods_deliver_notify" && one.taken).then_some(()))
    })
    .await?;

    let forged = json!({"MsgType": "event", "Event": "xpay_goods_deliver_notify", "OutTradeNo": order});
    let path = "/callbacks/wechat-events";
    let openid = visitor.person().openid();
    let answer = through_wechat(&roles.callbacks, openid, Method::POST, path, Some(&forged)).await?;
    ensure!(answer.status == 401, "the public side believes a header: {answer:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_of_wechat_count_for_nothing_in_public() -> anyhow::Result<()> {
    let roles = Roles::start().await?;
    let person = roles.wechat.sim().person();
    let me = through_wechat(&roles.app, person.openid(), Method::GET, "/me", None).await?;
    me.expect(200)?;
    // One service for all is public as well.
    let (_program, single) = roles.sandbox.backend_as(&roles.wechat.settings(), &[]).await?;
    for (api, status) in [(roles.callbacks.clone(), 404), (single.without_key(), 401)] {
        for path in ["/me", "/orders", "/credits", "/me/export"] {
            let answer = through_wechat(&api, person.openid(), Method::GET, path, None).await?;
            ensure!(answer.status == status, "{path}: {answer:?}");
        }
    }
    let unsigned = roles.callbacks.post("/callbacks/wechat-pay", &json!({})).await?;
    ensure!(unsigned.status == 401, "{unsigned:?}");
    Ok(())
}
