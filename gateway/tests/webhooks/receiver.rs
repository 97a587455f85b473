//! A receiver of webhooks with a temper that can change.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{OriginalUri, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use gateway::outbox::SigningKey;
use gateway::outbox::signature::{self, VerifyError};
use serde_json::Value;
use tokio::net::TcpListener;

/// How a receiver answers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Temper {
    /// 204.
    Good,
    /// This status.
    Status(u16),
    /// 503 that asks to be left alone for so many seconds.
    Busy(u32),
    /// Not at all.
    Never,
    /// 200 with a body that never ends.
    Endless,
    /// This status for the first try of each event, then 204.
    FirstFails(u16),
}

/// One request.
#[derive(Clone)]
pub struct Heard {
    pub path: String,
    pub headers: HeaderMap,
    pub raw: Bytes,
    pub body: Value,
    pub accepted: bool,
}

impl Heard {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The id of the key it was verified with, as a receiver does it.
    pub fn verify<'a>(&self, keys: &'a [SigningKey]) -> Result<&'a str, VerifyError> {
        let now = jiff::Timestamp::now().as_second();
        signature::verify(self.header("darkroom-signature"), &self.raw, keys, now)
    }
}

#[derive(Clone)]
struct Shared {
    temper: Arc<Mutex<Temper>>,
    heard: Arc<Mutex<Vec<Heard>>>,
    tries: Arc<Mutex<HashMap<String, u32>>>,
}

pub struct Receiver {
    address: SocketAddr,
    shared: Shared,
}

impl Receiver {
    pub async fn start() -> Self {
        Self::with(Temper::Good).await
    }

    pub async fn with(temper: Temper) -> Self {
        let shared =
            Shared { temper: Arc::new(Mutex::new(temper)), heard: Arc::default(), tries: Arc::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().fallback(hear).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, shared }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn become_of(&self, temper: Temper) {
        *self.shared.temper.lock().unwrap() = temper;
    }

    /// Everything that came.
    pub fn heard(&self) -> Vec<Heard> {
        self.shared.heard.lock().unwrap().clone()
    }

    /// What was answered with success.
    pub fn accepted(&self) -> Vec<Heard> {
        self.heard().into_iter().filter(|one| one.accepted).collect()
    }

    /// Ends of jobs among them, each job once.
    pub fn accepted_ends(&self) -> usize {
        let heard = self.shared.heard.lock().unwrap();
        let ends = heard.iter().filter(|one| one.accepted && one.body["type"] == "job.succeeded");
        ends.map(|one| one.body["job_id"].as_str().unwrap()).collect::<std::collections::BTreeSet<_>>().len()
    }
}

async fn hear(
    State(shared): State<Shared>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    raw: Bytes,
) -> Response {
    let temper = *shared.temper.lock().unwrap();
    let body: Value = serde_json::from_slice(&raw).unwrap();
    let tries = {
        let mut tries = shared.tries.lock().unwrap();
        let count = tries.entry(body["id"].as_str().unwrap().to_owned()).or_default();
        *count += 1;
        *count
    };
    let is_good = match temper {
        Temper::Good | Temper::Endless => true,
        Temper::FirstFails(_) => tries > 1,
        Temper::Status(status) => (200..300).contains(&status),
        Temper::Busy(_) | Temper::Never => false,
    };
    let heard = Heard { path: uri.to_string(), headers, raw, body, accepted: is_good };
    shared.heard.lock().unwrap().push(heard);
    let status = |status: u16| StatusCode::from_u16(status).unwrap();
    match temper {
        Temper::Good => StatusCode::NO_CONTENT.into_response(),
        Temper::FirstFails(_) if is_good => StatusCode::NO_CONTENT.into_response(),
        Temper::FirstFails(code) | Temper::Status(code) => {
            // Wherever it points, nobody may follow.
            (status(code), [(header::LOCATION, "http://127.0.0.1:1/")]).into_response()
        }
        Temper::Busy(seconds) => {
            (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, seconds.to_string())]).into_response()
        }
        Temper::Never => std::future::pending().await,
        Temper::Endless => {
            let drip = futures_util::stream::unfold((), |()| async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                Some((Ok::<_, std::convert::Infallible>(Bytes::from_static(b"x")), ()))
            });
            Response::new(Body::from_stream(drip))
        }
    }
}

/// As [`crate::world::until`], for what takes longer.
pub async fn eventually(what: &str, within: Duration, is_so: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + within;
    while !is_so() {
        assert!(tokio::time::Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
