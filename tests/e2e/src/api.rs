//! A client of the gateway, as small as the stories need it.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use reqwest::header::HeaderMap;
use reqwest::multipart::{Form, Part};
use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::sse::Events;
use crate::wait::{self, SOON};

/// Longest wait for an answer; event streams have their own clock.
const ANSWER: Duration = Duration::from_secs(35);

/// Somebody who speaks HTTP to a gateway or to backend-api.
#[derive(Clone, Debug)]
pub struct Api {
    base: String,
    key: Option<String>,
    http: Client,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub bytes: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Errors
    /// When it is none.
    pub fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_slice(&self.bytes)
            .with_context(|| format!("not JSON: {:?}", String::from_utf8_lossy(&self.bytes)))
    }

    /// The error code of either face; empty when there is none.
    pub fn code(&self) -> String {
        let body = self.json().unwrap_or_default();
        let code = body["error"]["code"].as_str().or(body["code"].as_str());
        code.unwrap_or_default().to_owned()
    }

    /// A header as text; empty when it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The answer, if it has this status.
    ///
    /// # Errors
    /// When it has another; the error shows the body.
    pub fn expect(self, status: u16) -> anyhow::Result<Self> {
        let body = String::from_utf8_lossy(&self.bytes);
        let shown: String = body.chars().take(1000).collect();
        ensure!(self.status == status, "expected {status}, got {}: {shown}", self.status);
        Ok(self)
    }
}

impl Api {
    /// A client without a key of the server at `base`.
    ///
    /// # Errors
    /// When the client cannot be built.
    pub fn new(base: impl Into<String>) -> anyhow::Result<Self> {
        Ok(Self { base: base.into(), key: None, http: Client::builder().no_proxy().build()? })
    }

    /// The same, with a key.
    #[must_use]
    pub fn with_key(&self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self.clone() }
    }

    /// The same, without a key.
    #[must_use]
    pub fn without_key(&self) -> Self {
        Self { key: None, ..self.clone() }
    }

    /// The server's address.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// A request to a path, or to an absolute URL as answers hold them.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let url = if path.starts_with('/') { format!("{}{path}", self.base) } else { path.to_owned() };
        let request = self.http.request(method, url);
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// When there is no complete answer in time.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> anyhow::Result<Answer> {
        let response = request.timeout(ANSWER).send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Answer { status, headers, bytes: response.bytes().await?.to_vec() })
    }

    /// `GET`.
    ///
    /// # Errors
    /// As [`Api::send`].
    pub async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.send(self.request(Method::GET, path)).await
    }

    /// `POST` with a JSON body.
    ///
    /// # Errors
    /// As [`Api::send`].
    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Answer> {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// `POST` with a JSON body under an idempotency key.
    ///
    /// # Errors
    /// As [`Api::send`].
    pub async fn post_once(&self, path: &str, body: &Value, key: &str) -> anyhow::Result<Answer> {
        self.send(self.request(Method::POST, path).json(body).header("idempotency-key", key)).await
    }

    /// Submits a workflow and returns the job's id.
    ///
    /// # Errors
    /// When it is not accepted.
    pub async fn submit(&self, workflow: &Value) -> anyhow::Result<String> {
        let answer = self.post("/api/v2/jobs", &json!({"workflow": workflow})).await?.expect(201)?;
        Ok(id_of(&answer.json()?)?.to_owned())
    }

    /// A job as Comfy API v2 shows it.
    ///
    /// # Errors
    /// When there is none of this id.
    pub async fn job(&self, id: &str) -> anyhow::Result<Value> {
        self.get(&format!("/api/v2/jobs/{id}")).await?.expect(200)?.json()
    }

    /// A job as `/v1` shows it.
    ///
    /// # Errors
    /// When there is none of this id.
    pub async fn job_v1(&self, id: &str) -> anyhow::Result<Value> {
        self.get(&format!("/v1/jobs/{id}")).await?.expect(200)?.json()
    }

    /// Waits until a job has this status.
    ///
    /// # Errors
    /// When it ends with another one, or does not get there.
    pub async fn reaches(&self, id: &str, status: &str) -> anyhow::Result<Value> {
        wait::until(&format!("job {id} to be {status}"), SOON, async || {
            let job = self.job(id).await?;
            match job["status"].as_str() {
                Some(now) if now == status => Ok(Some(job)),
                Some("succeeded" | "failed" | "canceled" | "expired") => bail!("it ended as {job}"),
                _ => Ok(None),
            }
        })
        .await
    }

    /// Waits until a job succeeded.
    ///
    /// # Errors
    /// When it ends otherwise, or does not end.
    pub async fn succeeded(&self, id: &str) -> anyhow::Result<Value> {
        self.reaches(id, "succeeded").await
    }

    /// Opens the event stream of a job.
    ///
    /// # Errors
    /// When it is not opened.
    pub async fn events(&self, id: &str) -> anyhow::Result<Events> {
        let request = self.request(Method::GET, &format!("/api/v2/jobs/{id}/events"));
        let response = request.header("accept", "text/event-stream").send().await?.error_for_status()?;
        ensure!(response.headers()["content-type"] == "text/event-stream", "not an event stream");
        Ok(Events::new(response))
    }

    /// The bytes of an asset or an output.
    ///
    /// # Errors
    /// When they are not there.
    pub async fn content(&self, id: &str) -> anyhow::Result<Vec<u8>> {
        Ok(self.get(&format!("/api/v2/assets/{id}/content")).await?.expect(200)?.bytes)
    }

    /// The bytes of a job's only output.
    ///
    /// # Errors
    /// When it has none or more, or the bytes are not what the job says.
    pub async fn only_output(&self, job: &Value) -> anyhow::Result<Vec<u8>> {
        let outputs = job["outputs"].as_array().map(Vec::as_slice).unwrap_or_default();
        let [output] = outputs else { bail!("expected one output: {job}") };
        let bytes = self.content(id_of(output)?).await?;
        ensure!(output["size_bytes"] == json!(bytes.len()), "{} bytes came for {output}", bytes.len());
        ensure!(output["hash"] == json!(crate::pictures::hash(&bytes)), "other bytes came for {output}");
        Ok(bytes)
    }

    /// Uploads a file as an asset.
    ///
    /// # Errors
    /// When it is not taken.
    pub async fn upload(&self, name: &str, media_type: &str, bytes: &[u8]) -> anyhow::Result<Value> {
        let file = Part::bytes(bytes.to_vec()).file_name(name.to_owned()).mime_str(media_type)?;
        let form = Form::new()
            .text("content_type", media_type.to_owned())
            .text("file_path", name.to_owned())
            .part("file", file);
        let answer = self.send(self.request(Method::POST, "/api/v2/assets").multipart(form)).await?;
        ensure!(matches!(answer.status, 200 | 201), "{answer:?}");
        answer.json()
    }
}

/// The `id` member.
///
/// # Errors
/// When there is none.
pub fn id_of(object: &Value) -> anyhow::Result<&str> {
    object["id"].as_str().with_context(|| format!("no id in {object}"))
}
