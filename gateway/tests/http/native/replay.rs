//! The client side of recordings of a real ComfyUI, replayed against the gateway: what it answers and tells is what
//! that server answered and told, but for the differences that are listed here (and in `docs/NATIVE_API.md`).

#[path = "../../../../tests/comfyui-sim/tests/replay/frame.rs"]
#[allow(dead_code, reason = "the simulator's own test needs more of it")]
mod frame;
#[path = "../../../../tests/comfyui-sim/tests/replay/reply.rs"]
mod reply;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::time::{Duration, Instant};

use comfyui_sim::Config;
use futures_util::{SinkExt as _, StreamExt as _};
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::world::{World, until};

/// Recorded one after the other on one server.
const CAPTURES: &[&str] = &[
    "run_empty_save",
    "run_empty_save_cached",
    "run_load_scale_invert_save",
    "run_multi_output",
    "run_preview_temp",
    "run_batch4",
    "run_error_node",
    "run_error_two_branches",
    "run_lazy_mix",
    "run_animated_webp",
    "run_video",
    "run_audio",
    "run_preview_any_text",
    "run_blocker",
    "run_parallel_sleep_expand",
    "run_sleep_progress",
    "run_websocket_image",
    "run_websocket_image_metadata",
    "run_extra_data",
    "run_no_client_id",
    "validation_errors",
    "upload",
    "view",
];

/// Graphs with several outputs: which of them runs first differs between starts, and so do the states told on the way.
const ANY_ORDER: &[&str] = &["run_multi_output", "run_parallel_sleep_expand"];

/// How long the last frames may take once everything ended.
const REST: Duration = Duration::from_secs(5);

/// Bodies beyond this are not worth sending in a test.
const FORM_BYTES_MAX: u64 = 10_000_000;

/// Which frames came over which socket, each once: their order is for other tests.
type Frames = BTreeMap<String, BTreeSet<String>>;

struct Replay<'a> {
    world: &'a World,
    sockets: HashMap<String, WebSocketStream<MaybeTlsStream<TcpStream>>>,
    /// Ids of the recording and what they are called here.
    ids: HashMap<String, String>,
    recorded: Frames,
    replayed: Frames,
    /// Replies that differ.
    replies: Vec<String>,
}

fn capture(name: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/comfyui/captures");
    let text = std::fs::read_to_string(folder.join(format!("{name}.jsonl"))).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What differs between a recording and its replay.
async fn replay(world: &World, name: &str) -> Vec<String> {
    let mut replay = Replay {
        world,
        sockets: HashMap::new(),
        ids: HashMap::new(),
        recorded: Frames::new(),
        replayed: Frames::new(),
        replies: Vec::new(),
    };
    let lines = capture(name);
    for (index, line) in lines.iter().enumerate() {
        replay.step(line, &lines[index + 1..]).await;
    }
    replay.rest().await;
    let mut found = replay.replies;
    for (socket, mut recorded) in replay.recorded {
        let mut replayed = replay.replayed.remove(&socket).unwrap_or_default();
        if ANY_ORDER.contains(&name) {
            recorded.retain(|frame| !frame.starts_with("state"));
            replayed.retain(|frame| !frame.starts_with("state"));
        }
        let (missing, more) = (recorded.difference(&replayed), replayed.difference(&recorded));
        found.extend(missing.map(|frame| format!("{socket} is not told {frame}")));
        found.extend(more.map(|frame| format!("{socket} is told {frame}")));
    }
    found.iter().map(|line| format!("{name}: {line}")).collect()
}

impl Replay<'_> {
    async fn step(&mut self, line: &Value, rest: &[Value]) {
        let socket = line["conn"].as_str().unwrap_or("").to_owned();
        match (line["dir"].as_str().unwrap(), line["kind"].as_str().unwrap()) {
            ("c2s", "ws_open") => {
                let base = self.world.base.replace("http://", "ws://");
                let url = format!("{base}{}", line["path"].as_str().unwrap());
                self.sockets.insert(socket, connect_async(url).await.unwrap().0);
            }
            ("c2s", "text") => {
                let text =
                    line["payload"].as_str().map_or_else(|| line["payload"].to_string(), str::to_owned);
                self.sockets.get_mut(&socket).unwrap().send(Message::text(text)).await.unwrap();
            }
            ("c2s", "ws_close") => {
                self.rest().await;
                self.sockets.remove(&socket);
            }
            ("c2s", "request") => self.request(line, rest).await,
            ("s2c", "text" | "binary") => note(&mut self.recorded, &socket, frame::recorded(line).text),
            _ => {}
        }
    }

    async fn request(&mut self, line: &Value, rest: &[Value]) {
        self.idle().await;
        let answer = rest.iter().take_while(|line| line["kind"] != "request");
        let Some(answer) = answer.into_iter().find(|line| line["kind"] == "response") else { return };
        let is_too_big = line["form"]["file_len"].as_u64().is_some_and(|len| len > FORM_BYTES_MAX);
        if is_too_big || line["headers"].get("If-None-Match").is_some() {
            return;
        }
        let (method, path) = (line["method"].as_str().unwrap(), self.rename(line["path"].as_str().unwrap()));
        let mut request = self.world.request(method.parse::<Method>().unwrap(), &path);
        for (name, value) in line["headers"].as_object().into_iter().flatten() {
            request = request.header(name, value.as_str().unwrap());
        }
        if let Some(json) = line.get("json") {
            request = request.body(self.rename(&json.to_string()));
        } else if let Some(raw) = line["raw"].as_str() {
            request = request.body(raw.to_owned());
        } else if line["form"].is_object() {
            request = request.multipart(form(&line["form"]));
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let here: Option<Value> = serde_json::from_slice(&response.bytes().await.unwrap()).ok();
        let id = |body: &Value| body["prompt_id"].as_str().map(str::to_owned);
        if let (Some(theirs), Some(ours)) = (id(&answer["json"]), here.as_ref().and_then(id)) {
            self.ids.insert(theirs, ours);
        }
        let recorded = u16::try_from(answer["status"].as_u64().unwrap()).unwrap();
        let (theirs, ours) = reply::describe_pair(method, &path, answer, recorded, here.as_ref(), status);
        if theirs != ours {
            self.replies.push(format!("\n  recorded {theirs}\n  replayed {ours}"));
        }
    }

    fn rename(&self, text: &str) -> String {
        self.ids.iter().fold(text.to_owned(), |text, (theirs, ours)| text.replace(theirs, ours))
    }

    /// Waits until nothing is queued or running, as the recording client did.
    async fn idle(&mut self) {
        until("nothing runs", || async {
            let (running, waiting) = self.world.queued().await;
            (running.is_empty() && waiting.is_empty()).then_some(())
        })
        .await;
    }

    /// Waits for what the sockets are still told.
    async fn rest(&mut self) {
        self.idle().await;
        let deadline = Instant::now() + REST;
        while self.replayed != self.recorded && Instant::now() < deadline {
            for (name, socket) in &mut self.sockets {
                while let Ok(Some(Ok(message))) =
                    tokio::time::timeout(Duration::from_millis(20), socket.next()).await
                {
                    if let Some(frame) = frame::received(&message) {
                        note(&mut self.replayed, name, frame.text);
                    }
                }
            }
        }
    }
}

/// Numbers of `status` depend on when it is asked: only the greeting counts.
fn note(frames: &mut Frames, socket: &str, text: String) {
    let seen = frames.entry(socket.to_owned()).or_default();
    if !text.starts_with("status") || text.ends_with("sid") {
        seen.insert(text);
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
fn picture(length: usize, side: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let encoder = PngEncoder::new_with_quality(&mut bytes, CompressionType::Best, FilterType::NoFilter);
    image::RgbaImage::new(side, side).write_with_encoder(encoder).unwrap();
    if length < bytes.len() {
        bytes = b"not a picture".to_vec();
    }
    bytes.resize(length, 0);
    bytes
}

/// Where a difference is meant: the recording, a part of what differs, and why.
const MEANT: &[(&str, &str, &str)] = &[
    ("run_empty_save_cached", r#"is not told cached "1","2""#, SAVED_AGAIN),
    ("run_empty_save_cached", "is told", SAVED_AGAIN),
    ("run_error_two_branches", "{\"images\"", FAILED_OUTPUTS),
    ("run_error_two_branches", "\"failed\" 1 1", FAILED_OUTPUTS),
    ("run_no_client_id", "is not told", "a job without a client is told to none"),
    ("validation_errors", "invalid_input_type", WORDS),
    ("validation_errors", "value_not_in_list", WORDS),
    ("validation_errors", "tuple index out of range", WORDS),
    ("validation_errors", "Exception when validating node: '99'", WORDS),
    ("validation_errors", "has no class_type", WORDS),
    ("validation_errors", "invalid_prompt_id", WORDS),
    (
        "validation_errors",
        "\"exception_during_validation\" \"Exception when validating node\" 'inputs'",
        WORDS,
    ),
    ("validation_errors", "Invalid type of input1", "what a class checks by itself is known when it runs"),
    ("validation_errors", "dependency_cycle", "a cycle does not tell which outputs it breaks"),
    ("validation_errors", "limit_exceeded", "bounds on sizes come first"),
    ("validation_errors", "saving outside the output folder", "it is refused before it runs"),
    ("validation_errors", "recorded POST /prompt 500", CRASHES),
    ("upload", "recorded POST /upload/image 500", CRASHES),
    ("upload", "recorded POST /upload/mask 500", CRASHES),
    ("upload", "the file name leads nowhere", OUTSIDE),
    ("upload", "the folder leads outside", OUTSIDE),
    ("view", "subfolder=../input", OUTSIDE),
    ("view", "filename=bad.png", CRASHES),
    ("view", "GET /queue", "without keys only loopback names are answered, whatever the page's origin"),
    ("view", "OPTIONS /prompt", "an empty answer says that it is empty"),
];

const SAVED_AGAIN: &str = "each attempt has a folder of its own, so a saver is never answered from the cache";
const FAILED_OUTPUTS: &str = "outputs of a job that failed are not kept";
const WORDS: &str = "the type of the error is the same, the words are ours";
const CRASHES: &str = "what makes that server stumble is answered as a mistake of the caller, or taken";
const OUTSIDE: &str = "paths that lead out of a folder are refused in every form";

#[tokio::test]
async fn recordings_of_a_real_server_are_answered_as_it_did() {
    let world = World::with(vec![Config { checkpoints: Vec::new(), ..Config::default() }], "").await;
    world.usable().await;
    let example = Part::bytes(picture(4096, 64)).file_name("example.png"); // every ComfyUI comes with it
    let upload = world.request(Method::POST, "/upload/image").multipart(Form::new().part("image", example));
    assert!(upload.send().await.unwrap().status().is_success());
    let mut found = Vec::new();
    for name in CAPTURES {
        found.extend(replay(&world, name).await);
    }
    let is_meant = |difference: &str, (capture, part, _): &(&str, &str, &str)| {
        difference.starts_with(&format!("{capture}: ")) && difference.contains(part)
    };
    for meant in MEANT {
        assert!(found.iter().any(|difference| is_meant(difference, meant)), "no longer differs: {meant:?}");
    }
    found.retain(|difference| !MEANT.iter().any(|meant| is_meant(difference, meant)));
    assert!(found.is_empty(), "{} differences:\n{}", found.len(), found.join("\n"));
}
