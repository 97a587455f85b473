//! Replays the client side of a capture against a simulator.

mod frame;
mod recording;
mod reply;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use comfyui_sim::{PromptState, Simulator};
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

pub use frame::Frames;
pub use recording::folder;
use recording::{Ids, PAUSE_MS};

/// Nothing in a capture takes longer than this between two actions of the client.
const DEADLINE: Duration = Duration::from_secs(10);

/// How long the last `status` frames may take after everything else arrived.
const REST: Duration = Duration::from_millis(500);

/// One line of a capture.
pub type Line = Value;

/// What was seen: frames by connection, replies in order.
#[derive(Default)]
pub struct Seen {
    pub frames: BTreeMap<String, Frames>,
    pub replies: Vec<String>,
}

struct Socket {
    writer: futures_util::stream::SplitSink<WebSocketStream<MaybeTlsStream<TcpStream>>, Message>,
    incoming: mpsc::UnboundedReceiver<Message>,
    reading: JoinHandle<()>,
}

/// A running replay.
pub struct Replay<'a> {
    simulator: &'a Simulator,
    http: reqwest::Client,
    sockets: HashMap<String, Socket>,
    ids: Ids,
    recorded: Seen,
    replayed: Seen,
}

/// What happened in the recording and in the replay.
pub struct Outcome {
    pub recorded: Seen,
    pub replayed: Seen,
}

/// Replays a capture.
pub async fn replay(simulator: &Simulator, name: &str) -> Outcome {
    let mut replay = Replay {
        simulator,
        http: reqwest::Client::new(),
        sockets: HashMap::new(),
        ids: Ids::default(),
        recorded: Seen::default(),
        replayed: Seen::default(),
    };
    let lines = recording::lines(name);
    let mut last = 0.0;
    for (index, line) in lines.iter().enumerate() {
        let now = line["t_ms"].as_f64().unwrap_or(last);
        if line["dir"] == "c2s" && now - last > PAUSE_MS && !joins_a_running_job(&lines[index..]) {
            replay.catch_up().await;
            replay.settle().await;
        }
        replay.step(line, &lines[index..]).await;
        last = now;
    }
    replay.catch_up().await;
    replay.collect_the_rest().await;
    Outcome { recorded: replay.recorded, replayed: replay.replayed }
}

/// Whether the next action opens a socket whose greeting tells of queued prompts.
fn joins_a_running_job(rest: &[Line]) -> bool {
    let greeting = rest.iter().find(|line| line["kind"] == "text");
    let remaining = greeting.map(|line| &line["payload"]["data"]["status"]["exec_info"]["queue_remaining"]);
    rest[0]["kind"] == "ws_open" && remaining.is_some_and(|remaining| remaining.as_u64() > Some(0))
}

impl Replay<'_> {
    async fn step(&mut self, line: &Line, rest: &[Line]) {
        let conn = line["conn"].as_str().unwrap_or("").to_owned();
        match (line["dir"].as_str().unwrap(), line["kind"].as_str().unwrap()) {
            ("c2s", "ws_open") => self.open(&conn, line["path"].as_str().unwrap()).await,
            ("c2s", "text") => self.send(&conn, line).await,
            ("c2s", "request") => self.request(line, rest).await,
            ("c2s", "ws_close") => {
                self.catch_up().await;
                self.close(&conn).await;
            }
            ("s2c", "text" | "binary") => {
                let frame = frame::recorded(line);
                self.recorded.frames.entry(conn).or_default().push(frame);
            }
            ("meta", "note") => self.note(line["note"].as_str().unwrap()).await,
            _ => {}
        }
    }

    async fn note(&mut self, note: &str) {
        if note == "SIGKILL" || note == "SIGTERM" {
            self.catch_up().await;
            self.simulator.kill().await;
        } else if note.starts_with("restarted") {
            self.simulator.restart().await.unwrap();
        } else if note == "file deleted" {
            self.simulator.faults().lose_files();
        }
    }

    async fn open(&mut self, conn: &str, path: &str) {
        let url = format!("ws://{}{path}", self.simulator.addr());
        let (socket, _) = connect_async(url).await.unwrap();
        let (writer, mut reader) = socket.split();
        let (sender, incoming) = mpsc::unbounded_channel();
        let reading = tokio::spawn(async move {
            while let Some(Ok(message)) = reader.next().await {
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        self.sockets.insert(conn.to_owned(), Socket { writer, incoming, reading });
    }

    /// Closes a socket and waits until the server noticed.
    async fn close(&mut self, conn: &str) {
        let Some(mut socket) = self.sockets.remove(conn) else { return };
        let _ = socket.writer.close().await;
        socket.reading.abort();
        let left = self.sockets.len();
        self.wait(|replay| replay.simulator.observed().open_sockets <= left).await;
    }

    /// Waits for a condition, but not for ever.
    async fn wait(&self, fulfilled: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !fulfilled(self) && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits until nothing is queued or running, as the recording client did by pausing or polling.
    async fn settle(&self) {
        self.wait(|replay| {
            let prompts = replay.simulator.observed().prompts;
            let open = [PromptState::Pending, PromptState::Running];
            !prompts.iter().any(|prompt| open.contains(&prompt.state))
        })
        .await;
    }

    async fn send(&mut self, conn: &str, line: &Line) {
        let socket = self.sockets.get_mut(conn).unwrap();
        socket.writer.send(Message::text(recording::said(line))).await.unwrap();
    }

    async fn request(&mut self, line: &Line, rest: &[Line]) {
        self.catch_up().await;
        if self.sockets.is_empty() {
            self.settle().await;
        }
        let answer = recording::answer(rest);
        if answer.is_none() {
            self.wait(|replay| !replay.simulator.is_running()).await;
        }
        let url = self.simulator.url();
        let Some(request) = self.ids.request(&self.http, &url, line) else { return };
        let (method, path) =
            (line["method"].as_str().unwrap(), self.ids.rename(line["path"].as_str().unwrap()));
        let (response, answer) = match (request.send().await, answer) {
            (Ok(response), Some(answer)) => (response, answer),
            (response, answer) => {
                let outcome = |answered: bool| format!("{method} {path} answered: {answered}");
                self.recorded.replies.push(outcome(answer.is_some()));
                self.replayed.replies.push(outcome(response.is_ok()));
                return;
            }
        };
        let status = response.status().as_u16();
        let body = response.bytes().await.unwrap();
        let here: Option<Value> = serde_json::from_slice(&body).ok();
        self.ids.learn(&answer["json"], here.as_ref());
        let recorded_status = u16::try_from(answer["status"].as_u64().unwrap()).unwrap();
        let (theirs, ours) =
            reply::describe_pair(method, &path, answer, recorded_status, here.as_ref(), status);
        self.recorded.replies.push(theirs);
        self.replayed.replies.push(ours);
    }

    /// Waits until every socket got as far as it was at this point of the recording.
    async fn catch_up(&mut self) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            self.drain();
            let behind = self.sockets.keys().any(|conn| {
                let recorded = self.recorded.frames.get(conn).cloned().unwrap_or_default();
                let replayed = self.replayed.frames.get(conn).cloned().unwrap_or_default();
                replayed.is_behind(&recorded)
            });
            if !behind || Instant::now() > deadline {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits for trailing `status` frames, which no later action waits for.
    async fn collect_the_rest(&mut self) {
        let deadline = Instant::now() + REST;
        let count = |seen: &Seen| seen.frames.values().map(|frames| frames.0.len()).sum::<usize>();
        while count(&self.replayed) < count(&self.recorded) && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(2)).await;
            self.drain();
        }
    }

    fn drain(&mut self) {
        for (conn, socket) in &mut self.sockets {
            while let Ok(message) = socket.incoming.try_recv() {
                if let Some(frame) = frame::received(&message) {
                    self.replayed.frames.entry(conn.clone()).or_default().push(frame);
                }
            }
        }
    }
}
