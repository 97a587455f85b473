//! People with phones: the simulated WeChat platform, a backend-api set up for it, and what somebody does in the mini
//! program.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use serde_json::{Value, json};
use wechat_sim::{Config, Format, Guard, Merchant, Person, Push, WechatSim};

use crate::api::{Api, id_of};
use crate::wait::{self, SOON};

/// Where the platform calls back, as the world sees it.
const PUBLIC: &str = "https://backend.example.com";
/// The token by which pushed events are signed.
const PUSH_TOKEN: &str = "token-of-the-console";
/// The key by which they are sealed.
const PUSH_KEY: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ";
/// By which a gateway signs what it sends to backend-api: id and secret.
const SIGNING_KEY: (&str, &str) = ("k1", "a-gateway-secret-for-tests-only-0123456789");
/// Signs tokens of backend-api.
const IDENTITY_SECRET: &str = "a-secret-for-tests-only-0123456789abcdef";
/// How much faster than life callbacks are repeated.
const HURRY: u32 = 1_000;

/// A platform, set up for one backend-api.
pub struct Wechat {
    sim: WechatSim,
}

impl Wechat {
    /// Starts a platform.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start() -> anyhow::Result<Self> {
        let sim = WechatSim::start(Config { hurry: HURRY, fetches_media: true, ..Config::default() }).await?;
        sim.push_to(Push {
            url: format!("{PUBLIC}/callbacks/wechat-events"),
            format: Format::Json,
            guard: Guard::Aes { token: PUSH_TOKEN.to_owned(), encoding_aes_key: PUSH_KEY.to_owned() },
        });
        Ok(Self { sim })
    }

    /// The platform itself, to look at and to disturb.
    #[must_use]
    pub fn sim(&self) -> &WechatSim {
        &self.sim
    }

    /// Lets the platform find backend-api.
    pub fn lead_to(&self, backend: &Api) {
        self.sim.route(PUBLIC, backend.base());
    }

    /// Waits until nothing is on its way to backend-api any more.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn quiet(&self) -> anyhow::Result<()> {
        self.sim.quiet(SOON).await
    }

    /// Settings of a backend-api that lives with this platform: two packs of credits and one lesson are for sale.
    #[must_use]
    pub fn settings(&self) -> String {
        let (url, config) = (self.sim.url(), self.sim.config());
        let Merchant { mchid, serial, private_key_pem, api_v3_key, public_key_id, public_key_pem, .. } =
            self.sim.merchant();
        let (id, key) = (public_key_id.unwrap_or_default(), public_key_pem.unwrap_or_default());
        format!(
            "[identity]\nsecret = \"{IDENTITY_SECRET}\"\n\
             [wechat]\napp_id = \"{appid}\"\nsecret = \"{secret}\"\napi_base = \"{url}\"\n\
             push_token = \"{PUSH_TOKEN}\"\npush_key = \"{PUSH_KEY}\"\n\
             env = \"{env}\"\nbucket = \"{bucket}\"\n\
             [virtual_payment]\noffer_id = \"{offer}\"\napp_key = \"{app_key}\"\n\
             [pay]\nmchid = \"{mchid}\"\nserial = \"{serial}\"\napi_v3_key = \"{api_v3_key}\"\nbase = \"{url}\"\n\
             public_key_id = \"{id}\"\nprivate_key = '''\n{private_key_pem}'''\npublic_key = '''\n{key}'''\n\
             notify_url = \"{PUBLIC}/callbacks/wechat-pay\"\n\
             [chores]\nevery_seconds = 1\nbackoff_seconds = 1\n\
             [shop]\nlook_every_seconds = 1\n\
             [shop.items.credits_100]\ntitle = \"100 credits\"\nprice_fen = 990\ncredits = 100\n\
             [shop.items.credits_500]\ntitle = \"500 credits\"\nprice_fen = 3990\ncredits = 500\n\
             [shop.items.lesson]\ntitle = \"A lesson\"\nprice_fen = 19900\n",
            appid = config.appid,
            secret = config.secret,
            offer = config.offer_id,
            app_key = config.app_key,
            env = config.env,
            bucket = config.bucket,
        )
    }

    /// Settings, to follow the others, of a backend-api at `base` that has pictures made of one template of the
    /// gateway, for so many credits, and stored in the mini program's bucket.
    #[must_use]
    pub fn generation(base: &str, template: &str, credits: i64) -> String {
        let (id, secret) = SIGNING_KEY;
        format!(
            "[generation]\nticket_url = \"{base}/internal/upload-tickets\"\n\
             webhook_url = \"{base}/callbacks/gateway\"\nsigning_keys = \"{id}:{secret}\"\nlook_seconds = 1\n\
             recheck_seconds = 2\n\
             [generation.templates.{template}]\ncredits = {credits}\n"
        )
    }

    /// Settings of a gateway whose tenant `default` is that backend-api: its key, and the way to it and to the bucket.
    #[must_use]
    pub fn gateway_settings() -> String {
        let (id, secret) = SIGNING_KEY;
        format!(
            "[outside]\nallow = [\"127.0.0.0/8\"]\nallow_http = [\"127.0.0.0/8\"]\nports = []\n\
             [[tenants]]\nname = \"default\"\n\
             [tenants.webhook]\nkeys = [{{ id = \"{id}\", secret = \"{secret}\" }}]\n"
        )
    }

    /// Pushes events on WeChat's own way from now on: unsigned, into the container.
    pub fn push_inside(&self, app: &Api) {
        let url = format!("{}/callbacks/wechat-events", app.base());
        self.sim.push_to(Push { url, format: Format::Xml, guard: Guard::Container });
    }

    /// Somebody new opens the mini program and logs in.
    ///
    /// # Errors
    /// When the login fails.
    pub async fn visitor(&self, backend: &Api) -> anyhow::Result<Visitor> {
        let person = self.sim.person();
        let mut visitor = Visitor { person, api: backend.without_key(), user: Value::Null };
        visitor.log_in().await?;
        Ok(visitor)
    }
}

/// Somebody in the mini program.
pub struct Visitor {
    person: Person,
    api: Api,
    user: Value,
}

impl Visitor {
    /// The person at WeChat.
    #[must_use]
    pub fn person(&self) -> &Person {
        &self.person
    }

    /// backend-api, with this person's token.
    #[must_use]
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// Who they are here, as the login told it.
    #[must_use]
    pub fn user(&self) -> &Value {
        &self.user
    }

    /// Logs in once more.
    ///
    /// # Errors
    /// When it fails.
    pub async fn log_in(&mut self) -> anyhow::Result<()> {
        let body = json!({"code": self.person.login_code()});
        let tokens = self.api.without_key().post("/auth/login", &body).await?.expect(200)?.json()?;
        let token = tokens["access_token"].as_str().context("no access token")?;
        self.api = self.api.with_key(token);
        self.user = tokens["user"].clone();
        Ok(())
    }

    /// Orders an item; the order and what the payment call is to get.
    ///
    /// # Errors
    /// When it is not taken.
    pub async fn orders(&self, item: &str) -> anyhow::Result<(String, Value)> {
        let placed = self.api.post("/orders", &json!({"item": item})).await?.expect(201)?.json()?;
        Ok((id_of(&placed["order"])?.to_owned(), placed["payment"].clone()))
    }

    /// Orders an item and pays for it, as the client lets them; the order's id.
    ///
    /// # Errors
    /// When it cannot be ordered or the client refuses to pay.
    pub async fn pays_for(&self, item: &str) -> anyhow::Result<String> {
        let (order, payment) = self.orders(item).await?;
        let refused = |error| anyhow!("the client does not pay for {item}: {error}");
        if payment["signData"].is_string() {
            self.person.pays_virtually(&payment).map_err(refused)?;
        } else {
            self.person.pays(&payment).map_err(refused)?;
        }
        Ok(order)
    }

    /// Waits until an order has this state.
    ///
    /// # Errors
    /// When it does not get there.
    pub async fn order_is(&self, order: &str, state: &str) -> anyhow::Result<Value> {
        wait::until(&format!("order {order} to be {state}"), SOON, async || {
            let seen = self.api.get(&format!("/orders/{order}")).await?.expect(200)?.json()?;
            if seen["state"] == state {
                return Ok(Some(seen));
            }
            // An open order asks the platform at most once a second, and looks are limited.
            tokio::time::sleep(Duration::from_millis(200)).await;
            Ok(None)
        })
        .await
    }

    /// Wishes for an artwork and waits for its end, whatever that is.
    ///
    /// # Errors
    /// When it is not taken, or does not end.
    pub async fn wishes_for(&self, template: &str, inputs: &Value) -> anyhow::Result<Value> {
        let wish = json!({"template": template, "inputs": inputs});
        let artwork = self.api.post("/artworks", &wish).await?.expect(201)?.json()?;
        self.end_of(&artwork).await
    }

    /// Waits for the end of an artwork, whatever that is.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn end_of(&self, artwork: &Value) -> anyhow::Result<Value> {
        let path = format!("/artworks/{}?wait_seconds=5", id_of(artwork)?);
        wait::until("the artwork", SOON, async || {
            let artwork = self.api.get(&path).await?.expect(200)?.json()?;
            let has_ended =
                matches!(artwork["state"].as_str(), Some("visible" | "hidden" | "failed" | "canceled"));
            Ok(has_ended.then_some(artwork))
        })
        .await
    }

    /// Credits that may be spent.
    ///
    /// # Errors
    /// When they are not told.
    pub async fn credits(&self) -> anyhow::Result<i64> {
        let credits = self.api.get("/credits").await?.expect(200)?.json()?;
        credits["available"].as_i64().context("no balance")
    }
}
