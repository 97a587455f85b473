//! A gateway with its servers, and how tests speak to it.

use std::time::Duration;

use comfyui_sim::{Config as SimConfig, Simulator};
use gateway::app::App;
use gateway::config::Config;
use gateway::store::Scope;
use gateway::store::sqlite::SqliteStore;
use gateway::tenant::KeyRequest;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct World {
    pub app: App,
    pub sims: Vec<Simulator>,
    pub client: reqwest::Client,
    pub base: String,
    config: Config,
    folder: TempDir,
}

impl World {
    /// A gateway over one instant simulator, once it is ready to take work there.
    pub async fn start() -> Self {
        let world = Self::with(vec![SimConfig::default()], "").await;
        world.usable().await;
        world
    }

    /// A gateway over these simulators, with more configuration (TOML).
    pub async fn with(sims: Vec<SimConfig>, toml: &str) -> Self {
        Self::with_settings(sims, toml, &json!({}), tempfile::tempdir().unwrap()).await
    }

    /// The same with settings of the tenant that everybody is by the open door.
    pub async fn with_settings(sims: Vec<SimConfig>, toml: &str, settings: &Value, folder: TempDir) -> Self {
        let mut started = Vec::new();
        for sim in sims {
            started.push(Simulator::start(sim).await.unwrap());
        }
        let instances: Vec<_> = started.iter().map(Simulator::url).collect();
        let data = folder.path().join("data").display().to_string();
        let config = Config::from_text(toml, |name| match name {
            "GATEWAY_LISTEN" => Some("127.0.0.1:0".into()),
            "GATEWAY_DATA_DIR" => Some(data.clone()),
            "GATEWAY_INSTANCES" => Some(instances.join(",")).filter(|urls| !urls.is_empty()),
            _ => None,
        });
        std::fs::create_dir_all(folder.path().join("data")).unwrap();
        if settings != &json!({}) {
            let file = folder.path().join("data/gateway.sqlite3");
            drop(SqliteStore::open(&file).unwrap());
            let database = rusqlite::Connection::open(&file).unwrap();
            database.execute("UPDATE tenants SET settings = ?1", [settings.to_string()]).unwrap();
        }
        Self::over(folder, started, config.unwrap()).await
    }

    async fn over(folder: TempDir, sims: Vec<Simulator>, config: Config) -> Self {
        let app = App::start(config.clone()).await.unwrap();
        let base = format!("http://{}", app.address());
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { app, sims, client, base, config, folder }
    }

    /// The gateway ends and another one starts on its data and its servers.
    pub async fn restart(self) -> Self {
        let Self { app, sims, config, folder, client, .. } = self;
        drop(client);
        app.drain().await;
        // Whoever holds the store last lets go of its file a moment later.
        let lock = config.database.clone();
        until("the store is free", || async { SqliteStore::open(&lock).ok().map(drop) }).await;
        Self::over(folder, sims, config).await
    }

    /// Changes the settings of the next start.
    pub fn reconfigure(&mut self, change: impl FnOnce(&mut Config)) {
        change(&mut self.config);
    }

    /// Waits until the gateway knows what its servers offer.
    pub async fn usable(&self) {
        until("the fleet is usable", || async {
            let fleet = self.app.engine().fleet();
            (!fleet.catalogues.is_empty() && fleet.instances.iter().all(|instance| instance.up)).then_some(())
        })
        .await;
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    pub async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    pub async fn get_json(&self, path: &str) -> Value {
        let response = self.get(path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.json().await.unwrap()
    }

    pub async fn post(&self, path: &str, body: &Value) -> Response {
        self.request(Method::POST, path).json(body).send().await.unwrap()
    }

    /// Submits by v2; the job.
    pub async fn submit(&self, workflow: Value) -> Value {
        let response = self.post("/api/v2/jobs", &json!({"workflow": workflow})).await;
        let status = response.status();
        let job: Value = response.json().await.unwrap();
        assert_eq!(status, StatusCode::CREATED, "{job}");
        job
    }

    /// Polls until the job has this status.
    pub async fn reaches(&self, path: &str, status: &str) -> Value {
        until(&format!("{path} is {status}"), || async {
            let job = self.get_json(path).await;
            (job["status"] == status).then_some(job)
        })
        .await
    }

    /// Uploads a file; its asset's id.
    pub async fn upload(&self, name: &str, bytes: Vec<u8>) -> String {
        let form = reqwest::multipart::Form::new()
            .text("content_type", "image/png")
            .text("file_path", name.to_owned())
            .part("file", reqwest::multipart::Part::bytes(bytes));
        let response = self.request(Method::POST, "/api/v2/assets").multipart(form).send().await.unwrap();
        let asset: Value = response.json().await.unwrap();
        asset["id"].as_str().unwrap().to_owned()
    }

    pub async fn key(&self, tenant: &str, scope: Scope) -> String {
        let request = KeyRequest { tenant: tenant.into(), scope, weight: 1, concurrency: u32::MAX };
        self.app.tenants().create_key(request).await.unwrap().secret.0
    }
}

/// Tries until there is something, or fails in time.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut attempt: impl FnMut() -> F) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = attempt().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A picture that differs with its colour.
pub fn picture(color: u32) -> Value {
    json!({
        "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": color}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "pic"}},
    })
}

/// A picture that takes its time.
pub fn slow_picture(seconds: f64) -> Value {
    json!({
        "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": 1}},
        "2": {"class_type": "TestSleep", "inputs": {"value": ["1", 0], "seconds": seconds}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "slow"}},
    })
}

/// The code of a v2 failure.
pub async fn v2_code(response: Response, status: StatusCode) -> String {
    assert_eq!(response.status(), status);
    assert_eq!(response.headers()["content-type"], "application/json");
    let body: Value = response.json().await.unwrap();
    assert!(body["error"]["message"].is_string(), "{body}");
    assert!(body["error"].get("details").is_some(), "{body}");
    body["error"]["code"].as_str().unwrap().to_owned()
}

/// The code of a problem document.
pub async fn problem_code(response: Response, status: StatusCode) -> String {
    assert_eq!(response.status(), status);
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["status"], status.as_u16());
    body["code"].as_str().unwrap().to_owned()
}
