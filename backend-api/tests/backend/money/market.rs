//! A backend-api with the simulated WeChat beside it: people log in, pay, and the platform calls back.

use std::time::Duration;

use backend_api::config::Config;
use reqwest::{Method, RequestBuilder};
use sea_orm::{ConnectionTrait as _, DatabaseConnection};
use serde_json::{Value, json};
use tempfile::TempDir;
use wechat_sim::{CourierFault, Format, Guard, Mishap, Person, Push, WechatSim};

use crate::engines::Engine;
use crate::people::{CHORES, IDENTITY_SECRET, Login};
use crate::support::{Backend, answer};

pub const SOON: Duration = Duration::from_secs(30);
pub const PAY: &str = "https://pay.example.com";
pub const PUSH_TOKEN: &str = "push-token-of-tests";

/// Items as the simulated platform knows its products.
pub const SHOP: &str = r#"
    gateway.request_timeout_seconds = 1
    [shop]
    look_every_seconds = 1
    first_look_seconds = 1
    [shop.items.credits_100]
    title = "100 点"
    price_fen = 990
    credits = 100
    [shop.items.lesson]
    title = "一节网球课"
    price_fen = 12000
    [chores]
    # a run beside a test would take what the test has just prepared
    after_requests_seconds = 0
    bills_after_seconds = 86400
    bills_days_back = 1
    [http]
    writes_per_minute = 1000
    reads_per_minute = 1000
"#;

pub struct Market {
    pub backend: Backend,
    pub sim: WechatSim,
    pub url: String,
}

impl Market {
    pub async fn on(engine: Engine) -> Self {
        Self::with(engine, |_| String::new()).await
    }

    /// With settings that follow from the simulated platform beside those of the shop.
    pub async fn with(engine: Engine, file: impl Fn(&WechatSim) -> String) -> Self {
        let sim = wechat_sim::Config { hurry: 1_000, ..wechat_sim::Config::default() };
        Self::with_platform(engine, sim, file).await
    }

    /// With a platform of that kind.
    pub async fn with_platform(
        engine: Engine,
        sim: wechat_sim::Config,
        file: impl Fn(&WechatSim) -> String,
    ) -> Self {
        let sim = WechatSim::start(sim).await.unwrap();
        let folder = TempDir::new().unwrap();
        let url = engine.fresh(&folder).await;
        let variables = environment(&sim, &url);
        let env =
            |asked: &str| variables.iter().find(|(name, _)| *name == asked).map(|(_, value)| value.clone());
        let config = Config::resolve(&format!("{SHOP}{}", file(&sim)), &env).unwrap();
        let backend = Backend::start_with(folder, config).await;
        let market = Self { backend, sim, url };
        market.lead_here();
        market
    }

    /// Leads what the platform sends to this backend-api.
    pub fn lead_here(&self) {
        let base = self.base();
        self.sim.container_service(&base);
        self.sim.route(PAY, &base);
        let guard = Guard::Plain { token: PUSH_TOKEN.to_owned() };
        self.sim.push_to(Push {
            url: format!("{base}/callbacks/wechat-events"),
            format: Format::Json,
            guard,
        });
    }

    pub fn base(&self) -> String {
        let url = self.backend.bare(Method::GET, "/").build().unwrap().url().to_string();
        url.trim_end_matches('/').to_owned()
    }

    pub async fn comes(&self) -> Customer<'_> {
        let person = self.sim.person();
        let login = self.login(&person).await;
        Customer { market: self, person, login }
    }

    /// Somebody who may do everything.
    pub async fn admin(&self) -> Customer<'_> {
        let customer = self.comes().await;
        self.execute("UPDATE users SET role = 'admin'").await;
        customer
    }

    pub async fn login(&self, person: &Person) -> Login {
        let body = json!({"code": person.login_code()});
        let request = self.backend.bare(Method::POST, "/auth/login").json(&body);
        let (status, body) = answer(request.send().await.unwrap()).await;
        assert_eq!(status, 200, "{body}");
        Login::of(&body)
    }

    pub async fn chores(&self) -> Value {
        let request = self.backend.bare(Method::POST, "/internal/chores").bearer_auth(CHORES);
        let (status, body) = answer(request.send().await.unwrap()).await;
        assert_eq!(status, 200, "{body}");
        body
    }

    /// Everything that is due later is due now.
    pub async fn time_passes(&self) {
        for table in ["orders", "refunds", "bills"] {
            self.execute(&format!("UPDATE {table} SET due_at = 1 WHERE due_at IS NOT NULL")).await;
        }
    }

    pub async fn beside(&self) -> DatabaseConnection {
        sea_orm::Database::connect(&self.url).await.unwrap()
    }

    pub async fn execute(&self, sql: &str) {
        self.beside().await.execute_unprepared(sql).await.unwrap();
    }

    pub async fn quiet(&self) {
        self.sim.quiet(SOON).await.unwrap();
    }

    /// Statuses that the platform got for what it sent of this kind.
    pub fn answers(&self, kind: &str) -> Vec<u16> {
        let sent = self.sim.deliveries().into_iter().filter(|sent| sent.kind == kind);
        sent.filter_map(|sent| sent.status).collect()
    }
}

pub fn environment(sim: &WechatSim, url: &str) -> Vec<(&'static str, String)> {
    let (merchant, config) = (sim.merchant(), sim.config());
    vec![
        ("BACKEND_LISTEN", "127.0.0.1:0".to_owned()),
        ("BACKEND_DATABASE_URL", url.to_owned()),
        ("BACKEND_GATEWAY_URL", "http://127.0.0.1:9".to_owned()),
        ("BACKEND_IDENTITY_SECRET", IDENTITY_SECRET.to_owned()),
        ("BACKEND_CHORES_TOKEN", CHORES.to_owned()),
        ("BACKEND_WECHAT_APP_ID", config.appid.clone()),
        ("BACKEND_WECHAT_SECRET", config.secret.clone()),
        ("BACKEND_WECHAT_API_BASE", sim.url()),
        ("BACKEND_WECHAT_PUSH_TOKEN", PUSH_TOKEN.to_owned()),
        ("BACKEND_PAY_MCHID", merchant.mchid),
        ("BACKEND_PAY_SERIAL", merchant.serial),
        ("BACKEND_PAY_PRIVATE_KEY", merchant.private_key_pem),
        ("BACKEND_PAY_API_V3_KEY", merchant.api_v3_key),
        ("BACKEND_PAY_PUBLIC_KEY_ID", merchant.public_key_id.unwrap_or_default()),
        ("BACKEND_PAY_PUBLIC_KEY", merchant.public_key_pem.unwrap_or_default()),
        ("BACKEND_PAY_NOTIFY_URL", format!("{PAY}/callbacks/wechat-pay")),
        ("BACKEND_PAY_BASE", sim.url()),
        ("BACKEND_VIRTUAL_PAYMENT_OFFER_ID", config.offer_id.clone()),
        ("BACKEND_VIRTUAL_PAYMENT_APP_KEY", config.app_key.clone()),
    ]
}

/// Somebody in the mini program.
pub struct Customer<'a> {
    pub market: &'a Market,
    pub person: Person,
    pub login: Login,
}

impl Customer<'_> {
    pub fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        self.market.backend.bare(method, path).bearer_auth(&self.login.access)
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        answer(self.ask(Method::GET, path).send().await.unwrap()).await
    }

    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        answer(self.ask(Method::POST, path).json(&body).send().await.unwrap()).await
    }

    pub async fn orders_under(&self, key: &str, item: &str) -> (u16, Value) {
        let request = self.ask(Method::POST, "/orders").header("Idempotency-Key", key);
        answer(request.json(&json!({"item": item})).send().await.unwrap()).await
    }

    /// Orders the item: the order, and what the client's payment call gets.
    pub async fn orders(&self, item: &str) -> (Value, Value) {
        let (status, body) = self.post("/orders", json!({"item": item})).await;
        assert_eq!(status, 201, "{body}");
        (body["order"].clone(), body["payment"].clone())
    }

    pub async fn order(&self, order: &Value) -> Value {
        let (status, body) = self.get(&format!("/orders/{}", order["id"].as_str().unwrap())).await;
        assert_eq!(status, 200, "{body}");
        body
    }

    pub async fn state(&self, order: &Value) -> String {
        self.order(order).await["state"].as_str().unwrap().to_owned()
    }

    /// As the list has it: nobody is asked.
    pub async fn known_state(&self, order: &Value) -> String {
        let (status, body) = self.get("/orders").await;
        assert_eq!(status, 200, "{body}");
        let orders = body["orders"].as_array().unwrap();
        let found = orders.iter().find(|found| found["id"] == order["id"]).unwrap();
        found["state"].as_str().unwrap().to_owned()
    }

    pub async fn credits(&self) -> i64 {
        let (status, body) = self.get("/credits").await;
        assert_eq!(status, 200, "{body}");
        body["available"].as_i64().unwrap()
    }

    pub async fn audit(&self) -> Value {
        let (status, body) = self.get("/admin/ledger/audit").await;
        assert_eq!((status, &body["balanced"]), (200, &json!(true)), "{body}");
        body
    }
}

/// The platform's name of an order.
pub fn number(order: &Value) -> String {
    order["id"].as_str().unwrap().replace('-', "")
}

/// Callbacks and events of this kind never come.
pub fn lose(matching: &str, times: u32) -> CourierFault {
    CourierFault { matching: matching.to_owned(), times, mishap: Mishap::Lose }
}
