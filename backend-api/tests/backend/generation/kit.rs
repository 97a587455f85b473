//! A backend-api between the simulated WeChat and a gateway, and people who want pictures.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use backend_api::config::Config;
use reqwest::{Method, Url};
use serde_json::{Value, json};
use wechat_sim::{Person, WechatSim};

use super::studio_gateway::{StudioGateway, output};
use crate::engines::Engine;
use crate::money::market::{Customer, Market, SOON};
use crate::people::Login;
use crate::support::answer;

/// Id and secret of the gateway's signing key.
pub const SIGNING_KEY: (&str, &str) = ("2026-11", "whsec_0123456789abcdefghijklmnopqrstuv");
/// What a portrait costs.
pub const PRICE: i64 = 3;
/// How many one person may have in the making.
pub const MAX_OPEN: usize = 3;

const SETTINGS: &str = r#"
    [wechat]
    env = "prod-sim"
    bucket = "7072-prod-sim-1300000000"
    [generation]
    signing_keys = "2026-11:whsec_0123456789abcdefghijklmnopqrstuv"
    webhook_url = "https://backend.example.com/callbacks/gateway"
    ticket_url = "https://backend.example.com/internal/upload-tickets"
    message_template = "tmpl-picture-ready"
    message_page = "pages/artwork"
    message_fields = "thing1={title};phrase2={outcome};time3={time}"
    max_open = 3
    photos_per_day = 3
    max_photo_bytes = 100000
    max_sockets = 2
    socket_look_seconds = 1
    [generation.templates.portrait]
    credits = 3
    [generation.templates.lacking]
    title = "Lacking"
    credits = 1
"#;

pub struct Studio {
    pub market: Market,
    pub gateway: StudioGateway,
}

impl Studio {
    pub async fn on(engine: Engine) -> Self {
        let sim = wechat_sim::Config { hurry: 1_000, ..wechat_sim::Config::default() };
        Self::with(engine, sim, |_| String::new()).await
    }

    /// Where WeChat takes its time with pictures.
    pub async fn with_slow_checks(engine: Engine) -> Self {
        let slow = wechat_sim::Config { media_verdict_after_ms: 3_600_000, ..wechat_sim::Config::default() };
        Self::with(engine, slow, |_| String::new()).await
    }

    /// Inside WeChat's container: keys of the bucket are lent, and everything is signed here.
    pub async fn inside_the_container(engine: Engine) -> Self {
        let sim = wechat_sim::Config { hurry: 1_000, ..wechat_sim::Config::default() };
        let wechat = |sim: &WechatSim| {
            let (container, bucket) = (sim.container_url(), bucket_of(sim));
            format!(
                "inside_container = true\ncontainer_base = \"{container}\"\nbucket_endpoint = \"{bucket}\"\n"
            )
        };
        Self::with(engine, sim, wechat).await
    }

    async fn with(engine: Engine, sim: wechat_sim::Config, wechat: impl Fn(&WechatSim) -> String) -> Self {
        let (gateway, url) = StudioGateway::start().await;
        let Market { backend, sim, url: database } = Market::with_platform(engine, sim, |sim| {
            SETTINGS.replacen("[wechat]\n", &format!("[wechat]\n{}", wechat(sim)), 1)
        })
        .await;
        let backend = backend.restart_towards(&url).await;
        let market = Market { backend, sim, url: database };
        market.lead_here();
        Self { market, gateway }
    }

    /// backend-api ends politely and starts again on the same data.
    pub async fn restarts(self) -> Self {
        self.restarts_with(|_| {}).await
    }

    /// The same, with other settings.
    pub async fn restarts_with(self, change: impl FnOnce(&mut Config)) -> Self {
        let Self { market: Market { backend, sim, url }, gateway } = self;
        let studio =
            Self { market: Market { backend: backend.restart_with(change).await, sim, url }, gateway };
        studio.market.lead_here();
        studio
    }

    /// The same person after a restart.
    pub fn is_still(&self, (person, login): (Person, Login)) -> Customer<'_> {
        Customer { market: &self.market, person, login }
    }

    /// Somebody with so many credits.
    pub async fn customer(&self, credits: i64) -> Customer<'_> {
        let customer = self.market.comes().await;
        let admin = self.market.comes().await;
        let id = customer.login.id.clone();
        // Roles are granted in the table; a fresh login is not remembered with another one.
        self.market.execute("UPDATE users SET role = 'admin'").await;
        let request = admin.ask(Method::POST, "/admin/credits").header("Idempotency-Key", &id);
        let request = request.json(&json!({"user": id, "credits": credits.max(1)}));
        let (status, body) = answer(request.send().await.unwrap()).await;
        assert_eq!(status, 200, "{body}");
        self.market.execute("UPDATE users SET role = 'user'").await;
        customer
    }

    pub async fn reviewer(&self) -> Customer<'_> {
        let reviewer = self.market.comes().await;
        self.market.execute("UPDATE users SET role = 'admin'").await;
        let (status, body) = reviewer.get("/admin/reviews").await; // remembered from here
        assert_eq!(status, 200, "{body}");
        reviewer
    }

    /// What the gateway sends, rightly signed now.
    pub async fn hears(&self, path: &str, body: &Value) -> (u16, String) {
        self.hears_at(path, body, seconds_now()).await
    }

    pub async fn hears_at(&self, path: &str, body: &Value, at: u64) -> (u16, String) {
        let body = body.to_string();
        self.hears_signed(path, &body, &signature(&body, at)).await
    }

    pub async fn hears_signed(&self, path: &str, body: &str, signature: &str) -> (u16, String) {
        let request = self.market.backend.bare(Method::POST, path);
        let request = request.header("Darkroom-Signature", signature).body(body.to_owned());
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// Everything that is due later is due now.
    pub async fn time_passes(&self) {
        for table in ["artworks", "doomed_files", "photos"] {
            let update = format!("UPDATE {table} SET due_at = 1 WHERE due_at IS NOT NULL");
            self.market.execute(&update).await;
        }
    }

    /// An artwork whose pictures were made and checked: its id.
    pub async fn made_for(&self, customer: &Customer<'_>) -> String {
        let id = wants(customer, "一只猫").await;
        let job = self.job_of(&id);
        let event = self.gateway.succeed(&job, json!([output("cat.png")]));
        assert_eq!(self.hears("/callbacks/gateway", &event).await.0, 204);
        self.market.quiet().await;
        id
    }

    /// The job of an artwork, by its label.
    pub fn job_of(&self, artwork: &str) -> String {
        let jobs = self.gateway.jobs();
        let job = jobs.iter().find(|job| job["labels"]["artwork"] == artwork).unwrap();
        job["id"].as_str().unwrap().to_owned()
    }

    pub async fn books_balance(&self) {
        let reviewer = self.reviewer().await;
        let (status, body) = reviewer.get("/admin/ledger/audit").await;
        assert_eq!((status, &body["balanced"]), (200, &json!(true)), "{body}");
    }
}

/// Where the bucket of the simulated platform is: it stands in the name of the host.
pub fn bucket_of(sim: &WechatSim) -> Url {
    let location = sim.cos().location("");
    let base = location.split("endpoint=http://").nth(1).unwrap();
    Url::parse(&format!("http://{}.{base}", sim.config().bucket)).unwrap()
}

pub fn seconds_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub fn signature(body: &str, at: u64) -> String {
    let (id, secret) = SIGNING_KEY;
    let mac = sign(&Key::new(HMAC_SHA256, secret.as_bytes()), format!("{at}.{body}").as_bytes());
    format!("t={at},kid={id},v1={}", hex::encode(mac))
}

pub async fn asks(customer: &Customer<'_>, prompt: &str) -> (u16, Value) {
    customer.post("/artworks", json!({"template": "portrait", "inputs": {"prompt": prompt}})).await
}

/// Has a portrait made: its id.
pub async fn wants(customer: &Customer<'_>, prompt: &str) -> String {
    let (status, body) = asks(customer, prompt).await;
    assert_eq!(status, 201, "{body}");
    body["id"].as_str().unwrap().to_owned()
}

pub async fn sees(customer: &Customer<'_>, id: &str) -> Value {
    let (status, body) = customer.get(&format!("/artworks/{id}")).await;
    assert_eq!(status, 200, "{body}");
    body
}

/// Polls until the artwork is in that state.
pub async fn comes_to(customer: &Customer<'_>, id: &str, state: &str) -> Value {
    let deadline = tokio::time::Instant::now() + SOON;
    loop {
        let seen = sees(customer, id).await;
        if seen["state"] == state {
            return seen;
        }
        assert!(tokio::time::Instant::now() < deadline, "never {state}: {seen}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// What may be spent, and what is held.
pub async fn purse(customer: &Customer<'_>) -> (i64, i64) {
    let (status, body) = customer.get("/credits").await;
    assert_eq!(status, 200, "{body}");
    (body["available"].as_i64().unwrap(), body["held"].as_i64().unwrap())
}
