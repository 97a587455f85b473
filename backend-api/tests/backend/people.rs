//! A backend-api with a WeChat beside it, and people who use it.

use backend_api::config::Config;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::engines::Engine;
use crate::stub_gateway::{KEY, StubGateway};
use crate::stub_wechat::{APP_ID, SECRET, StubWechat};
use crate::support::{Backend, answer};

pub const IDENTITY_SECRET: &str = "identity-secret-of-tests-32-bytes-long";
pub const PARTNER: (&str, &str) = ("club", "partner-secret-of-tests");
pub const CHORES: &str = "chores-token-of-tests";
pub const METRICS: &str = "metrics-token-of-tests";

pub struct World {
    pub backend: Backend,
    pub wechat: StubWechat,
    pub gateway: StubGateway,
}

/// A person's tokens.
#[derive(Debug, Clone)]
pub struct Login {
    pub access: String,
    pub refresh: String,
    pub id: String,
}

/// The environment in which everything is set up.
pub async fn environment(
    engine: Engine,
    folder: &TempDir,
    wechat: &StubWechat,
    gateway: &StubGateway,
) -> Vec<(&'static str, String)> {
    vec![
        ("BACKEND_LISTEN", "127.0.0.1:0".to_owned()),
        ("BACKEND_DATABASE_URL", engine.fresh(folder).await),
        ("BACKEND_GATEWAY_URL", gateway.url.to_string()),
        ("BACKEND_GATEWAY_KEY", KEY.to_owned()),
        ("BACKEND_IDENTITY_SECRET", IDENTITY_SECRET.to_owned()),
        ("BACKEND_WECHAT_APP_ID", APP_ID.to_owned()),
        ("BACKEND_WECHAT_SECRET", SECRET.to_owned()),
        ("BACKEND_WECHAT_API_BASE", wechat.url.to_string()),
        ("BACKEND_PARTNER_ID", PARTNER.0.to_owned()),
        ("BACKEND_PARTNER_SECRET", PARTNER.1.to_owned()),
        ("BACKEND_CHORES_TOKEN", CHORES.to_owned()),
        ("BACKEND_METRICS_TOKEN", METRICS.to_owned()),
    ]
}

impl World {
    pub async fn on(engine: Engine) -> Self {
        Self::with(engine, "").await
    }

    /// With settings of a file beside those of the environment.
    pub async fn with(engine: Engine, file: &str) -> Self {
        Self::by(engine, file, |_| {}).await
    }

    /// The same, with some of the environment changed.
    pub async fn by(
        engine: Engine,
        file: &str,
        change: impl FnOnce(&mut Vec<(&'static str, String)>),
    ) -> Self {
        let (folder, wechat, gateway) =
            (TempDir::new().unwrap(), StubWechat::start().await, StubGateway::start().await);
        let mut variables = environment(engine, &folder, &wechat, &gateway).await;
        change(&mut variables);
        let env =
            |asked: &str| variables.iter().find(|(name, _)| *name == asked).map(|(_, value)| value.clone());
        let config = Config::resolve(&format!("gateway.request_timeout_seconds = 1\n{file}"), &env).unwrap();
        Self { backend: Backend::start_with(folder, config).await, wechat, gateway }
    }

    /// As `--role app` behind WeChat, where its headers count.
    pub async fn app(engine: Engine) -> Self {
        Self::with(
            engine,
            "role = \"app\"\n[http]\npublic_access = false\n[identity]\ntrust_wx_headers = true",
        )
        .await
    }

    pub fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        self.backend.bare(method, path)
    }

    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        answer(self.ask(Method::POST, path).json(&body).send().await.unwrap()).await
    }

    pub async fn login_code(&self, code: &str) -> (u16, Value) {
        self.post("/auth/login", json!({"code": code})).await
    }

    /// Logs a person in by WeChat.
    pub async fn login(&self, openid: &str) -> Login {
        let (status, body) = self.login_code(&format!("as-{openid}")).await;
        assert_eq!(status, 200, "{body}");
        Login::of(&body)
    }

    pub async fn refresh(&self, token: &str) -> (u16, Value) {
        self.post("/auth/refresh", json!({"refresh_token": token})).await
    }

    pub async fn get_as(&self, login: &Login, path: &str) -> (u16, Value) {
        answer(self.ask(Method::GET, path).bearer_auth(&login.access).send().await.unwrap()).await
    }

    pub async fn post_as(&self, login: &Login, path: &str, body: Value) -> (u16, Value) {
        let request = self.ask(Method::POST, path).bearer_auth(&login.access).json(&body);
        answer(request.send().await.unwrap()).await
    }

    /// A status without a body.
    pub async fn status_as(&self, login: &Login, method: Method, path: &str) -> u16 {
        self.ask(method, path).bearer_auth(&login.access).send().await.unwrap().status().as_u16()
    }
}

impl Login {
    pub fn of(body: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{body}")).to_owned();
        Self {
            access: text(&body["access_token"]),
            refresh: text(&body["refresh_token"]),
            id: text(&body["user"]["id"]),
        }
    }
}

/// The stable code of a refusal.
pub fn code(body: &Value) -> &str {
    body["error"]["code"].as_str().unwrap_or_else(|| panic!("{body}"))
}
