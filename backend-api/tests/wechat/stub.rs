//! A host that answers as a test tells it to, and remembers what it was asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use backend_api::wechat::{Bounds, Options, Platform};
use futures_util::StreamExt as _;
use reqwest::Url;
use serde_json::{Value, json};

use crate::keys::{APP, signed};

pub const SECRET: &str = "app-secret-of-tests";

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub path: String,
    /// Path and query as they were sent.
    pub target: String,
    pub query: HashMap<String, String>,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Seen {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {:?}", self.body))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn token(&self) -> &str {
        self.query.get("access_token").map_or("", String::as_str)
    }
}

/// What a request meets.
pub enum Answer {
    Reply {
        status: u16,
        headers: Vec<(String, String)>,
        body: Vec<u8>,
    },
    /// No answer, ever.
    Hang,
    /// A body without end.
    Endless,
    /// A good start, then the connection is gone.
    Cut,
}

pub fn say(body: Value) -> Answer {
    Answer::Reply { status: 200, headers: Vec::new(), body: body.to_string().into_bytes() }
}

pub fn fail(code: i64) -> Answer {
    say(json!({ "errcode": code, "errmsg": format!("because {code}") }))
}

/// A reply of WeChat Pay with its signature.
pub fn say_signed(status: u16, body: &[u8]) -> Answer {
    Answer::Reply { status, headers: signed(body), body: body.to_vec() }
}

type Script = dyn Fn(&Seen) -> Answer + Send + Sync;

#[derive(Clone)]
pub struct Stub {
    pub url: Url,
    seen: Arc<Mutex<Vec<Seen>>>,
}

#[derive(Clone)]
struct Shared {
    seen: Arc<Mutex<Vec<Seen>>>,
    script: Arc<Script>,
}

impl Stub {
    pub async fn start(script: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let shared = Shared { seen: seen.clone(), script: Arc::new(script) };
        let router = Router::new().fallback(answer).with_state(shared);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, seen }
    }

    /// The platform: gives out `token-1`, `token-2` … and leaves the rest to the script.
    pub async fn platform(script: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        let given = Mutex::new(0);
        Self::start(move |seen| match seen.path.as_str() {
            "/cgi-bin/stable_token" => {
                let mut given = given.lock().unwrap();
                *given += 1;
                say(json!({ "access_token": format!("token-{given}"), "expires_in": 7200 }))
            }
            _ => script(seen),
        })
        .await
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Requests of a path.
    pub fn asked(&self, path: &str) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.path == path).collect()
    }

    pub fn options(&self) -> Options {
        Options {
            api_base: self.url.clone(),
            bounds: Bounds { request_timeout: Duration::from_secs(10), max_reply_bytes: 64 * 1024 },
            retry_pause: Duration::from_millis(1),
            ..Options::new(APP, SECRET.into())
        }
    }

    pub fn client(&self) -> Platform {
        Platform::new(self.options()).unwrap()
    }
}

async fn answer(
    State(shared): State<Shared>,
    Query(query): Query<HashMap<String, String>>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1024 * 1024).await.unwrap();
    let seen = Seen {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        target: parts.uri.path_and_query().unwrap().to_string(),
        query,
        headers: parts.headers,
        body,
    };
    shared.seen.lock().unwrap().push(seen.clone());
    match (shared.script)(&seen) {
        Answer::Hang => std::future::pending().await,
        Answer::Endless => {
            let chunk = Bytes::from(vec![b' '; 64 * 1024]);
            Body::from_stream(futures_util::stream::repeat(chunk).map(Ok::<_, std::io::Error>))
                .into_response()
        }
        Answer::Cut => {
            let parts = [Ok(Bytes::from("{\"errcode\":")), Err(std::io::Error::other("cut"))];
            Body::from_stream(futures_util::stream::iter(parts)).into_response()
        }
        Answer::Reply { status, headers, body } => {
            let mut response = (StatusCode::from_u16(status).unwrap(), body).into_response();
            for (name, value) in headers {
                let name = axum::http::HeaderName::from_bytes(name.as_bytes()).unwrap();
                response.headers_mut().append(name, value.parse().unwrap());
            }
            response
        }
    }
}
