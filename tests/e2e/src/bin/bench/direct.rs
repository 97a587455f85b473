//! A client of ComfyUI's own API, by the shortest way there is: a socket that is open already tells of the file and of
//! the end; `/view` brings the bytes. Before a simulator it is the floor; before the gateway it measures that API.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use futures_util::StreamExt as _;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::client::HANGS;

/// What a socket reads at once, bytes.
const READ_BUFFER_BYTES: usize = 4 << 10;

/// Somebody who speaks to one server.
pub struct Direct {
    url: String,
    client: String,
    http: Client,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Direct {
    /// Opens a socket.
    ///
    /// # Errors
    /// When it does not open.
    pub async fn open(url: &str) -> anyhow::Result<Self> {
        Self::open_with(url, Client::builder().no_proxy().build()?).await
    }

    /// Opens a socket beside connections that are shared with others.
    ///
    /// # Errors
    /// When it does not open.
    pub async fn open_with(url: &str, http: Client) -> anyhow::Result<Self> {
        let client = uuid::Uuid::new_v4().simple().to_string();
        let address = format!("{}/ws?clientId={client}", url.replacen("http", "ws", 1));
        // There may be thousands, and each would keep 128 KiB ready.
        let small = WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES);
        let (socket, _) = tokio_tungstenite::connect_async_with_config(address, Some(small), true).await?;
        Ok(Self { url: url.to_owned(), client, http, socket })
    }

    /// Runs a graph: from the first byte of `POST /prompt` to the last byte of `/view`.
    ///
    /// # Errors
    /// When it does not succeed.
    pub async fn run(&mut self, graph: &Value) -> anyhow::Result<Duration> {
        let body = json!({"prompt": graph, "client_id": self.client});
        let began = Instant::now();
        tokio::time::timeout(HANGS, self.follow(&body)).await.context("a job hangs")??;
        Ok(began.elapsed())
    }

    async fn follow(&mut self, body: &Value) -> anyhow::Result<()> {
        let response = self.http.post(format!("{}/prompt", self.url)).json(body).send().await?;
        let accepted: Value = serde_json::from_slice(&response.error_for_status()?.bytes().await?)?;
        let file = self.until_done(accepted["prompt_id"].as_str().context("no prompt_id")?).await?;
        let query = ["filename", "subfolder", "type"].map(|name| (name, file[name].as_str().unwrap_or("")));
        let request = self.http.get(format!("{}/view", self.url)).query(&query);
        let mut response = request.send().await?.error_for_status()?;
        while response.chunk().await?.is_some() {}
        Ok(())
    }

    /// Reads frames until the prompt has left the worker; tells its file.
    async fn until_done(&mut self, prompt: &str) -> anyhow::Result<Value> {
        let mut file = Value::Null;
        while let Some(message) = self.socket.next().await {
            let Message::Text(text) = message? else { continue };
            let frame: Value = serde_json::from_str(&text)?;
            let data = &frame["data"];
            if data["prompt_id"] != prompt {
                continue;
            }
            match frame["type"].as_str() {
                Some("executed") => file = data["output"]["images"][0].clone(),
                Some("execution_success") if !file.is_null() => return Ok(file),
                Some("execution_error" | "execution_interrupted") => bail!("the prompt failed: {text}"),
                _ => {}
            }
        }
        bail!("the server closed the socket")
    }
}
