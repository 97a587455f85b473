//! A stand-in for Tencent COS that refuses what COS refuses: other signatures, unsigned `x-cos-*`, the bucket in the
//! path, `aws-chunked` bodies, checksum headers, bodies without a length, small parts, overwriting where it is forbidden.
//! Its own reading of the signature is held to account by the official Python SDK (`tests/stores`).

#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "tests may, and each uses a part")]

mod objects;
mod parts;
mod signature;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;

pub const BUCKET: &str = "shots-1250000000";
pub const ID: &str = "AKIDTEST";
pub const KEY: &str = "SECRETTEST";
/// A part may be this small, the last smaller, bytes.
pub const PART_MIN: u64 = 1 << 20;

/// What goes wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It is answered so, unread, with `Retry-After` where given.
    Answer(u16, Option<&'static str>),
    /// It is carried out, and its answer lost.
    LoseAnswer,
    /// It is never read to its end.
    Stall,
    /// What arrives is not what was sent.
    Corrupt,
}

/// A server with one bucket.
#[derive(Clone)]
pub struct Cos {
    pub url: String,
    state: Arc<Mutex<Bucket>>,
}

/// An object.
#[derive(Debug, Clone, Default)]
pub struct Object {
    pub bytes: Vec<u8>,
    /// Differs from that of `bytes` where they are not kept.
    pub size_bytes: u64,
    pub headers: BTreeMap<String, String>,
    etag: String,
    crc64: u64,
}

#[derive(Default)]
struct Bucket {
    objects: BTreeMap<String, Object>,
    uploads: BTreeMap<String, parts::Upload>,
    /// Of matching requests, the next goes wrong so.
    faults: VecDeque<(&'static str, Fault)>,
    seen: Vec<String>,
    token: Option<String>,
    /// Objects are only measured.
    forgetful: bool,
    next: u64,
}

/// A request whose signature holds.
struct Asked {
    method: Method,
    /// Without the first slash.
    key: String,
    query: BTreeMap<String, String>,
    headers: HeaderMap,
}

type Answer = Result<Response, Refusal>;

/// What COS answers instead.
#[derive(Debug)]
struct Refusal(u16, &'static str, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self(status, code, message) = self;
        let message = message.replace('&', "&amp;").replace('<', "&lt;");
        let body = format!(
            "<?xml version='1.0' encoding='utf-8' ?><Error><Code>{code}</Code><Message>{message}</Message>\
             <Resource>r</Resource><RequestId>NjUw</RequestId><TraceId>t</TraceId></Error>"
        );
        (StatusCode::from_u16(status).unwrap(), [("content-type", "application/xml")], body).into_response()
    }
}

fn refuse<T>(status: u16, code: &'static str, message: impl ToString) -> Result<T, Refusal> {
    Err(Refusal(status, code, message.to_string()))
}

impl Cos {
    /// Serves the bucket, which is in the host: `http://shots-1250000000.cos.localhost:<port>`.
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://cos.localhost:{}", listener.local_addr().unwrap().port());
        let cos = Self { url, state: Arc::default() };
        let app = Router::new().fallback(serve).with_state(cos.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        cos
    }

    /// The store's URL.
    pub fn location(&self, more: &str) -> String {
        format!("cos://{BUCKET}/cell-1?endpoint={}{more}", self.url)
    }

    /// From now on only temporary keys with this token are taken.
    pub fn want_token(&self, token: &str) {
        self.state.lock().unwrap().token = Some(token.to_owned());
    }

    /// From now on objects are measured and not kept.
    pub fn forget_bytes(&self) {
        self.state.lock().unwrap().forgetful = true;
    }

    /// The next request whose line (`PUT key?partNumber=1&…`) holds `matching` goes wrong.
    pub fn fault(&self, matching: &'static str, fault: Fault) {
        self.state.lock().unwrap().faults.push_back((matching, fault));
    }

    /// An object by its whole key.
    pub fn object(&self, key: &str) -> Option<Object> {
        self.state.lock().unwrap().objects.get(key).cloned()
    }

    /// Request lines so far; uploads have their ids in them, signatures are left out.
    pub fn seen(&self) -> Vec<String> {
        self.state.lock().unwrap().seen.clone()
    }

    /// Uploads that were begun and not ended.
    pub fn uploads(&self) -> usize {
        self.state.lock().unwrap().uploads.len()
    }

    /// Makes all unfinished uploads this much older.
    pub fn age_uploads(&self, by: Duration) {
        for upload in self.state.lock().unwrap().uploads.values_mut() {
            upload.begun = upload.begun.checked_sub(by).unwrap();
        }
    }
}

async fn serve(State(cos): State<Cos>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let fault = {
        let mut state = cos.state.lock().unwrap();
        let line = line(&head.method, head.uri.path(), head.uri.query().unwrap_or_default());
        let at = state.faults.iter().position(|(matching, _)| line.contains(matching));
        state.seen.push(line);
        at.and_then(|at| state.faults.remove(at)).map(|(_, fault)| fault)
    };
    match &fault {
        Some(Fault::Answer(status, after)) => {
            // To its end: an answer to half a request can be lost with the connection, and the request is made again.
            body.into_data_stream().for_each(|_| async {}).await;
            let refusal = Refusal(*status, "Told", "as told".into()).into_response();
            return match after {
                Some(after) => ([("retry-after", *after)], refusal).into_response(),
                None => refusal,
            };
        }
        Some(Fault::Stall) => std::future::pending::<()>().await,
        _ => {}
    }
    let answer = match read(&cos, &head, body, fault == Some(Fault::Corrupt)).await {
        Ok((asked, body)) => cos.carry_out(asked, body),
        Err(refusal) => Err(refusal),
    };
    if fault == Some(Fault::LoseAnswer) {
        // a body that breaks off at once takes the connection with it
        let broken = futures_util::stream::iter([Err::<Vec<u8>, _>(std::io::Error::other("lost"))]);
        return Response::builder().header("content-length", "9").body(Body::from_stream(broken)).unwrap();
    }
    answer.unwrap_or_else(IntoResponse::into_response)
}

fn line(method: &Method, path: &str, query: &str) -> String {
    let shown = query.split('&').filter(|one| !one.starts_with("q-") && !one.starts_with("x-cos-security"));
    format!("{method} {}?{}", path.trim_start_matches('/'), shown.collect::<Vec<_>>().join("&"))
}

async fn read(
    cos: &Cos,
    head: &axum::http::request::Parts,
    body: Body,
    corrupt: bool,
) -> Result<(Asked, objects::Received), Refusal> {
    let token = cos.state.lock().unwrap().token.clone();
    let asked = signature::check(head, token.as_deref())?;
    refuse_extras(&asked)?;
    let keep = !cos.state.lock().unwrap().forgetful || asked.method == Method::POST;
    let mut received = objects::Received::new(keep);
    let mut body = body.into_data_stream();
    while let Some(bytes) = body.next().await {
        match bytes {
            Ok(bytes) if corrupt => received.take(&bytes.iter().map(|byte| !byte).collect::<Vec<_>>()),
            Ok(bytes) => received.take(&bytes),
            Err(error) => return refuse(400, "IncompleteBody", error),
        }
    }
    Ok((asked, received))
}

/// What newer S3 clients add and COS does not take (FACTS §6.2).
fn refuse_extras(asked: &Asked) -> Result<(), Refusal> {
    let headers = &asked.headers;
    let encoding = headers.get("content-encoding").map(|value| value.to_str().unwrap_or_default());
    if encoding.is_some_and(|encoding| encoding.contains("aws-chunked")) {
        return refuse(501, "NotImplemented", "aws-chunked");
    }
    if let Some(name) = headers.keys().find(|name| name.as_str().starts_with("x-amz-")) {
        return refuse(400, "InvalidArgument", name);
    }
    let has_body = matches!(asked.method, Method::PUT | Method::POST);
    if has_body && (!headers.contains_key("content-length") || headers.contains_key("transfer-encoding")) {
        return refuse(411, "MissingContentLength", "a length is wanted");
    }
    Ok(())
}

impl Cos {
    fn carry_out(&self, asked: Asked, body: objects::Received) -> Answer {
        let mut bucket = self.state.lock().unwrap();
        let has = |name: &str| asked.query.contains_key(name);
        match asked.method.as_str() {
            "GET" if asked.key.is_empty() && has("uploads") => bucket.list_uploads(&asked),
            "GET" if has("uploadId") => bucket.list_parts(&asked),
            "GET" | "HEAD" => bucket.get(&asked),
            "PUT" if has("partNumber") => bucket.put_part(&asked, body),
            "PUT" => bucket.put(asked, body),
            "POST" if has("uploads") => bucket.initiate(asked),
            "POST" if has("uploadId") => bucket.complete(&asked, &body.bytes),
            "DELETE" if has("uploadId") => bucket.abort(&asked),
            "DELETE" => {
                bucket.objects.remove(&asked.key);
                Ok(StatusCode::NO_CONTENT.into_response())
            }
            _ => refuse(405, "MethodNotAllowed", "not here"),
        }
    }
}
