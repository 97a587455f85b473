//! Tencent COS: a bucket that refuses what COS refuses: other signatures, unsigned `x-cos-*`, the bucket in the path,
//! `aws-chunked` bodies, checksum headers, bodies without a length, small parts, overwriting where it is forbidden.
//! Its own reading of the signature is held to account by the official Python SDK (`tests/stores`).
//!
//! Beside the requests of that dialect it takes the form posts of `tcb/uploadfile` tickets, the one exception in which
//! the bucket stands in the path (FACTS §6.2).

mod form;
mod grants;
mod objects;
mod parts;
mod signature;

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use tokio::sync::oneshot;

pub(crate) use grants::FormTicket;
pub(crate) use signature::encode;
#[cfg(test)]
pub(crate) use signature::{http_string, signature};

/// The bucket of [`Cos::start`].
pub const BUCKET: &str = "shots-1250000000";
/// Id of the keys that always hold.
pub const ID: &str = "AKIDTEST";
/// Secret of the keys that always hold.
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
    /// It is read, and carried out and answered at [`Cos::let_in`], even if nobody waits for the answer any more.
    Late,
    /// What arrives is not what was sent.
    Corrupt,
}

/// A server with one bucket.
#[derive(Clone)]
pub struct Cos {
    /// `http://cos.localhost:<port>`; the bucket's name goes in front of the host.
    pub url: String,
    name: Arc<str>,
    address: SocketAddr,
    state: Arc<Mutex<Bucket>>,
}

/// An object.
#[derive(Debug, Clone, Default)]
pub struct Object {
    /// What is in it, if it is kept.
    pub bytes: Vec<u8>,
    /// Differs from that of `bytes` where they are not kept.
    pub size_bytes: u64,
    /// `content-type` and `x-cos-meta-*`.
    pub headers: BTreeMap<String, String>,
    etag: String,
    crc64: u64,
}

#[derive(Default)]
struct Bucket {
    objects: BTreeMap<String, Object>,
    uploads: BTreeMap<String, parts::Upload>,
    /// Of matching requests, the next goes wrong so.
    faults: VecDeque<(String, Fault)>,
    /// Requests that wait to be let in, and where their answers go.
    late: Vec<(Request, oneshot::Sender<Response>)>,
    seen: Vec<String>,
    token: Option<String>,
    grants: grants::Grants,
    /// Another host that stands for the bucket.
    domain: Option<String>,
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
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, [("content-type", "application/xml")], body).into_response()
    }
}

fn refuse<T>(status: u16, code: &'static str, message: impl ToString) -> Result<T, Refusal> {
    Err(Refusal(status, code, message.to_string()))
}

impl Cos {
    /// Serves [`BUCKET`], which is in the host: `http://shots-1250000000.cos.localhost:<port>`.
    ///
    /// # Panics
    /// When loopback has no port left; there is no test then.
    pub async fn start() -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self::start_at(any, BUCKET).await.expect("loopback has a free port")
    }

    /// Serves a bucket of this name at an address.
    ///
    /// # Errors
    /// When it cannot listen there.
    pub async fn start_at(address: SocketAddr, bucket: &str) -> std::io::Result<Self> {
        let listener = tokio::net::TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let url = format!("http://cos.localhost:{}", address.port());
        let cos = Self { url, name: bucket.into(), address, state: Arc::default() };
        let app = Router::new().fallback(serve).layer(DefaultBodyLimit::disable()).with_state(cos.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(cos)
    }

    fn state(&self) -> MutexGuard<'_, Bucket> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store's URL, as the gateway's configuration has it.
    pub fn location(&self, more: &str) -> String {
        format!("cos://{}/cell-1?endpoint={}{more}", self.name, self.url)
    }

    /// Binds a domain of its owner's to the bucket, which then need not stand in the host: our address. Returns
    /// `http://127.0.0.1:<port>`, for clients that cannot find `*.localhost`.
    pub fn bind_domain(&self) -> String {
        self.state().domain = Some(self.address.to_string());
        format!("http://{}", self.address)
    }

    /// From now on only temporary keys with this token are taken.
    pub fn want_token(&self, token: &str) {
        self.state().token = Some(token.to_owned());
    }

    /// From now on objects are measured and not kept.
    pub fn forget_bytes(&self) {
        self.state().forgetful = true;
    }

    /// The next request whose line (`PUT key?partNumber=1&…`) holds `matching` goes wrong.
    pub fn fault(&self, matching: &str, fault: Fault) {
        self.state().faults.push_back((matching.to_owned(), fault));
    }

    /// Requests that are [`Fault::Late`] and wait.
    pub fn late(&self) -> usize {
        self.state().late.len()
    }

    /// Carries out what is [`Fault::Late`].
    pub async fn let_in(&self) {
        let late = std::mem::take(&mut self.state().late);
        for (request, reply) in late {
            let answer = carry_out(self, request, false).await;
            let _ = reply.send(answer.unwrap_or_else(IntoResponse::into_response)); // its sender may have hung up
        }
    }

    /// An object by its whole key.
    pub fn object(&self, key: &str) -> Option<Object> {
        self.state().objects.get(key).cloned()
    }

    /// The keys of all objects, in order.
    pub fn keys(&self) -> Vec<String> {
        self.state().objects.keys().cloned().collect()
    }

    /// Request lines so far; uploads have their ids in them, signatures are left out.
    pub fn seen(&self) -> Vec<String> {
        self.state().seen.clone()
    }

    /// Uploads that were begun and not ended.
    pub fn uploads(&self) -> usize {
        self.state().uploads.len()
    }

    /// Makes all unfinished uploads this much older.
    ///
    /// # Panics
    /// When that is before all time.
    pub fn age_uploads(&self, by: Duration) {
        for upload in self.state().uploads.values_mut() {
            upload.begun = upload.begun.checked_sub(by).expect("a test's uploads are of this age");
        }
    }
}

async fn serve(State(cos): State<Cos>, request: Request) -> Response {
    let fault = {
        let mut state = cos.state();
        let line = line(request.method(), request.uri().path(), request.uri().query().unwrap_or_default());
        let at = state.faults.iter().position(|(matching, _)| line.contains(matching.as_str()));
        state.seen.push(line);
        at.and_then(|at| state.faults.remove(at)).map(|(_, fault)| fault)
    };
    match &fault {
        Some(Fault::Answer(status, after)) => {
            // To its end: an answer to half a request can be lost with the connection, and the request is made again.
            request.into_body().into_data_stream().for_each(|_| async {}).await;
            let refusal = Refusal(*status, "Told", "as told".into()).into_response();
            return match after {
                Some(after) => ([("retry-after", *after)], refusal).into_response(),
                None => refusal,
            };
        }
        Some(Fault::Stall) => std::future::pending::<()>().await,
        Some(Fault::Late) => return wait_to_be_let_in(&cos, request).await,
        _ => {}
    }
    let answer = carry_out(&cos, request, fault == Some(Fault::Corrupt)).await;
    if fault == Some(Fault::LoseAnswer) {
        // a body that breaks off at once takes the connection with it
        let broken = futures_util::stream::iter([Err::<Vec<u8>, _>(std::io::Error::other("lost"))]);
        return ([("content-length", "9")], Body::from_stream(broken)).into_response();
    }
    answer.unwrap_or_else(IntoResponse::into_response)
}

async fn wait_to_be_let_in(cos: &Cos, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, usize::MAX).await else { return StatusCode::BAD_REQUEST.into_response() };
    let (reply, answer) = oneshot::channel();
    cos.state().late.push((Request::from_parts(head, Body::from(body)), reply));
    answer.await.unwrap_or_else(|_| StatusCode::SERVICE_UNAVAILABLE.into_response())
}

fn line(method: &Method, path: &str, query: &str) -> String {
    let shown = query.split('&').filter(|one| !one.starts_with("q-") && !one.starts_with("x-cos-security"));
    format!("{method} {}?{}", path.trim_start_matches('/'), shown.collect::<Vec<_>>().join("&"))
}

async fn carry_out(cos: &Cos, request: Request, corrupt: bool) -> Answer {
    if form::is_form(request.headers()) {
        return form::post(cos, request).await;
    }
    let (head, body) = request.into_parts();
    let (asked, body) = read(cos, &head, body, corrupt).await?;
    cos.act(asked, body)
}

async fn read(
    cos: &Cos,
    head: &axum::http::request::Parts,
    body: Body,
    corrupt: bool,
) -> Result<(Asked, objects::Received), Refusal> {
    let asked = signature::check(head, cos)?;
    refuse_extras(&asked.method, &asked.headers)?;
    let keep = !cos.state().forgetful || asked.method == Method::POST;
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
fn refuse_extras(method: &Method, headers: &HeaderMap) -> Result<(), Refusal> {
    let encoding = headers.get("content-encoding").map(|value| value.to_str().unwrap_or_default());
    if encoding.is_some_and(|encoding| encoding.contains("aws-chunked")) {
        return refuse(501, "NotImplemented", "aws-chunked");
    }
    if let Some(name) = headers.keys().find(|name| name.as_str().starts_with("x-amz-")) {
        return refuse(400, "InvalidArgument", name);
    }
    let has_body = matches!(*method, Method::PUT | Method::POST);
    if has_body && (!headers.contains_key("content-length") || headers.contains_key("transfer-encoding")) {
        return refuse(411, "MissingContentLength", "a length is wanted");
    }
    Ok(())
}

impl Cos {
    fn act(&self, asked: Asked, body: objects::Received) -> Answer {
        let mut bucket = self.state();
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
