//! all that was said and logged. A process of its own: what is logged in it is of this session alone.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may")]

#[path = "http/world.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod world;

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use gateway::store::Scope;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tracing_subscriber::fmt::MakeWriter;

use world::{World, picture, slow_picture, until};

/// All that was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

const WEBHOOK_SECRET: &str = "xyzzy-webhook-secret-0451-of-32-bytes";
const PARTNER_KEY: &str = "xyzzy-partner-key-0451";
const PROMPT: &str = "xyzzy a very private prompt 0451";

#[tokio::test]
async fn no_secret_is_logged_counted_or_told() {
    let log = Log::default();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();

    let world = World::with(vec![comfyui_sim::Config::default()], "drain_seconds = 1\n").await;
    let admin = world.key("ops", Scope::Admin).await;
    let key = world.key("club", Scope::Submit).await;
    world.usable().await;
    let mut said: Vec<String> = Vec::new();
    let mut ask = async |key: &str, method: Method, path: &str, body: Value| {
        let request = world.request(method, path).bearer_auth(key);
        let request = if body.is_null() { request } else { request.json(&body) };
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), format!("{:?}", response.headers()));
        let text = response.text().await.unwrap();
        said.push(format!("{headers} {text}"));
        (status, serde_json::from_str::<Value>(&text).unwrap_or(Value::Null))
    };

    let keys = json!([{"id": "k1", "secret": WEBHOOK_SECRET}]);
    let settings = json!({"settings": {"webhook": {"url": "https://b.example/x", "keys": keys}}});
    assert_eq!(ask(&admin, Method::PATCH, "/v1/tenants/club", settings).await.0, StatusCode::OK);
    let bad = json!({"settings": {"webhook": {"keys": [{"id": "k1", "secret": WEBHOOK_SECRET, "x": 1}]}}});
    assert!(ask(&admin, Method::PATCH, "/v1/tenants/club", bad).await.0.is_client_error());
    for path in
        ["/v1/tenants", "/v1/tenants/club", "/v1/keys", "/v1/audit", "/v1/tenants/club/export", "/v1/fleet"]
    {
        assert_eq!(ask(&admin, Method::GET, path, Value::Null).await.0, StatusCode::OK, "{path}");
    }

    let mut graph = picture(1);
    graph["2"]["_meta"] = json!({"title": PROMPT});
    let body = json!({"workflow": graph, "extra_data": {"api_key_comfy_org": PARTNER_KEY}});
    let (status, job) = ask(&key, Method::POST, "/api/v2/jobs", body).await;
    assert_eq!(status, StatusCode::CREATED, "{job}");
    let path = format!("/v1/jobs/{}", job["id"].as_str().unwrap());
    until("it is done", async || {
        let look = world.request(Method::GET, &path).bearer_auth(&key).send().await.unwrap();
        (look.json::<Value>().await.unwrap()["status"] == "succeeded").then_some(())
    })
    .await;
    let sleepy = json!({"workflow": slow_picture(60.0)});
    let (_, waiting) = ask(&key, Method::POST, "/v1/jobs", sleepy).await;
    let explain = format!("/v1/jobs/{}/explain", waiting["id"].as_str().unwrap());
    for path in [path.as_str(), explain.as_str(), "/v1/jobs", "/api/v2/jobs"] {
        ask(&key, Method::GET, path, Value::Null).await;
    }
    let mut broken = picture(1);
    broken["2"]["inputs"]["filename_prefix"] = json!("../x");
    broken["2"]["_meta"] = json!({"title": PROMPT});
    let broken = json!({"workflow": broken, "extra_data": {"api_key_comfy_org": PARTNER_KEY}});
    assert!(ask(&key, Method::POST, "/api/v2/jobs", broken).await.0.is_client_error());
    for wrong in ["dk_xyzzy-wrong-key-0451", "xyzzy-no-key-0451"] {
        assert_eq!(ask(wrong, Method::GET, "/v1/jobs", Value::Null).await.0, StatusCode::UNAUTHORIZED);
    }
    ask(&admin, Method::GET, "/metrics", Value::Null).await;

    let made = json!({"tenant": "club", "scope": "read"});
    let shown_once =
        world.request(Method::POST, "/v1/keys").bearer_auth(&admin).json(&made).send().await.unwrap();
    assert_eq!(shown_once.headers()["cache-control"], "no-store");
    let shown_once: Value = shown_once.json().await.unwrap();
    let shown_once = shown_once["key"].as_str().unwrap().to_owned();
    world.app.drain().await;

    let logged = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(logged.contains("request answered"), "the log was listened to: {logged}");
    let secrets =
        [&admin, &key, &shown_once, WEBHOOK_SECRET, PARTNER_KEY, "xyzzy-wrong-key-0451", "xyzzy-no-key-0451"];
    for secret in secrets {
        assert!(!logged.contains(secret), "in the log: {secret}");
        assert!(!said.iter().any(|text| text.contains(secret)), "told: {secret}");
    }
    assert!(!logged.contains(PROMPT), "workflows are not logged");
}
