//! WeChat's platform as far as identity asks it. Codes say what they stand for: `as-<openid>` logs that person in,
//! `errcode-<number>` is refused with that number, `hang` never answers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use reqwest::Url;
use serde_json::{Value, json};

pub const APP_ID: &str = "wx0123456789abcdef";
pub const SECRET: &str = "app-secret-of-the-stub";
/// What every session key begins with, so that a leak is found.
pub const SESSION_KEY: &str = "session-key-of-";
pub const PHONE: &str = "13800138000";

#[derive(Default)]
struct Inner {
    exchanges: usize,
    is_key_stale: bool,
}

#[derive(Clone)]
pub struct StubWechat {
    inner: Arc<Mutex<Inner>>,
    pub url: Url,
}

impl StubWechat {
    pub async fn start() -> Self {
        let inner = Arc::<Mutex<Inner>>::default();
        let router = Router::new()
            .route("/sns/jscode2session", get(exchange))
            .route("/cgi-bin/stable_token", post(token))
            .route("/wxa/business/getuserphonenumber", post(phone))
            .route("/wxa/checksession", get(check))
            .with_state(inner.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { inner, url }
    }

    /// How often a login code was exchanged.
    pub fn exchanges(&self) -> usize {
        self.inner.lock().unwrap().exchanges
    }

    /// From now on every session key counts as replaced.
    pub fn replace_session_keys(&self) {
        self.inner.lock().unwrap().is_key_stale = true;
    }
}

type Shared = State<Arc<Mutex<Inner>>>;

fn refused(code: &str) -> Option<Value> {
    let errcode: i64 = code.strip_prefix("errcode-")?.parse().unwrap();
    Some(json!({"errcode": errcode, "errmsg": "refused by the stub"}))
}

async fn exchange(State(inner): Shared, Query(query): Query<HashMap<String, String>>) -> Json<Value> {
    inner.lock().unwrap().exchanges += 1;
    assert_eq!((query["appid"].as_str(), query["secret"].as_str()), (APP_ID, SECRET));
    let code = &query["js_code"];
    if code == "hang" {
        std::future::pending::<()>().await;
    }
    if let Some(refusal) = refused(code) {
        return Json(refusal);
    }
    match code.strip_prefix("as-") {
        Some(openid) => Json(json!({
            "openid": openid, "unionid": format!("union-{openid}"), "session_key": format!("{SESSION_KEY}{openid}"),
        })),
        None => Json(json!({"errcode": 40029, "errmsg": "invalid code"})),
    }
}

async fn token() -> Json<Value> {
    Json(json!({"access_token": "stub-access-token", "expires_in": 7200}))
}

async fn phone(Json(body): Json<Value>) -> Json<Value> {
    let code = body["code"].as_str().unwrap();
    Json(refused(code).unwrap_or_else(|| {
        json!({"errcode": 0, "errmsg": "ok", "phone_info": {
            "phoneNumber": format!("+86{PHONE}"), "purePhoneNumber": PHONE, "countryCode": "86",
            "watermark": {"timestamp": 1, "appid": APP_ID},
        }})
    }))
}

async fn check(State(inner): Shared) -> Json<Value> {
    match inner.lock().unwrap().is_key_stale {
        true => Json(json!({"errcode": 87009, "errmsg": "invalid signature"})),
        false => Json(json!({"errcode": 0, "errmsg": "ok"})),
    }
}
