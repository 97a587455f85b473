//! A client of Comfy API v2, as lean as a client can be: submit, follow the event stream, fetch.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use futures_util::StreamExt as _;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Response, StatusCode};
use serde_json::Value;

use super::process::Server;

/// A job that has not ended by then hangs.
pub const HANGS: Duration = Duration::from_secs(60);

/// Pause before a submission that was told to come back, and between two polls.
const AGAIN: Duration = Duration::from_millis(20);

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With its outputs.
    Succeeded,
    /// In any other way; `expired` too.
    Failed,
    /// Not within [`HANGS`].
    Hung,
}

/// One job, seen from outside.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// From the first byte of the submission to the terminal status on the stream (or, where the stream ended
    /// without one, from a poll).
    pub latency: Duration,
    /// How it ended.
    pub end: End,
}

/// A caller with connections of its own.
#[derive(Clone, Debug)]
pub struct Caller {
    base: String,
    http: Client,
}

impl Caller {
    /// A caller of a server.
    ///
    /// # Errors
    /// When the client cannot be built.
    pub fn new(server: &Server) -> anyhow::Result<Self> {
        Ok(Self { base: server.url(""), http: Client::builder().no_proxy().build()? })
    }

    /// Takes a job from its submission to its end, and fetches its outputs where `fetch` says so.
    ///
    /// # Errors
    /// When the server does not take it, or answers what cannot be understood.
    pub async fn run(&self, body: Vec<u8>, fetch: bool) -> anyhow::Result<Run> {
        let began = Instant::now();
        let followed = tokio::time::timeout(HANGS, self.follow(body)).await;
        let latency = began.elapsed();
        let Ok(followed) = followed else { return Ok(Run { latency, end: End::Hung }) };
        let (status, mut outputs, job) = followed?;
        if status != "succeeded" {
            return Ok(Run { latency, end: End::Failed });
        }
        if fetch {
            if outputs.is_empty() {
                outputs = output_ids(&self.job(&job).await?);
            }
            self.fetch(&outputs).await?;
        }
        Ok(Run { latency, end: End::Succeeded })
    }

    async fn follow(&self, body: Vec<u8>) -> anyhow::Result<(String, Vec<String>, String)> {
        let job = self.submit(body).await?;
        let request = self.http.get(format!("{}/api/v2/jobs/{job}/events", self.base));
        let response = request.header("accept", "text/event-stream").send().await?;
        let mut outputs = Vec::new();
        if response.status() == StatusCode::OK
            && let Some(status) = until_terminal(response, &mut outputs).await?
        {
            return Ok((status, outputs, job));
        }
        // No stream to be had, or one that ended too early: poll, as the SDKs do (CONTRACT §6).
        loop {
            let seen = self.job(&job).await?;
            if let Some(status) = terminal(&seen) {
                return Ok((status.to_owned(), output_ids(&seen), job));
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn submit(&self, body: Vec<u8>) -> anyhow::Result<String> {
        loop {
            let request = self.http.post(format!("{}/api/v2/jobs", self.base)).body(body.clone());
            let response = request.header(CONTENT_TYPE, "application/json").send().await?;
            let status = response.status();
            let answer = response.bytes().await?;
            match status {
                StatusCode::CREATED => {
                    let job: Value = serde_json::from_slice(&answer)?;
                    return Ok(job["id"].as_str().context("a job without id")?.to_owned());
                }
                StatusCode::TOO_MANY_REQUESTS => tokio::time::sleep(AGAIN).await,
                _ => bail!("a submission was answered {status}: {}", String::from_utf8_lossy(&answer)),
            }
        }
    }

    async fn job(&self, id: &str) -> anyhow::Result<Value> {
        let response = self.http.get(format!("{}/api/v2/jobs/{id}", self.base)).send().await?;
        let bytes = response.error_for_status()?.bytes().await?;
        Ok(serde_json::from_slice(&bytes)?)
    }

    async fn fetch(&self, outputs: &[String]) -> anyhow::Result<()> {
        for id in outputs {
            let request = self.http.get(format!("{}/api/v2/assets/{id}/content", self.base));
            let mut response = request.send().await?.error_for_status()?;
            while response.chunk().await?.is_some() {}
        }
        Ok(())
    }
}

/// Reads a stream up to its terminal status; `None` when it ended before.
async fn until_terminal(response: Response, outputs: &mut Vec<String>) -> anyhow::Result<Option<String>> {
    let mut chunks = response.bytes_stream();
    let mut text = String::new();
    while let Some(chunk) = chunks.next().await {
        // The peer breaks streams off; that is one without a terminal status.
        let Ok(chunk) = chunk else { return Ok(None) };
        text.push_str(std::str::from_utf8(&chunk)?);
        while let Some(end) = text.find("\n\n") {
            let frame: String = text.drain(..end + 2).collect();
            if let Some(status) = read(&frame, outputs)? {
                return Ok(Some(status));
            }
        }
    }
    Ok(None)
}

/// Reads one frame: notes outputs, tells a terminal status.
fn read(frame: &str, outputs: &mut Vec<String>) -> anyhow::Result<Option<String>> {
    let mut lines = frame.lines();
    let event = lines.next().and_then(|line| line.strip_prefix("event: ")).unwrap_or_default();
    if !matches!(event, "status" | "output") {
        return Ok(None);
    }
    let data = lines.next().and_then(|line| line.strip_prefix("data: ")).context("a frame without data")?;
    let data: Value = serde_json::from_str(data)?;
    if event == "output" {
        outputs.extend(data["id"].as_str().map(str::to_owned));
    }
    Ok(terminal(&data).filter(|_| event == "status").map(str::to_owned))
}

fn terminal(job: &Value) -> Option<&str> {
    job["status"].as_str().filter(|status| matches!(*status, "succeeded" | "failed" | "canceled" | "expired"))
}

fn output_ids(job: &Value) -> Vec<String> {
    let outputs = job["outputs"].as_array().map_or(&[][..], Vec::as_slice);
    outputs.iter().filter_map(|output| output["id"].as_str()).map(str::to_owned).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::read;

    #[test]
    fn a_stream_ends_with_a_terminal_status_only() {
        let mut outputs = Vec::new();
        for frame in [
            ": keep-alive\n\n",
            "event: status\ndata: {\"status\":\"running\"}\n\n",
            "event: progress\ndata: {\"status\":\"succeeded\"}\n\n",
            "event: output\ndata: {\"id\":\"o1\"}\n\n",
        ] {
            assert_eq!(read(frame, &mut outputs).unwrap(), None, "{frame}");
        }
        assert_eq!(outputs, ["o1"]);
        let last = "event: status\ndata: {\"status\":\"succeeded\"}\n\n";
        assert_eq!(read(last, &mut outputs).unwrap().as_deref(), Some("succeeded"));
    }
}
