//! The side of a caller: answers requests for tickets, and takes uploads into a bucket of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Json;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Multipart, Path, State};
use axum::http::{HeaderMap, StatusCode};
use gateway::link::message::Secret;
use gateway::outbox::signature::{self, SigningKey};
use serde_json::{Value, json};

pub fn key() -> SigningKey {
    SigningKey { id: "k1".into(), secret: Secret("a secret that is shared with the backend".into()) }
}

#[derive(Clone, Default)]
pub struct Backend {
    pub url: String,
    pub asked: Arc<Mutex<Vec<Value>>>,
    pub objects: Arc<Mutex<HashMap<String, Bytes>>>,
    /// Answers to the next requests for tickets, where they are to fail.
    pub refusals: Arc<Mutex<Vec<StatusCode>>>,
    /// The next tickets are expired already.
    pub expired: Arc<Mutex<u32>>,
    /// Tickets are forms to be posted, as WeChat's storage gives them.
    pub gives_forms: Arc<Mutex<bool>>,
    /// The names of the fields of each form, in the order they came.
    pub forms: Arc<Mutex<Vec<Vec<String>>>>,
}

impl Backend {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let backend = Self { url, ..Self::default() };
        let app = axum::Router::new()
            .route("/tickets", axum::routing::post(tickets))
            .route("/bucket/{key}", axum::routing::put(put).post(take_form))
            .layer(DefaultBodyLimit::disable())
            .with_state(backend.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        backend
    }

    pub fn ticket_url(&self) -> Secret {
        Secret(format!("{}/tickets", self.url))
    }

    pub fn asked(&self) -> Vec<Value> {
        self.asked.lock().unwrap().clone()
    }

    pub fn object(&self, key: &str) -> Option<Bytes> {
        self.objects.lock().unwrap().get(key).cloned()
    }
}

fn is_signed(headers: &HeaderMap, body: &[u8]) -> bool {
    let header = headers["darkroom-signature"].to_str().unwrap();
    signature::verify(header, body, &[key()], jiff::Timestamp::now().as_second()).is_ok()
}

async fn tickets(
    State(backend): State<Backend>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, StatusCode> {
    if !is_signed(&headers, &body) {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let asked: Value = serde_json::from_slice(&body).unwrap();
    backend.asked.lock().unwrap().push(asked.clone());
    if let Some(refusal) = backend.refusals.lock().unwrap().pop() {
        return Err(refusal);
    }
    let is_expired = {
        let mut expired = backend.expired.lock().unwrap();
        let is_expired = *expired > 0;
        *expired = expired.saturating_sub(1);
        is_expired
    };
    let expires_at = if is_expired { "2020-01-01T00:00:00Z" } else { "2099-01-01T00:00:00Z" };
    let tickets: Vec<Value> = asked["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| {
            let key = format!("{}-{}-{}", asked["job_id"].as_str().unwrap(), asked["attempt"], file["index"]);
            let url = format!("{}/bucket/{key}", backend.url);
            let mut ticket = json!({
                "index": file["index"],
                "url": url,
                "expires_at": expires_at,
                "key": key,
                "meta": {"fileid": format!("cloud://env/{key}")},
            });
            if *backend.gives_forms.lock().unwrap() {
                ticket["method"] = "POST".into();
                ticket["fields"] =
                    json!([["key", key], ["Signature", "a signature"], ["x-cos-meta-fileid", "f"]]);
            } else {
                ticket["method"] = "PUT".into();
                ticket["headers"] = json!({"content-type": file["content_type"]});
            }
            ticket
        })
        .collect();
    Ok(Json(json!({ "tickets": tickets })))
}

async fn put(State(backend): State<Backend>, Path(key): Path<String>, body: Bytes) -> StatusCode {
    backend.objects.lock().unwrap().insert(key, body);
    StatusCode::OK
}

/// WeChat's storage reads its fields until the file, which must come last; it answers 204.
async fn take_form(
    State(backend): State<Backend>,
    Path(key): Path<String>,
    mut form: Multipart,
) -> StatusCode {
    let mut names = Vec::new();
    while let Some(field) = form.next_field().await.unwrap() {
        let name = field.name().unwrap().to_owned();
        let bytes = field.bytes().await.unwrap();
        match name.as_str() {
            "file" => drop(backend.objects.lock().unwrap().insert(key.clone(), bytes)),
            "key" if bytes != key.as_bytes() => return StatusCode::FORBIDDEN,
            _ => {}
        }
        names.push(name);
    }
    backend.forms.lock().unwrap().push(names);
    StatusCode::NO_CONTENT
}
