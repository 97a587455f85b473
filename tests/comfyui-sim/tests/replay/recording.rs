//! A recording of a real server: its lines, and the requests of its client.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use reqwest::multipart::{Form, Part};
use reqwest::{Client, RequestBuilder};
use serde_json::Value;

/// A recording client that let this much time pass without a frame had waited for the queue to run dry, ms.
pub const PAUSE_MS: f64 = 250.0;

/// Nodes that sleep do so this many times longer: what a client asks meanwhile must be asked in time on a busy machine too.
const SLOWER: f64 = 3.0;

/// Bodies beyond this are not worth sending in a test.
const FORM_BYTES_MAX: u64 = 10_000_000;

/// Where the recordings are.
pub fn folder() -> PathBuf {
    let mut above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let root = above.find(|folder| folder.join("tests/fixtures").is_dir()).unwrap();
    root.join("tests/fixtures/comfyui/captures")
}

/// The lines of a recording.
pub fn lines(name: &str) -> Vec<Value> {
    let path = folder().join(format!("{name}.jsonl"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What the client said on a socket.
pub fn said(line: &Value) -> String {
    line["payload"].as_str().map_or_else(|| line["payload"].to_string(), str::to_owned)
}

/// The answer to the request that begins these lines, if one came.
pub fn answer(lines: &[Value]) -> Option<&Value> {
    let before_the_next = lines.iter().skip(1).take_while(|line| line["kind"] != "request");
    before_the_next.into_iter().find(|line| line["kind"] == "response")
}

/// Ids of the recording and what they are called in the replay; those that the server minted differ.
#[derive(Default)]
pub struct Ids(HashMap<String, String>);

impl Ids {
    /// Takes the ids of two answers to the same submission for the same.
    pub fn learn(&mut self, theirs: &Value, ours: Option<&Value>) {
        let id = |body: &Value| body["prompt_id"].as_str().map(str::to_owned);
        if let (Some(theirs), Some(ours)) = (id(theirs), ours.and_then(id)) {
            self.0.insert(theirs, ours);
        }
    }

    /// A text in the words of the replay.
    pub fn rename(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (theirs, ours)| text.replace(theirs, ours))
    }

    /// The recorded request; `None` for one that is not worth sending, or cannot be repeated.
    pub fn request(&self, client: &Client, base: &str, line: &Value) -> Option<RequestBuilder> {
        let is_too_big = line["form"]["file_len"].as_u64().is_some_and(|len| len > FORM_BYTES_MAX);
        if is_too_big || line["headers"].get("If-None-Match").is_some() {
            return None;
        }
        let url = format!("{base}{}", self.rename(line["path"].as_str()?));
        let mut request = client.request(line["method"].as_str()?.parse().ok()?, url);
        for (name, value) in line["headers"].as_object().into_iter().flatten() {
            request = request.header(name, value.as_str()?);
        }
        Some(if let Some(name) = line["note"].as_str().and_then(|note| note.strip_prefix("filename=")) {
            // A form of the recording's own making: the library would escape the name.
            let part = format!("Content-Disposition: form-data; name=\"image\"; filename=\"{name}\"");
            request.body(format!("--B\r\n{part}\r\n\r\nnot a picture\r\n--B--\r\n"))
        } else if let Some(json) = line.get("json") {
            request.body(self.rename(&slowed(json.clone()).to_string()))
        } else if let Some(raw) = line["raw"].as_str() {
            request.body(raw.to_owned())
        } else if line["form"].is_object() {
            request.multipart(form(&line["form"]))
        } else {
            request
        })
    }
}

/// A submission whose nodes sleep longer than they did.
fn slowed(mut body: Value) -> Value {
    let nodes = body.get_mut("prompt").and_then(Value::as_object_mut);
    for node in nodes.into_iter().flat_map(|nodes| nodes.values_mut()) {
        if let Some(seconds) = node["inputs"]["seconds"].as_f64() {
            node["inputs"]["seconds"] = (seconds * SLOWER).into();
        }
    }
    body
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
