//! Requests to one COS bucket: signed, with a length, without the extras of newer S3 clients that COS refuses.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use futures_util::stream;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HOST};
use reqwest::{Body, Client, Method, Response, StatusCode};

use super::super::http::{read, words};
use super::super::xml::Fault;
use super::place::Place;
use super::sign::{Keys, Signed, TOKEN, Term, authorization, encode, fields};
use crate::artifacts::ArtifactError;

/// Clocks may differ by this, seconds.
const SKEW: u64 = 60;
/// How long the signature of a request counts, seconds.
const REQUEST_FOR: u64 = 900;
/// A call is tried again this often, and not beyond [`RETRY_FOR`].
const RETRIES: usize = 3;
/// Beyond it whoever asked decides.
const RETRY_FOR: Duration = Duration::from_secs(10);

/// Why a call did not work.
#[derive(Debug, thiserror::Error)]
pub(super) enum CosError {
    /// No such object, or no such upload.
    #[error("no such object")]
    Missing,
    /// The object is there already and must not be overwritten.
    #[error("the object is there already")]
    There,
    /// The range lies outside of the object.
    #[error("the range lies outside of the object")]
    Outside,
    /// The bucket, or the way to it.
    #[error("{0}")]
    Failed(String),
}

impl From<CosError> for ArtifactError {
    fn from(error: CosError) -> Self {
        match error {
            CosError::Missing | CosError::Outside => Self::NotFound,
            CosError::There => Self::Exists,
            CosError::Failed(why) => Self::Unavailable(why),
        }
    }
}

/// One request.
#[derive(Debug, Clone, Default)]
pub(super) struct Call {
    method: Method,
    /// Whole key, prefix included; empty: the bucket itself.
    key: String,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    body: Vec<Bytes>,
}

impl Call {
    pub(super) fn new(method: Method, key: &str) -> Self {
        Self { method, key: key.to_owned(), ..Self::default() }
    }

    pub(super) fn query(mut self, name: &str, value: impl ToString) -> Self {
        self.query.push((name.to_owned(), value.to_string()));
        self
    }

    pub(super) fn header(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    pub(super) fn body(mut self, body: Vec<Bytes>) -> Self {
        self.body = body;
        self
    }

    fn length(&self) -> usize {
        self.body.iter().map(Bytes::len).sum()
    }
}

/// The way to a bucket.
#[derive(Debug)]
pub(super) struct Cos {
    http: Client,
    place: Place,
    keys: Keys,
}

impl Cos {
    pub(super) fn new(http: Client, place: Place, keys: Keys) -> Self {
        Self { http, place, keys }
    }

    /// The whole key of one of our keys.
    pub(super) fn key(&self, key: &str) -> String {
        format!("{}{key}", self.place.prefix)
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Sends the call, again while that may help. All calls may be repeated.
    pub(super) async fn send(&self, call: &Call) -> Result<Response, CosError> {
        let pauses = ExponentialBuilder::default()
            .with_jitter()
            .with_max_times(RETRIES)
            .with_total_delay(Some(RETRY_FOR));
        let sent = (|| self.send_once(call)).retry(pauses).when(|error: &Unsent| error.again).await;
        sent.map_err(|error| error.why)
    }

    /// The body of an answer, bounded.
    pub(super) async fn text(&self, call: &Call) -> Result<String, CosError> {
        read(self.send(call).await?).await.map_err(CosError::Failed)
    }

    /// A URL that does what the call says, for whoever has it. Its headers have to be sent as they are.
    pub(super) fn presign(&self, call: &Call, valid_for: Duration) -> String {
        let mut query = call.query.clone();
        if let Some(token) = &self.keys.token {
            query.push((TOKEN.to_owned(), token.0.clone()));
        }
        let mut headers = call.headers.clone();
        headers.push((HOST.as_str().to_owned(), self.place.host.clone()));
        let path = format!("/{}", call.key);
        let request = Signed { method: call.method.as_str(), path: &path, query: &query, headers: &headers };
        let now = now();
        let term = Term { from: now.saturating_sub(SKEW), until: now.saturating_add(valid_for.as_secs()) };
        let signed = fields(&self.keys, request, term);
        let signed = signed.iter().map(|(name, value)| format!("{name}={}", encode(value)));
        let given = query.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value)));
        let query = given.chain(signed).collect::<Vec<_>>().join("&");
        format!("{}{}?{query}", self.place.origin, encode_path(&path))
    }

    async fn send_once(&self, call: &Call) -> Result<Response, Unsent> {
        let mut headers = call.headers.clone();
        headers.push((HOST.as_str().to_owned(), self.place.host.clone()));
        if !call.body.is_empty() || matches!(call.method, Method::PUT | Method::POST) {
            headers.push((CONTENT_LENGTH.as_str().to_owned(), call.length().to_string()));
        }
        if let Some(token) = &self.keys.token {
            headers.push((TOKEN.to_owned(), token.0.clone()));
        }
        let path = format!("/{}", call.key);
        let signed =
            Signed { method: call.method.as_str(), path: &path, query: &call.query, headers: &headers };
        let now = now();
        let term = Term { from: now.saturating_sub(SKEW), until: now.saturating_add(REQUEST_FOR) };
        let mut request = self.http.request(call.method.clone(), self.url(call));
        for (name, value) in headers.iter().filter(|(name, _)| name != HOST.as_str()) {
            request = request.header(name, value);
        }
        request = request.header(AUTHORIZATION, authorization(&self.keys, signed, term));
        if call.length() > 0 {
            let pieces = call.body.clone().into_iter().map(Ok::<_, std::convert::Infallible>);
            request = request.body(Body::wrap_stream(stream::iter(pieces)));
        }
        match request.send().await {
            Ok(answer) if answer.status().is_success() => Ok(answer),
            Ok(answer) => Err(refusal(answer).await),
            Err(error) => {
                let why = CosError::Failed(words(&error.without_url()));
                Err(Unsent { why, again: true })
            }
        }
    }

    fn url(&self, call: &Call) -> String {
        let pair = |(name, value): &(String, String)| match value.is_empty() {
            true => encode(name),
            false => format!("{}={}", encode(name), encode(value)),
        };
        let query = call.query.iter().map(pair).collect::<Vec<_>>().join("&");
        let path = encode_path(&format!("/{}", call.key));
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{}{path}{mark}{query}", self.place.origin)
    }
}

struct Unsent {
    why: CosError,
    again: bool,
}

async fn refusal(answer: Response) -> Unsent {
    let status = answer.status();
    let fault = Fault::find(&read(answer).await.unwrap_or_default()).unwrap_or_default();
    let why = match status {
        StatusCode::NOT_FOUND if fault.code != "NoSuchBucket" => CosError::Missing,
        StatusCode::CONFLICT => CosError::There,
        StatusCode::RANGE_NOT_SATISFIABLE => CosError::Outside,
        _ => CosError::Failed(describe(status, &fault)),
    };
    let again = status.is_server_error()
        || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
    Unsent { why, again }
}

/// What the bucket said, for people; the request's id is what its support asks for.
pub(super) fn describe(status: StatusCode, fault: &Fault) -> String {
    match fault.code.is_empty() {
        true => format!("the bucket answered {status}"),
        false => format!(
            "the bucket answered {status}: {} ({}), request {}",
            fault.code, fault.message, fault.request
        ),
    }
}

fn encode_path(path: &str) -> String {
    path.split('/').map(encode).collect::<Vec<_>>().join("/")
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
