//! A simulated platform with our clients of it, and a receiver of what it sends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use backend_api::domain::OpenId;
use backend_api::wechat::pay::{self, Merchant, PlatformKey};
use backend_api::wechat::storage::Place;
use backend_api::wechat::{Bounds, Options, Platform, xpay};
use wechat_sim::{Config, KeyMode, Person, WechatSim};

pub const SOON: Duration = Duration::from_secs(20);

/// What came to a receiver: the query, the headers, the bytes.
pub type Heard = (HashMap<String, String>, HeaderMap, Bytes);

pub struct World {
    pub sim: WechatSim,
    /// As outside the container.
    pub platform: Platform,
    pub receiver: Receiver,
}

impl World {
    pub async fn new() -> Self {
        Self::with(Config::default()).await
    }

    pub async fn with(config: Config) -> Self {
        let receiver = Receiver::start().await;
        let sim = WechatSim::start(Config { hurry: 1_000_000, ..config }).await.unwrap();
        sim.route("https://callbacks.example.com", &receiver.url);
        let platform = Platform::new(options(&sim)).unwrap();
        Self { sim, platform, receiver }
    }

    /// As inside the container.
    pub fn inside(&self) -> Platform {
        let container_base = Some(self.sim.container_url().parse().unwrap());
        Platform::new(Options { container_base, ..options(&self.sim) }).unwrap()
    }

    pub fn merchant(&self) -> Merchant {
        Merchant::new(self.merchant_options()).unwrap()
    }

    pub fn merchant_options(&self) -> pay::Options {
        let merchant = self.sim.merchant();
        let keys = merchant.public_key_id.zip(merchant.public_key_pem);
        pay::Options {
            app_id: merchant.appid,
            merchant_id: merchant.mchid,
            serial: merchant.serial,
            private_key: merchant.private_key_pem.into(),
            api_v3_key: merchant.api_v3_key.into(),
            platform_keys: keys.into_iter().map(|(id, pem)| PlatformKey::Public { id, pem }).collect(),
            fetch_certificates: self.sim.config().key_mode != KeyMode::PublicKey,
            notify_url: "https://callbacks.example.com/callbacks/wechat-pay".parse().unwrap(),
            refund_notify_url: "https://callbacks.example.com/callbacks/wechat-pay/refunds".parse().unwrap(),
            base: self.sim.url().parse().unwrap(),
            backup_base: None,
            bounds: Bounds::default(),
            bill_timeout: SOON,
            max_bill_bytes: 1 << 20,
        }
    }

    pub fn shop(&self) -> xpay::Virtual {
        let config = self.sim.config();
        let options = xpay::Options {
            offer_id: config.offer_id.clone(),
            app_key: config.app_key.clone().into(),
            environment: xpay::Environment::Production,
        };
        xpay::Virtual::new(self.platform.clone(), options)
    }

    /// Waits until nothing is on its way; what came.
    pub async fn heard(&self) -> Vec<Heard> {
        self.sim.quiet(SOON).await.unwrap();
        self.receiver.heard.lock().unwrap().clone()
    }
}

fn options(sim: &WechatSim) -> Options {
    let config = sim.config();
    let endpoint = sim.cos().bind_domain();
    Options {
        api_base: sim.url().parse().unwrap(),
        storage: Some(Place {
            env: config.env.clone(),
            bucket: config.bucket.clone(),
            region: "ap-shanghai".to_owned(),
            endpoint: Some(endpoint.parse().unwrap()),
            lifetime: Duration::from_secs(600),
        }),
        retry_pause: Duration::from_millis(1),
        ..Options::new(&config.appid, config.secret.clone().into())
    }
}

pub fn openid(person: &Person) -> OpenId {
    OpenId::new(person.openid())
}

/// Takes everything and writes it down.
pub struct Receiver {
    pub url: String,
    pub heard: Arc<Mutex<Vec<Heard>>>,
    /// What it answers.
    pub says: Arc<Mutex<String>>,
}

type Shared = (Arc<Mutex<Vec<Heard>>>, Arc<Mutex<String>>);

impl Receiver {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared: Shared = Shared::default();
        let app = Router::new().fallback(hear).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, heard: shared.0, says: shared.1 }
    }
}

async fn hear(
    State((heard, says)): State<Shared>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    heard.lock().unwrap().push((query, headers, body));
    (StatusCode::OK, says.lock().unwrap().clone())
}
