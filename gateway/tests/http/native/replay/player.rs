//! Plays the client side of a recording against the gateway.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::stream::SplitSink;
use futures_util::{SinkExt as _, StreamExt as _};
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use reqwest::multipart::{Form, Part};
use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::course::Course;
use super::reply;
use crate::world::{PATIENCE, World, until};

/// How long the last frames may take once everything ended.
const REST: Duration = Duration::from_secs(3);

/// A recording client that let this much time pass without a frame had waited for the queue to run dry, ms.
const PAUSE_MS: f64 = 250.0;

/// Between two looks at what the sockets were told.
const LOOK: Duration = Duration::from_millis(10);

/// Bodies beyond this are not worth sending in a test.
const FORM_BYTES_MAX: u64 = 10_000_000;

type Writer = SplitSink<WebSocketStream<MaybeTlsStream<TcpStream>>, Message>;

struct Socket {
    writer: Writer,
    incoming: mpsc::UnboundedReceiver<Message>,
    reading: JoinHandle<()>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// Both sides of one socket.
#[derive(Default)]
struct Pair {
    recorded: Course,
    replayed: Course,
    /// What was waited for in vain: a difference that is not waited for again.
    given_up: Vec<String>,
}

impl Pair {
    fn lacks(&self) -> Vec<String> {
        let mut lacks = self.replayed.lacks(&self.recorded);
        lacks.retain(|text| !self.given_up.contains(text));
        lacks
    }
}

struct Player<'a> {
    world: &'a World,
    sockets: HashMap<String, Socket>,
    /// Ids of the recording and what they are called here.
    ids: HashMap<String, String>,
    courses: BTreeMap<String, Pair>,
    /// Replies that differ.
    replies: Vec<String>,
}

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/comfyui/captures")
}

fn capture(name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder().join(format!("{name}.jsonl"))).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What differs between a recording and its replay, each line under the recording's name.
pub async fn replay(world: &World, name: &str, is_any_order: bool) -> Vec<String> {
    let mut player = Player {
        world,
        sockets: HashMap::new(),
        ids: HashMap::new(),
        courses: BTreeMap::new(),
        replies: Vec::new(),
    };
    let lines = capture(name);
    let mut last = 0.0;
    for (index, line) in lines.iter().enumerate() {
        let now = line["t_ms"].as_f64().unwrap_or(last);
        let is_into_a_job = line["path"] == "/interrupt" || joined(&lines[index..]).is_some();
        if line["dir"] == "c2s" && now - last > PAUSE_MS && !is_into_a_job {
            player.catch_up().await;
            player.idle().await;
        }
        player.step(line, &lines[index..]).await;
        last = now;
    }
    player.catch_up().await;
    player.idle().await;
    player.catch_up().await;
    let mut found = player.replies;
    for (socket, pair) in &player.courses {
        let differences = pair.replayed.differences(&pair.recorded, is_any_order);
        found.extend(differences.into_iter().map(|line| format!("{socket} {line}")));
    }
    found.iter().map(|line| format!("{name}: {line}")).collect()
}

/// Whether the next action opens a socket that is told of a running job: its node.
fn joined(rest: &[Value]) -> Option<&str> {
    let mut told = rest.iter().filter(|line| line["kind"] == "text").map(|line| &line["payload"]);
    let (_, second) = (told.next()?, told.next()?);
    let is_greeted = second["type"] == "executing" && second["data"].get("prompt_id").is_none();
    second["data"]["node"].as_str().filter(|_| rest[0]["kind"] == "ws_open" && is_greeted)
}

impl Player<'_> {
    async fn step(&mut self, line: &Value, rest: &[Value]) {
        let socket = line["conn"].as_str().unwrap_or("").to_owned();
        match (line["dir"].as_str().unwrap(), line["kind"].as_str().unwrap()) {
            ("c2s", "ws_open") => {
                let opened = self.open(line["path"].as_str().unwrap(), joined(rest)).await;
                self.sockets.insert(socket, opened);
            }
            ("c2s", "text") => {
                let text =
                    line["payload"].as_str().map_or_else(|| line["payload"].to_string(), str::to_owned);
                self.sockets.get_mut(&socket).unwrap().writer.send(Message::text(text)).await.unwrap();
            }
            ("c2s", "ws_close") => {
                self.catch_up().await;
                self.sockets.remove(&socket);
            }
            ("c2s", "request") => {
                self.catch_up().await;
                if self.sockets.is_empty() {
                    self.idle().await;
                }
                self.request(line, rest).await;
            }
            ("s2c", "text" | "binary") => {
                let rename = |id: &str| self.ids.get(id).cloned().unwrap_or_else(|| id.to_owned());
                self.courses.entry(socket).or_default().recorded.record(line, rename);
            }
            _ => {}
        }
    }

    /// Opens a socket, at the moment when this node runs.
    async fn open(&self, path: &str, node: Option<&str>) -> Socket {
        let url = format!("{}{path}", self.world.base.replace("http://", "ws://"));
        let (sender, incoming) = mpsc::unbounded_channel();
        let (writer, mut reader) = until("the node runs", || async {
            let (writer, mut reader) = connect_async(&url).await.unwrap().0.split();
            let Some(node) = node else { return Some((writer, reader)) };
            let told = [reader.next().await?.unwrap(), reader.next().await?.unwrap()];
            let is_there = told[1].to_text().unwrap().contains(&format!("\"node\":\"{node}\""));
            is_there.then(|| told.map(|told| sender.send(told).unwrap()))?;
            Some((writer, reader))
        })
        .await;
        let reading = tokio::spawn(async move {
            while let Some(Ok(message)) = reader.next().await {
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        Socket { writer, incoming, reading }
    }

    async fn request(&mut self, line: &Value, rest: &[Value]) {
        let is_too_big = line["form"]["file_len"].as_u64().is_some_and(|len| len > FORM_BYTES_MAX);
        if is_too_big || line["headers"].get("If-None-Match").is_some() {
            return;
        }
        let (method, path) = (line["method"].as_str().unwrap(), self.rename(line["path"].as_str().unwrap()));
        let request = self.world.request(method.parse::<Method>().unwrap(), &path);
        let response = self.with_body(request, line).send().await.unwrap();
        let status = response.status().as_u16();
        let here: Option<Value> = serde_json::from_slice(&response.bytes().await.unwrap()).ok();
        let answer = rest.iter().skip(1).take_while(|line| line["kind"] != "request");
        let Some(answer) = answer.into_iter().find(|line| line["kind"] == "response") else {
            // That server was gone by then.
            assert!(status < 500, "{method} {path}: {status}");
            return;
        };
        let id = |body: &Value| body["prompt_id"].as_str().map(str::to_owned);
        if let (Some(theirs), Some(ours)) = (id(&answer["json"]), here.as_ref().and_then(id)) {
            self.ids.insert(theirs, ours);
        }
        let recorded = u16::try_from(answer["status"].as_u64().unwrap()).unwrap();
        let (theirs, ours) = reply::describe_pair(method, &path, answer, recorded, here.as_ref(), status);
        if theirs != ours {
            let note = line["note"].as_str().unwrap_or("");
            self.replies.push(format!("{note}\n  recorded {theirs}\n  replayed {ours}"));
        }
    }

    fn with_body(&self, mut request: RequestBuilder, line: &Value) -> RequestBuilder {
        for (name, value) in line["headers"].as_object().into_iter().flatten() {
            request = request.header(name, value.as_str().unwrap());
        }
        if let Some(name) = line["note"].as_str().and_then(|note| note.strip_prefix("filename=")) {
            let part = format!("Content-Disposition: form-data; name=\"image\"; filename=\"{name}\"");
            request.body(format!("--B\r\n{part}\r\n\r\nnot a picture\r\n--B--\r\n"))
        } else if let Some(json) = line.get("json") {
            request.body(self.rename(&json.to_string()))
        } else if let Some(raw) = line["raw"].as_str() {
            request.body(raw.to_owned())
        } else if line["form"].is_object() {
            request.multipart(form(&line["form"]))
        } else {
            request
        }
    }

    fn rename(&self, text: &str) -> String {
        self.ids.iter().fold(text.to_owned(), |text, (theirs, ours)| text.replace(theirs, ours))
    }

    /// Waits until nothing is queued or running.
    async fn idle(&self) {
        until("nothing runs", || async { self.is_idle().await.then_some(()) }).await;
    }

    async fn is_idle(&self) -> bool {
        let (running, waiting) = self.world.queued().await;
        running.is_empty() && waiting.is_empty()
    }

    /// Waits until every socket got as far as it was at this point of the recording; when nothing runs any more, only
    /// for a while.
    async fn catch_up(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        let mut idle_since = None;
        loop {
            self.hear();
            if self.courses.values().all(|pair| pair.lacks().is_empty()) {
                return;
            }
            if self.is_idle().await {
                let since = *idle_since.get_or_insert_with(Instant::now);
                if since.elapsed() > REST {
                    self.courses.values_mut().for_each(|pair| pair.given_up.extend(pair.lacks()));
                }
            }
            assert!(Instant::now() < deadline, "frames that were recorded do not come");
            tokio::time::sleep(LOOK).await;
        }
    }

    fn hear(&mut self) {
        for (name, socket) in &mut self.sockets {
            while let Ok(message) = socket.incoming.try_recv() {
                self.courses.entry(name.clone()).or_default().replayed.hear(&message);
            }
        }
    }
}

/// A form of the recorded shape; the same name and length give the same bytes.
fn form(form: &Value) -> Form {
    let text = |key: &str| form[key].as_str().map(str::to_owned);
    let length = usize::try_from(form["file_len"].as_u64().unwrap()).unwrap();
    // Masks were recorded over a picture of this size.
    let side = if form["original_ref"].is_string() { 64 } else { 2 };
    let name = text("filename").unwrap().replace('/', "%2F"); // as the recording client sent it
    let file = Part::bytes(picture(length, side)).file_name(name);
    let mut parts = Form::new().part(text("file_field").unwrap(), file);
    for key in ["overwrite", "type", "subfolder", "original_ref"] {
        if let Some(value) = text(key) {
            parts = parts.text(key, value);
        }
    }
    parts
}

/// A PNG where the length allows one, followed by filler.
pub fn picture(length: usize, side: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let encoder = PngEncoder::new_with_quality(&mut bytes, CompressionType::Best, FilterType::NoFilter);
    image::RgbaImage::new(side, side).write_with_encoder(encoder).unwrap();
    if length < bytes.len() {
        bytes = b"not a picture".to_vec();
    }
    bytes.resize(length, 0);
    bytes
}
