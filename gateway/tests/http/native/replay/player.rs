//! Plays the client side of a recording against the gateway.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use futures_util::stream::SplitSink;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::course::Course;
use super::recording::{self, Ids, PAUSE_MS};
use super::reply;
use crate::world::{PATIENCE, World, until};

/// How long the last frames may take once everything ended.
const REST: Duration = Duration::from_secs(3);

/// Between two looks at what the sockets were told.
const LOOK: Duration = Duration::from_millis(10);

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
    ids: Ids,
    courses: BTreeMap<String, Pair>,
    /// Replies that differ.
    replies: Vec<String>,
}

/// What differs between a recording and its replay, each line under the recording's name.
pub async fn replay(world: &World, name: &str, is_any_order: bool) -> Vec<String> {
    let mut player = Player {
        world,
        sockets: HashMap::new(),
        ids: Ids::default(),
        courses: BTreeMap::new(),
        replies: Vec::new(),
    };
    let lines = recording::lines(name);
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
                self.sockets
                    .get_mut(&socket)
                    .unwrap()
                    .writer
                    .send(Message::text(recording::said(line)))
                    .await
                    .unwrap();
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
                self.courses.entry(socket).or_default().recorded.record(line, |id| self.ids.rename(id));
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
        let Some(request) = self.ids.request(&self.world.client, &self.world.base, line) else { return };
        let (method, path) =
            (line["method"].as_str().unwrap(), self.ids.rename(line["path"].as_str().unwrap()));
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let here: Option<Value> = serde_json::from_slice(&response.bytes().await.unwrap()).ok();
        let Some(answer) = recording::answer(rest) else {
            // That server was gone by then.
            assert!(status < 500, "{method} {path}: {status}");
            return;
        };
        self.ids.learn(&answer["json"], here.as_ref());
        let recorded = u16::try_from(answer["status"].as_u64().unwrap()).unwrap();
        let (theirs, ours) = reply::describe_pair(method, &path, answer, recorded, here.as_ref(), status);
        if theirs != ours {
            let note = line["note"].as_str().unwrap_or("");
            self.replies.push(format!("{note}\n  recorded {theirs}\n  replayed {ours}"));
        }
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
