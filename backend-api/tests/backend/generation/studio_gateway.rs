//! A gateway that keeps every request it got, and whose jobs end when the test says so.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use reqwest::Url;
use serde_json::{Value, json};
use tokio::sync::watch;
use uuid::Uuid;

/// A request, as text.
#[derive(Debug, Clone)]
pub struct Asked {
    pub line: String,
    pub headers: HeaderMap,
    pub body: String,
}

impl Asked {
    pub fn header(&self, name: &str) -> String {
        self.headers[name].to_str().unwrap().to_owned()
    }
}

#[derive(Default)]
struct Inner {
    asked: Vec<Asked>,
    jobs: Vec<Value>,
    events: Vec<Value>,
    keys: HashMap<String, usize>,
    loses_replies: usize,
    refuses: Option<&'static str>,
    is_full: bool,
    is_mute: bool,
    has_no_feed: bool,
    feeds: usize,
    assets: Vec<String>,
    holds_assets: bool,
    is_slow_with_assets: bool,
}

#[derive(Clone, Default)]
pub struct StudioGateway {
    inner: Arc<Mutex<Inner>>,
    /// Tells streams of events, and counts how often all of them were cut.
    bell: Arc<watch::Sender<usize>>,
}

impl StudioGateway {
    pub async fn start() -> (Self, Url) {
        let gateway = Self::default();
        let router = Router::new().fallback(serve).with_state(gateway.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        (gateway, url)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.inner().asked.clone()
    }

    pub fn jobs(&self) -> Vec<Value> {
        self.inner().jobs.clone()
    }

    /// The only job there is.
    pub fn job(&self) -> String {
        let jobs = self.jobs();
        assert_eq!(jobs.len(), 1, "{jobs:?}");
        jobs[0]["id"].as_str().unwrap().to_owned()
    }

    /// So many jobs are taken with their replies cut off.
    pub fn lose_replies(&self, count: usize) {
        self.inner().loses_replies = count;
    }

    /// Submissions are refused with this code from now on.
    pub fn refuse(&self, code: &'static str) {
        self.inner().refuses = Some(code);
    }

    /// Loses its events, as one that was restored from a copy.
    pub fn lose_events(&self) {
        self.inner().events.clear();
    }

    /// Loses its jobs, as past their retention.
    pub fn forget(&self) {
        self.inner().jobs.clear();
    }

    /// Takes what it gets and never answers.
    pub fn be_mute(&self, is_mute: bool) {
        self.inner().is_mute = is_mute;
    }

    /// Whether it refuses to open streams of events.
    pub fn have_no_feed(&self, has_none: bool) {
        self.inner().has_no_feed = has_none;
    }

    /// Streams that are open.
    pub fn feeds(&self) -> usize {
        self.inner().feeds
    }

    /// Files that callers stored, by their ids.
    pub fn assets(&self) -> Vec<String> {
        self.inner().assets.clone()
    }

    /// Whether replies about stored files wait until this is taken back.
    pub fn be_slow_with_assets(&self, is_slow: bool) {
        self.inner().is_slow_with_assets = is_slow;
        self.bell.send_modify(|_| ());
    }

    /// Whether a job uses every file, so that none can be deleted.
    pub fn hold_assets(&self, holds: bool) {
        self.inner().holds_assets = holds;
    }

    /// Every stream breaks off.
    pub fn cut_feeds(&self) {
        self.bell.send_modify(|cuts| *cuts += 1);
    }

    /// Requests for streams of events.
    pub fn feeds_asked(&self) -> Vec<Asked> {
        let mut asked = self.asked();
        asked.retain(|asked| asked.line.starts_with("GET /v1/events") && wants_stream(asked));
        asked
    }

    /// A device takes a job: an event that is no end.
    pub fn place(&self, id: &str) {
        let event = self.tell(id, json!({"status": "dispatching"}));
        let mut placed = event.clone();
        placed["type"] = "job.placed".into();
        self.inner().events.push(placed);
        self.bell.send_modify(|_| ());
    }

    pub fn be_full(&self, is_full: bool) {
        self.inner().is_full = is_full;
    }

    /// Changes a job; an end is an event. Gives the event.
    pub fn tell(&self, id: &str, change: Value) -> Value {
        let mut inner = self.inner();
        let job = inner.jobs.iter_mut().find(|job| job["id"] == id).unwrap();
        for (name, value) in change.as_object().unwrap() {
            job[name] = value.clone();
        }
        let revision = job["revision"].as_u64().unwrap() + 1;
        job["revision"] = revision.into();
        let job = job.clone();
        let status = job["status"].as_str().unwrap().to_owned();
        let event = json!({
            "id": format!("{id}.{revision}"), "type": format!("job.{status}"), "revision": revision,
            "created_at": "2026-01-02T03:04:05Z", "job_id": id, "job": job,
        });
        if ["succeeded", "failed", "canceled", "expired"].contains(&status.as_str()) {
            inner.events.push(event.clone());
        }
        self.bell.send_modify(|_| ());
        event
    }

    /// Ends a job well with these outputs.
    pub fn succeed(&self, id: &str, outputs: Value) -> Value {
        self.tell(id, json!({"status": "succeeded", "outputs": outputs}))
    }

    pub fn fail(&self, id: &str) -> Value {
        self.tell(id, json!({"status": "failed", "error": {"code": "out_of_memory", "message": "too big"}}))
    }
}

/// A picture that the gateway keeps itself.
pub fn output(name: &str) -> Value {
    json!({
        "id": Uuid::now_v7(), "name": name, "type": "image", "content_type": "image/png", "size_bytes": 67,
        "width": 64, "height": 64, "url": format!("https://gateway.example.com/{name}"),
    })
}

async fn serve(
    State(gateway): State<StudioGateway>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body = String::from_utf8_lossy(&body).into_owned();
    let asked = Asked { line: format!("{method} {uri}"), headers, body };
    gateway.inner().asked.push(asked.clone());
    let answer = answer(&gateway, &method, &uri, &asked);
    let mut bell = gateway.bell.subscribe();
    while asked.line == "POST /api/v2/assets" && gateway.inner().is_slow_with_assets {
        bell.changed().await.unwrap();
    }
    let is_mute = gateway.inner().is_mute;
    if is_mute { std::future::pending().await } else { answer }
}

fn answer(gateway: &StudioGateway, method: &Method, uri: &Uri, asked: &Asked) -> Response {
    let Asked { headers, body, .. } = asked;
    let mut inner = gateway.inner();
    let path: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
    match (method.as_str(), path.as_slice()) {
        ("GET", ["v1", "templates"]) => json(200, templates()),
        ("POST", ["v1", "jobs"]) => submit(&mut inner, headers, body),
        ("POST", ["v1", "jobs", "status"]) => {
            let question: Value = serde_json::from_str(body).unwrap();
            let ids = question["ids"].as_array().unwrap();
            let jobs: Vec<Value> =
                inner.jobs.iter().filter(|job| ids.contains(&job["id"])).cloned().collect();
            json(200, json!({"jobs": jobs, "unknown": []}))
        }
        ("GET", ["v1", "jobs", id]) => match inner.jobs.iter().find(|job| job["id"] == **id) {
            Some(job) => json(200, job.clone()),
            None => problem(404, "not_found"),
        },
        ("POST", ["v1", "jobs", id, "cancel"]) => {
            let id = (*id).to_owned();
            drop(inner);
            json(200, gateway.tell(&id, json!({"status": "canceled"}))["job"].clone())
        }
        ("GET", ["v1", "events"]) if wants_stream(asked) => {
            let last = asked.headers.get("last-event-id").map(|id| id.to_str().unwrap().parse().unwrap());
            let after = last.unwrap_or(inner.events.len());
            let has_none = inner.has_no_feed;
            drop(inner);
            if has_none { problem(503, "unavailable") } else { stream(gateway.clone(), after) }
        }
        ("GET", ["v1", "events"]) => {
            let query = uri.query().unwrap_or_default();
            let after = query.split('&').find_map(|field| field.strip_prefix("after="));
            let after: usize = after.map_or(0, |after| after.parse().unwrap());
            let is_end = |event: &&Value| event["type"] != "job.placed";
            let events: Vec<Value> = inner.events.iter().skip(after).filter(is_end).cloned().collect();
            json(200, json!({"next": inner.events.len().to_string(), "events": events}))
        }
        ("POST", ["api", "v2", "assets"]) => {
            let id = Uuid::now_v7().to_string();
            inner.assets.push(id.clone());
            json(201, json!({"id": id, "hash": "blake3:00", "size_bytes": body.len()}))
        }
        ("DELETE", ["api", "v2", "assets", _]) if inner.holds_assets => {
            json(409, json!({"code": "asset_in_use"}))
        }
        ("DELETE", ["api", "v2", "assets", id]) => {
            inner.assets.retain(|asset| asset != id);
            StatusCode::NO_CONTENT.into_response()
        }
        ("GET", ["readyz"]) => StatusCode::OK.into_response(),
        _ => problem(404, "not_found"),
    }
}

fn wants_stream(asked: &Asked) -> bool {
    asked.headers.get("accept").is_some_and(|accept| accept == "text/event-stream")
}

/// A stream that counts as open for as long as somebody reads it.
struct OpenFeed(StudioGateway);

impl Drop for OpenFeed {
    fn drop(&mut self) {
        self.0.inner().feeds -= 1;
    }
}

/// Events after that one, then each as it comes, until all streams are cut.
fn stream(gateway: StudioGateway, after: usize) -> Response {
    gateway.inner().feeds += 1;
    let (mut bell, open) = (gateway.bell.subscribe(), OpenFeed(gateway));
    let cuts = *bell.borrow_and_update();
    let frames =
        futures_util::stream::unfold((open, bell, after), move |(open, mut bell, after)| async move {
            loop {
                if *bell.borrow_and_update() != cuts {
                    return None;
                }
                let event = open.0.inner().events.get(after).cloned();
                if let Some(event) = event {
                    let frame = format!("id: {}\nevent: {}\ndata: {event}\n\n", after + 1, event["type"]);
                    return Some((Ok::<_, Infallible>(frame), (open, bell, after + 1)));
                }
                bell.changed().await.ok()?;
            }
        });
    ([("content-type", "text/event-stream")], Body::from_stream(frames)).into_response()
}

fn submit(inner: &mut Inner, headers: &HeaderMap, body: &str) -> Response {
    if let Some(code) = inner.refuses {
        return problem(422, code);
    }
    if inner.is_full {
        return problem(429, "queue_full");
    }
    let key = headers["idempotency-key"].to_str().unwrap().to_owned();
    let asked: Value = serde_json::from_str(body).unwrap();
    let job = match inner.keys.get(&key) {
        Some(&known) => inner.jobs[known].clone(),
        None => {
            let job = json!({
                "id": Uuid::now_v7(), "status": "queued", "class": "interactive", "revision": 1, "attempt": 0,
                "labels": asked["labels"], "outputs": [], "position": 3,
            });
            let number = inner.jobs.len();
            inner.keys.insert(key, number);
            inner.jobs.push(job.clone());
            job
        }
    };
    if inner.loses_replies > 0 {
        inner.loses_replies -= 1;
        return (StatusCode::BAD_GATEWAY, "cut").into_response();
    }
    json(201, job)
}

fn templates() -> Value {
    json!({"next_cursor": null, "templates": [
        {"name": "portrait", "version": 2, "global": false, "available": true, "meta": {"title": {"zh": "证件照"}},
         "parameters": [
            {"name": "prompt", "type": "text", "targets": ["/6/inputs/text"], "max_length": 500, "required": true},
            {"name": "photo", "type": "image", "targets": ["/10/inputs/image"]},
            {"name": "seed", "type": "seed", "targets": ["/3/inputs/seed"]}]},
        {"name": "secret", "version": 1, "available": true, "meta": {}, "parameters": []},
        {"name": "lacking", "version": 1, "available": false, "meta": {}, "parameters": []},
    ]})
}

fn json(status: u16, body: Value) -> Response {
    (StatusCode::from_u16(status).unwrap(), axum::Json(body)).into_response()
}

fn problem(status: u16, code: &str) -> Response {
    let body = json!({"status": status, "code": code, "title": code, "detail": format!("because {code}")});
    let kind = [("content-type", "application/problem+json")];
    (StatusCode::from_u16(status).unwrap(), kind, body.to_string()).into_response()
}
