//! Requests to one ComfyUI server.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use reqwest::header::CONNECTION;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::wire::{Accepted, History, HistoryEntry, Queue, Refusal, Submission, SystemStats, Uploaded};
use crate::runner::config::Config;

/// Longest refusal or error text that is read, bytes.
const ERROR_BODY_BYTES: usize = 4 << 20;

/// What went wrong with a request, by what the caller will do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ComfyError {
    /// The connection was refused: surely nothing was done.
    #[error("cannot connect")]
    Refused(#[source] reqwest::Error),
    /// It broke off somewhere; maybe it was done.
    #[error("the connection broke off")]
    Broken(#[source] reqwest::Error),
    /// Nothing moved for too long.
    #[error("the transfer stalled")]
    Stalled,
    /// Another status than 200.
    #[error("answered {status}: {text}")]
    Status {
        /// Which.
        status: StatusCode,
        /// The start of the body.
        text: String,
    },
    /// An answer over its bound.
    #[error("answered more than {0} bytes")]
    TooLarge(usize),
    /// An answer that is not what PROTOCOL describes.
    #[error("answered what cannot be read: {0}")]
    Unreadable(String),
}

impl From<reqwest::Error> for ComfyError {
    fn from(error: reqwest::Error) -> Self {
        if error.is_connect() { Self::Refused(error) } else { Self::Broken(error) }
    }
}

impl ComfyError {
    /// Whether the server could not be spoken with at all.
    pub(crate) fn is_silence(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Broken(_) | Self::Stalled)
    }

    /// Whether nothing listens there: the process is gone, and with it all it had in memory (PROTOCOL §1).
    pub(crate) fn is_gone(&self) -> bool {
        let Self::Refused(error) = self else { return false };
        let mut cause = std::error::Error::source(error);
        while let Some(inner) = cause {
            if let Some(io) = inner.downcast_ref::<std::io::Error>()
                && io.kind() == std::io::ErrorKind::ConnectionRefused
            {
                return true;
            }
            cause = inner.source();
        }
        false
    }

    /// Why, in words for people: addresses and causes, no bodies.
    pub(crate) fn words(&self) -> String {
        let mut words = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(inner) = cause {
            words = format!("{words}: {inner}");
            cause = inner.source();
        }
        words
    }
}

/// What became of a `POST /prompt` (PROTOCOL §2).
#[derive(Debug)]
pub(crate) enum Posted {
    Accepted(Accepted),
    /// 400: never will it be taken.
    Refused(Box<Refusal>),
    /// 413.
    TooLarge,
    /// Nothing was sent.
    Unreachable(String),
    /// The reply is lost, or a 500 that does not say whether it was queued: look it up.
    Unknown(String),
}

/// A file as ComfyUI names it (PROTOCOL §4).
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub(crate) struct FileRef {
    pub filename: String,
    pub subfolder: String,
    /// `output` or `temp`.
    #[serde(rename = "type")]
    pub folder: String,
}

/// The client of one server.
#[derive(Debug, Clone)]
pub(crate) struct Comfy {
    client: Client,
    base: String,
    limits: Limits,
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    request: Duration,
    stall: Duration,
    post: Duration,
    history_bytes: usize,
    catalogue_bytes: usize,
}

/// One connection pool for all plain-HTTP instances of a host (pools are kept per address inside).
///
/// # Errors
/// The TLS back-end cannot be set up.
pub(crate) fn client(config: &Config, url: &str) -> Result<Client, reqwest::Error> {
    let builder = Client::builder()
        .http1_only()
        .no_proxy()
        .referer(false)
        .redirect(reqwest::redirect::Policy::none())
        .tcp_nodelay(true)
        .connect_timeout(config.times.connect_timeout)
        .pool_max_idle_per_host(4)
        .pool_idle_timeout(Duration::from_secs(60));
    // a plain connection needs no authorities, and a small container has none
    if url.starts_with("https:") { builder.build() } else { builder.tls_certs_only([]).build() }
}

impl Comfy {
    pub(crate) fn new(client: Client, url: &str, config: &Config) -> Self {
        Self {
            client,
            base: url.trim_end_matches('/').to_owned(),
            limits: Limits {
                request: config.times.request_timeout,
                stall: config.times.stall_timeout,
                post: config.times.post_timeout,
                history_bytes: config.max_history_bytes,
                catalogue_bytes: config.max_catalogue_bytes,
            },
        }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// The server's base URL, without a slash at its end.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    pub(super) fn request(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.base))
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.request(path).timeout(self.limits.request)
    }

    fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.base)).timeout(self.limits.request)
    }

    async fn json<T: DeserializeOwned>(&self, request: RequestBuilder, max: usize) -> Result<T, ComfyError> {
        let body = read(successful(request.send().await?).await?, max).await?;
        super::wire::lenient(&body).map_err(|error| ComfyError::Unreadable(error.to_string()))
    }

    pub(crate) async fn system_stats(&self) -> Result<SystemStats, ComfyError> {
        self.json(self.get("/system_stats"), ERROR_BODY_BYTES).await
    }

    /// The node catalogue as received.
    pub(crate) async fn object_info(&self) -> Result<Vec<u8>, ComfyError> {
        // The connection's buffer has grown to the size of the answer; kept idle it would hold that for each instance.
        let request = self.get("/object_info").timeout(self.limits.stall * 4).header(CONNECTION, "close");
        read(successful(request.send().await?).await?, self.limits.catalogue_bytes).await
    }

    /// The entry of one prompt, once it has left the worker.
    pub(crate) async fn history(&self, prompt: &str) -> Result<Option<HistoryEntry>, ComfyError> {
        let path = format!("/history/{prompt}");
        let mut entries: History = self.json(self.get(&path), self.limits.history_bytes).await?;
        Ok(entries.remove(prompt))
    }

    /// The last entries.
    pub(crate) async fn recent_history(&self, count: usize) -> Result<History, ComfyError> {
        let path = format!("/history?max_items={count}");
        self.json(self.get(&path), self.limits.history_bytes).await
    }

    pub(crate) async fn queue(&self) -> Result<Queue, ComfyError> {
        self.json(self.get("/queue"), self.limits.history_bytes).await
    }

    pub(crate) async fn submit(&self, submission: &Submission<'_>) -> Posted {
        let request = self.post("/prompt").timeout(self.limits.post).json(submission);
        let response = match request.send().await.map_err(ComfyError::from) {
            Ok(response) => response,
            Err(error @ ComfyError::Refused(_)) => return Posted::Unreachable(error.words()),
            Err(error) => return Posted::Unknown(error.words()),
        };
        let status = response.status();
        let body = match read(response, ERROR_BODY_BYTES).await {
            Ok(body) => body,
            Err(error) => return Posted::Unknown(error.words()),
        };
        posted(status, &body)
    }

    /// Takes a pending prompt out of the queue; a running one is untouched.
    pub(crate) async fn delete(&self, prompt: &str) -> Result<(), ComfyError> {
        self.act(self.post("/queue").json(&json!({"delete": [prompt]}))).await
    }

    /// Interrupts a prompt if it is the one that runs.
    pub(crate) async fn interrupt(&self, prompt: &str) -> Result<(), ComfyError> {
        self.act(self.post("/interrupt").json(&json!({"prompt_id": prompt}))).await
    }

    /// Unloads models and empties the node cache after the current prompt.
    pub(crate) async fn free(&self) -> Result<(), ComfyError> {
        self.act(self.post("/free").json(&json!({"unload_models": true, "free_memory": true}))).await
    }

    async fn act(&self, request: RequestBuilder) -> Result<(), ComfyError> {
        let response = successful(request.send().await?).await?;
        read(response, ERROR_BODY_BYTES).await.map(drop)
    }

    /// Puts a file into the input folder; the answered name counts.
    pub(crate) async fn upload(
        &self,
        name: &str,
        content_type: &str,
        size_bytes: u64,
        body: reqwest::Body,
    ) -> Result<Uploaded, ComfyError> {
        let part = reqwest::multipart::Part::stream_with_length(body, size_bytes).file_name(name.to_owned());
        let part = match part.mime_str(content_type) {
            Ok(part) => part,
            Err(error) => return Err(ComfyError::Unreadable(error.to_string())),
        };
        let form = reqwest::multipart::Form::new()
            .text("subfolder", "darkroom")
            .text("overwrite", "true")
            .text("type", "input")
            .part("image", part);
        let url = format!("{}/upload/image", self.base);
        self.json(self.client.post(url).multipart(form), ERROR_BODY_BYTES).await
    }

    /// Opens a file.
    pub(crate) async fn view(&self, file: &FileRef) -> Result<View, ComfyError> {
        let query = [("filename", &file.filename), ("subfolder", &file.subfolder), ("type", &file.folder)];
        // A connection that brought a picture keeps its read buffer, up to 400 KiB, for as long as it is pooled.
        let sent = self.request("/view").query(&query).header(CONNECTION, "close").send();
        let Ok(sent) = tokio::time::timeout(self.limits.stall, sent).await else {
            return Err(ComfyError::Unreadable("no answer to /view in time".into()));
        };
        Ok(View { response: successful(sent?).await?, stall: self.limits.stall })
    }
}

/// A file on its way.
#[derive(Debug)]
pub(crate) struct View {
    response: Response,
    stall: Duration,
}

impl View {
    /// Its length, where told, bytes.
    pub(crate) fn length(&self) -> Option<u64> {
        self.response.content_length()
    }

    /// The next bytes; `None` at the end. A body shorter than announced is an error.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, ComfyError> {
        match tokio::time::timeout(self.stall, self.response.chunk()).await {
            Ok(chunk) => Ok(chunk?),
            Err(_) => Err(ComfyError::Unreadable("the file stopped coming".into())),
        }
    }
}

/// A body read from a ticket's answer.
pub(crate) fn body_stream(response: Response) -> impl Stream<Item = Result<Bytes, std::io::Error>> {
    response.bytes_stream().map_err(std::io::Error::other)
}

fn posted(status: StatusCode, body: &[u8]) -> Posted {
    match status {
        StatusCode::OK => match super::wire::lenient(body) {
            Ok(accepted) => Posted::Accepted(accepted),
            Err(error) => Posted::Unknown(format!("the reply cannot be read: {error}")),
        },
        StatusCode::BAD_REQUEST => match super::wire::lenient(body) {
            Ok(refusal) => Posted::Refused(Box::new(refusal)),
            Err(error) => Posted::Unknown(format!("the refusal cannot be read: {error}")),
        },
        StatusCode::PAYLOAD_TOO_LARGE => Posted::TooLarge,
        status => Posted::Unknown(format!("answered {status}: {}", start_of(body))),
    }
}

async fn successful(response: Response) -> Result<Response, ComfyError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let body = read(response, ERROR_BODY_BYTES).await.unwrap_or_default();
    Err(ComfyError::Status { status, text: start_of(&body) })
}

/// The start of an error text, for logs.
fn start_of(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned()
}

async fn read(mut response: Response, max: usize) -> Result<Vec<u8>, ComfyError> {
    let announced = response.content_length().and_then(|length| usize::try_from(length).ok());
    if announced.is_some_and(|length| length > max) {
        return Err(ComfyError::TooLarge(max));
    }
    let mut body = Vec::with_capacity(announced.unwrap_or(0));
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > max {
            return Err(ComfyError::TooLarge(max));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
