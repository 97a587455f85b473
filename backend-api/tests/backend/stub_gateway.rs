//! A gateway that keeps the contract of `/v1` unless its script says otherwise.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use reqwest::Url;
use serde_json::{Value, json};

/// The only key the stub accepts.
pub const KEY: &str = "stub-gateway-key";

/// What happens to the next call instead of an answer.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The job is taken, the reply is cut off.
    LoseReply,
    /// Nothing is taken, no reply comes.
    Cut,
    /// A problem document with this status, code and `Retry-After`.
    Refuse(u16, &'static str, Option<u64>),
    /// A reply with this status and body that is no problem document.
    Say(u16, String),
    /// The job is taken, the reply never comes.
    Hang,
}

/// What the stub was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    pub idempotency_key: String,
    pub body: String,
}

#[derive(Default)]
struct Inner {
    faults: VecDeque<Fault>,
    submissions: Vec<Submission>,
    polls: usize,
    first_replies: HashMap<String, (String, Value)>,
    jobs: HashMap<String, Value>,
    /// Successive views of every job; the last one stays.
    views: VecDeque<Value>,
    ready: bool,
}

#[derive(Clone)]
pub struct StubGateway {
    inner: Arc<Mutex<Inner>>,
    pub url: Url,
}

impl StubGateway {
    pub async fn start() -> Self {
        let inner = Arc::new(Mutex::new(Inner { ready: true, ..Inner::default() }));
        let router = Router::new()
            .route("/v1/jobs", post(submit))
            .route("/v1/jobs/{id}", get(job))
            .route("/v1/jobs/{id}/cancel", post(cancel))
            .route("/readyz", get(readyz))
            .with_state(inner.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { inner, url }
    }

    /// The next calls of `/v1` meet these, in order.
    pub fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.inner.lock().unwrap().faults.extend(faults);
    }

    /// Each poll merges the next of these into the job; the last one stays.
    pub fn show(&self, views: impl IntoIterator<Item = Value>) {
        self.inner.lock().unwrap().views = views.into_iter().collect();
    }

    pub fn set_ready(&self, ready: bool) {
        self.inner.lock().unwrap().ready = ready;
    }

    pub fn submissions(&self) -> Vec<Submission> {
        self.inner.lock().unwrap().submissions.clone()
    }

    pub fn polls(&self) -> usize {
        self.inner.lock().unwrap().polls
    }
}

/// An address where nobody listens.
pub async fn nowhere() -> Url {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap()
}

type Shared = State<Arc<Mutex<Inner>>>;

async fn submit(State(inner): Shared, headers: HeaderMap, body: String) -> Response {
    if !has_key(&headers) {
        return problem(401, "unauthorized", None);
    }
    let key = headers["idempotency-key"].to_str().unwrap().to_owned();
    let fault = {
        let mut inner = inner.lock().unwrap();
        inner.submissions.push(Submission { idempotency_key: key.clone(), body: body.clone() });
        inner.faults.pop_front()
    };
    let taken = || take(&mut inner.lock().unwrap(), &key, &body);
    match fault {
        None => taken(),
        Some(Fault::LoseReply) => {
            taken();
            cut()
        }
        Some(Fault::Hang) => {
            taken();
            std::future::pending().await
        }
        Some(fault) => misbehave(fault),
    }
}

fn take(inner: &mut Inner, key: &str, body: &str) -> Response {
    if let Some((first_body, reply)) = inner.first_replies.get(key) {
        return match first_body == body {
            true => (StatusCode::CREATED, axum::Json(reply.clone())).into_response(),
            false => problem(409, "idempotency_conflict", None),
        };
    }
    let id = format!("job-{}", inner.jobs.len() + 1);
    let job = json!({
        "id": id, "status": "queued", "class": "normal", "revision": 1, "created_at": "2026-11-02T08:00:00Z",
        "started_at": null, "ended_at": null, "deadline": null, "attempt": 0, "faults": 0, "losses": 0, "labels": {},
        "position": 0, "progress": null, "outputs": [], "error": null, "urls": {"self": "/v1/jobs/x"},
    });
    inner.jobs.insert(id, job.clone());
    inner.first_replies.insert(key.to_owned(), (body.to_owned(), job.clone()));
    (StatusCode::CREATED, axum::Json(job)).into_response()
}

async fn job(State(inner): Shared, headers: HeaderMap, Path(id): Path<String>) -> Response {
    if !has_key(&headers) {
        return problem(401, "unauthorized", None);
    }
    let fault = {
        let mut inner = inner.lock().unwrap();
        inner.polls += 1;
        inner.faults.pop_front()
    };
    match fault {
        Some(Fault::Hang) => std::future::pending().await,
        Some(fault) => misbehave(fault),
        None => view(&mut inner.lock().unwrap(), &id),
    }
}

fn view(inner: &mut Inner, id: &str) -> Response {
    let next = if inner.views.len() > 1 { inner.views.pop_front() } else { inner.views.front().cloned() };
    let Some(job) = inner.jobs.get_mut(id) else {
        return problem(404, "not_found", None);
    };
    for (name, value) in next.iter().filter_map(Value::as_object).flatten() {
        job[name] = value.clone();
    }
    axum::Json(job.clone()).into_response()
}

async fn cancel(State(inner): Shared, Path(id): Path<String>) -> Response {
    inner.lock().unwrap().views = VecDeque::from([json!({"status": "canceled"})]);
    view(&mut inner.lock().unwrap(), &id)
}

async fn readyz(State(inner): Shared) -> StatusCode {
    match inner.lock().unwrap().ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn has_key(headers: &HeaderMap) -> bool {
    headers.get("authorization").is_some_and(|value| value.as_bytes() == format!("Bearer {KEY}").as_bytes())
}

fn misbehave(fault: Fault) -> Response {
    match fault {
        Fault::Refuse(status, code, retry_after) => problem(status, code, retry_after),
        Fault::Say(status, body) => (StatusCode::from_u16(status).unwrap(), body).into_response(),
        Fault::Cut | Fault::LoseReply | Fault::Hang => cut(),
    }
}

/// A reply whose body breaks off: the client has a status and no job.
fn cut() -> Response {
    let broken = futures_util::stream::once(async { Err::<Bytes, _>(std::io::Error::other("cut")) });
    (StatusCode::CREATED, Body::from_stream(broken)).into_response()
}

fn problem(status: u16, code: &str, retry_after: Option<u64>) -> Response {
    let body = json!({"type": "about:blank", "title": code, "status": status, "detail": format!("because {code}"), "code": code});
    let mut response = (
        StatusCode::from_u16(status).unwrap(),
        [("content-type", "application/problem+json")],
        body.to_string(),
    )
        .into_response();
    if let Some(seconds) = retry_after {
        response.headers_mut().insert("retry-after", seconds.into());
    }
    response
}
