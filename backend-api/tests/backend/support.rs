//! A backend-api on a free port with its own data folder, and the shortest words to use it.

use std::time::Duration;

use backend_api::app::App;
use backend_api::config::Config;
use reqwest::{Client, Method, RequestBuilder, Response, Url};
use serde_json::Value;
use tempfile::TempDir;

use crate::stub_gateway::{KEY, StubGateway};

pub struct Backend {
    app: App,
    config: Config,
    pub client: Client,
    pub folder: TempDir,
}

/// Settings as an operator would give them: by environment.
pub fn config(folder: &TempDir, gateway: &Url) -> Config {
    let env = |name: &str| match name {
        "BACKEND_LISTEN" => Some("127.0.0.1:0".to_owned()),
        "BACKEND_DATA_DIR" => Some(folder.path().join("data").display().to_string()),
        "BACKEND_GATEWAY_URL" => Some(gateway.to_string()),
        "BACKEND_GATEWAY_KEY" => Some(KEY.to_owned()),
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

    pub async fn get(&self, path: &str) -> (u16, Value) {
        answer(self.bare(Method::GET, path).send().await.unwrap()).await
    }
}

pub async fn gateway_and_backend() -> (StubGateway, Backend) {
    let gateway = StubGateway::start().await;
    let backend = Backend::start(&gateway.url).await;
    (gateway, backend)
}

pub async fn answer(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    let body = serde_json::from_str(&text)
        .unwrap_or_else(|_| panic!("{status} with a body that is not JSON: {text}"));
    (status, body)
}

/// Polls `done` until it holds.
pub async fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(tokio::time::Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
