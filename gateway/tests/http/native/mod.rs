//! ComfyUI's own API, as its clients use it.

mod access;
mod editor;
mod editor_of_instance;
mod files;
mod forward;
mod jobs;
mod pitfalls;
mod queue;
mod replay;
mod sockets;
mod userdata;

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::world::{PATIENCE, World, until};

/// What a socket of a client gives.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    Text(Value),
    Picture(Vec<u8>),
}

impl Heard {
    pub fn kind(&self) -> &str {
        match self {
            Self::Text(frame) => frame["type"].as_str().unwrap_or_default(),
            Self::Picture(_) => "(picture)",
        }
    }

    pub fn data(&self) -> &Value {
        match self {
            Self::Text(frame) => &frame["data"],
            Self::Picture(_) => &Value::Null,
        }
    }
}

/// A client with a socket.
pub struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    pub async fn open(world: &World, client: &str) -> Self {
        Self::at(&format!("{}/ws?clientId={client}", world.base.replace("http://", "ws://"))).await
    }

    pub async fn at(url: &str) -> Self {
        Self(tokio_tungstenite::connect_async(url).await.unwrap().0)
    }

    pub async fn say(&mut self, value: &Value) {
        self.0.send(Message::text(value.to_string())).await.unwrap();
    }

    /// The next frame; every text frame begins with its type.
    pub async fn next(&mut self) -> Heard {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.0.next()).await.expect("a frame in time");
            match message.unwrap().unwrap() {
                Message::Text(text) => {
                    assert!(text.starts_with(r#"{"type":"#), "{text}");
                    return Heard::Text(serde_json::from_str(&text).unwrap());
                }
                Message::Binary(bytes) => return Heard::Picture(bytes.to_vec()),
                _ => {}
            }
        }
    }

    /// All frames up to the one that says that this job has left, heartbeats among them.
    pub async fn until_left(&mut self, prompt_id: &str) -> Vec<Heard> {
        let mut heard = Vec::new();
        loop {
            let frame = self.next().await;
            let data = frame.data();
            let is_last =
                frame.kind() == "executing" && data["node"].is_null() && data["prompt_id"] == prompt_id;
            heard.push(frame);
            if is_last {
                return heard;
            }
        }
    }
}

/// The kinds of frames.
pub fn kinds(heard: &[Heard]) -> Vec<&str> {
    heard.iter().map(Heard::kind).collect()
}

/// How many jobs are left, by each status that was heard.
pub fn remaining(heard: &[Heard]) -> Vec<u64> {
    let statuses = heard.iter().filter(|frame| frame.kind() == "status");
    statuses.map(|frame| frame.data()["status"]["exec_info"]["queue_remaining"].as_u64().unwrap()).collect()
}

impl World {
    /// `POST /prompt`; the id of the job.
    pub async fn prompt(&self, workflow: Value, client: Option<&str>) -> String {
        let mut body = json!({"prompt": workflow});
        if let Some(client) = client {
            body["client_id"] = json!(client);
        }
        let (status, answer) = self.post_prompt(&body).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer["prompt_id"].as_str().unwrap().to_owned()
    }

    /// `POST /prompt` with a content type that lies.
    pub async fn post_prompt(&self, body: &Value) -> (StatusCode, Value) {
        let request = self.request(Method::POST, "/prompt").header("content-type", "text/plain");
        let response = request.body(body.to_string()).send().await.unwrap();
        (response.status(), response.json().await.unwrap())
    }

    /// The entry of a job in the history, once it is there.
    pub async fn entry(&self, id: &str) -> Value {
        until("the history has it", || async {
            let history = self.get_json(&format!("/history/{id}")).await;
            history.get(id).cloned()
        })
        .await
    }

    /// The ids in the queue: those that run, and those that wait.
    pub async fn queued(&self) -> (Vec<String>, Vec<String>) {
        let queue = self.get_json("/queue").await;
        let ids = |which: &str| {
            let items = queue[which].as_array().unwrap().iter();
            items.map(|item| item[1].as_str().unwrap().to_owned()).collect()
        };
        (ids("queue_running"), ids("queue_pending"))
    }

    /// Waits until a job runs.
    pub async fn runs(&self, id: &str) {
        until("it runs", || async { self.queued().await.0.iter().any(|it| it == id).then_some(()) }).await;
    }
}

/// A client that keeps its one connection alive (HTTP/2), and takes 64 KiB of an answer that it does not read.
pub fn slow_reader() -> reqwest::Client {
    reqwest::Client::builder()
        .http2_prior_knowledge()
        .http2_initial_stream_window_size(64 << 10)
        .build()
        .unwrap()
}

/// An instance that takes its time for nodes that sample.
pub fn paced() -> comfyui_sim::Config {
    let pace = comfyui_sim::Pace { step: Duration::from_millis(20), ..comfyui_sim::Pace::instant() };
    comfyui_sim::Config { pace, ..comfyui_sim::Config::default() }
}
