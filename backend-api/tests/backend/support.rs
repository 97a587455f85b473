//! A backend-api on a free port with its own data folder, and the shortest words to use it.

use std::time::Duration;

use backend_api::app::App;
use backend_api::config::Config;
use reqwest::{Client, Method, RequestBuilder, Response, Url};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::engines::Engine;
use crate::stub_gateway::{KEY, StubGateway};

pub const TOKEN: &str = "service-token-of-tests";

pub struct Backend {
    app: App,
    config: Config,
    pub client: Client,
    pub folder: TempDir,
}

/// Settings as an operator would give them: by environment.
pub fn config(folder: &TempDir, gateway: &Url) -> Config {
    resolve(folder, gateway, None)
}

/// The same on a fresh database of another kind.
pub async fn config_on(engine: Engine, folder: &TempDir, gateway: &Url) -> Config {
    resolve(folder, gateway, Some(engine.fresh(folder).await))
}

fn resolve(folder: &TempDir, gateway: &Url, database: Option<String>) -> Config {
    let env = |name: &str| match name {
        "BACKEND_DATABASE_URL" => database.clone(),
        "BACKEND_LISTEN" => Some("127.0.0.1:0".to_owned()),
        "BACKEND_DATA_DIR" => Some(folder.path().join("data").display().to_string()),
        "BACKEND_GATEWAY_URL" => Some(gateway.to_string()),
        "BACKEND_GATEWAY_KEY" => Some(KEY.to_owned()),
        "BACKEND_SERVICE_TOKEN" => Some(TOKEN.to_owned()),
        _ => None,
    };
    Config::resolve("gateway.request_timeout_seconds = 1", &env).unwrap()
}

impl Backend {
    pub async fn start(gateway: &Url) -> Self {
        let folder = TempDir::new().unwrap();
        let config = config(&folder, gateway);
        Self::start_with(folder, config).await
    }

    pub async fn start_on(engine: Engine, gateway: &Url) -> Self {
        let folder = TempDir::new().unwrap();
        let config = config_on(engine, &folder, gateway).await;
        Self::start_with(folder, config).await
    }

    pub async fn start_with(folder: TempDir, config: Config) -> Self {
        let app = App::start(config.clone()).await.unwrap();
        Self { app, config, client: Client::builder().no_proxy().build().unwrap(), folder }
    }

    /// Stops it politely and starts it again on the same data.
    pub async fn restart(self) -> Self {
        self.app.drain().await.unwrap();
        Self::start_with(self.folder, self.config).await
    }

    /// The same, with a gateway elsewhere.
    pub async fn restart_towards(self, gateway: &Url) -> Self {
        self.restart_with(|config| config.gateway.url = gateway.clone()).await
    }

    /// The same, with other settings.
    pub async fn restart_with(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self.restart().await
    }

    pub fn database(&self) -> std::path::PathBuf {
        self.folder.path().join("data/backend.sqlite3")
    }

    pub fn bare(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.app.address()))
    }

    pub async fn post_work(&self, body: Value) -> (u16, Value) {
        answer(self.bare(Method::POST, "/works").bearer_auth(TOKEN).json(&body).send().await.unwrap()).await
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        answer(self.bare(Method::GET, path).bearer_auth(TOKEN).send().await.unwrap()).await
    }

    pub async fn get_work(&self, work: &Value) -> Value {
        let (status, seen) = self.get(&format!("/works/{}", work["id"].as_str().unwrap())).await;
        assert_eq!(status, 200, "{seen}");
        seen
    }
}

pub async fn gateway_and_backend() -> (StubGateway, Backend) {
    let gateway = StubGateway::start().await;
    let backend = Backend::start(&gateway.url).await;
    (gateway, backend)
}

pub async fn gateway_and_backend_on(engine: Engine) -> (StubGateway, Backend) {
    let gateway = StubGateway::start().await;
    let backend = Backend::start_on(engine, &gateway.url).await;
    (gateway, backend)
}

pub async fn answer(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    let body = serde_json::from_str(&text)
        .unwrap_or_else(|_| panic!("{status} with a body that is not JSON: {text}"));
    (status, body)
}

/// A request any gateway would take.
pub fn order() -> Value {
    json!({"workflow": {"1": {"class_type": "SaveImage", "inputs": {}}}})
}

/// Polls `done` until it holds.
pub async fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(tokio::time::Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
