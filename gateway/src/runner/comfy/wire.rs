//! ComfyUI's JSON and binary frames as types; what is not needed is skipped while parsing.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::link::message::Attempt;

/// Our mark on a prompt: `extra_data.darkroom` (DESIGN §4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    pub cell: Uuid,
    pub job: Uuid,
    pub attempt: u32,
}

impl Mark {
    pub(crate) fn attempt(&self) -> Attempt {
        Attempt { job: self.job, number: self.attempt }
    }
}

/// The body of `POST /prompt`. There is no `number` on purpose (PROTOCOL §8.1).
#[derive(Debug, Serialize)]
pub(crate) struct Submission<'a> {
    pub prompt: &'a serde_json::Value,
    pub client_id: &'a str,
    pub prompt_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partial_execution_targets: Option<&'a [String]>,
    pub extra_data: ExtraData<'a>,
}

#[derive(Debug, Serialize)]
pub(crate) struct ExtraData<'a> {
    pub darkroom: Mark,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra_pnginfo: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preview_method: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key_comfy_org: Option<&'a str>,
}

/// The 200 of `POST /prompt`.
#[derive(Debug, Deserialize)]
pub(crate) struct Accepted {
    pub prompt_id: String,
    #[serde(default)]
    pub number: Option<f64>,
    #[serde(default)]
    pub node_errors: serde_json::Value,
}

/// The 400 of `POST /prompt`.
#[derive(Debug, Deserialize)]
pub(crate) struct Refusal {
    pub error: RefusalError,
    #[serde(default)]
    pub node_errors: serde_json::Value,
}

#[derive(Debug, Deserialize)]
pub(crate) struct RefusalError {
    #[serde(rename = "type", default)]
    pub kind: String,
    #[serde(default)]
    pub message: String,
    #[serde(default)]
    pub details: String,
    #[serde(default)]
    pub extra_info: serde_json::Value,
}

/// `GET /queue`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Queue {
    #[serde(default)]
    pub queue_running: Vec<QueueItem>,
    #[serde(default)]
    pub queue_pending: Vec<QueueItem>,
}

/// `(number, id, graph, extra_data, outputs, …)`.
#[derive(Debug)]
pub(crate) struct QueueItem {
    pub id: String,
    pub mark: Option<Mark>,
}

#[derive(Debug, Default, Deserialize)]
struct ExtraSeen {
    #[serde(default, deserialize_with = "mark_or_none")]
    darkroom: Option<Mark>,
}

/// Anything may stand under our key when others submit.
fn mark_or_none<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Mark>, D::Error> {
    let value = serde_json::Value::deserialize(from)?;
    Ok(Mark::deserialize(value).ok())
}

impl<'de> Deserialize<'de> for QueueItem {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Items;
        impl<'de> serde::de::Visitor<'de> for Items {
            type Value = QueueItem;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a queue item")
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<QueueItem, A::Error> {
                seq.next_element::<IgnoredAny>()?;
                let id: String = seq.next_element()?.unwrap_or_default();
                seq.next_element::<IgnoredAny>()?;
                let extra: Option<ExtraSeen> = seq.next_element()?;
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(QueueItem { id, mark: extra.and_then(|extra| extra.darkroom) })
            }
        }
        from.deserialize_seq(Items)
    }
}

/// One entry of `GET /history`.
#[derive(Debug, Deserialize)]
pub(crate) struct HistoryEntry {
    pub prompt: QueueItem,
    #[serde(default)]
    pub outputs: serde_json::Map<String, serde_json::Value>,
    #[serde(default)]
    pub status: Option<HistoryStatus>,
    #[serde(default)]
    pub meta: Option<BTreeMap<String, NodeMeta>>,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct HistoryStatus {
    #[serde(default)]
    pub status_str: String,
    #[serde(default)]
    pub messages: Vec<(String, serde_json::Value)>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct NodeMeta {
    pub node_id: Option<String>,
    pub display_node: Option<String>,
    pub parent_node: Option<String>,
    pub real_node_id: Option<String>,
}

/// `GET /history…`: entries by prompt id.
pub(crate) type History = BTreeMap<String, HistoryEntry>;

/// `GET /system_stats`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct SystemStats {
    #[serde(default)]
    pub system: SystemInfo,
    #[serde(default)]
    pub devices: Vec<DeviceInfo>,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct SystemInfo {
    #[serde(default)]
    pub comfyui_version: Option<String>,
    #[serde(default)]
    pub ram_total: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct DeviceInfo {
    #[serde(default)]
    pub name: String,
    #[serde(rename = "type", default)]
    pub kind: String,
    #[serde(default)]
    pub vram_total: Option<u64>,
}

/// The answer to `POST /upload/image`.
#[derive(Debug, Deserialize)]
pub(crate) struct Uploaded {
    pub name: String,
    #[serde(default)]
    pub subfolder: String,
}

/// Reads JSON as Python writes it: bare `NaN` and `Infinity` count as null (PROTOCOL §8.1).
pub(crate) fn lenient<T: DeserializeOwned>(text: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(text).or_else(|error| match without_nan(text) {
        Some(clean) => serde_json::from_slice(&clean),
        None => Err(error),
    })
}

/// The text with bare `NaN`, `Infinity` and `-Infinity` outside of strings made `null`; `None` if there is none.
fn without_nan(text: &[u8]) -> Option<Vec<u8>> {
    let mut clean = Vec::with_capacity(text.len());
    let (mut at, mut quoted, mut found) = (0, false, false);
    while at < text.len() {
        let rest = &text[at..];
        let word: Option<&[u8]> = [&b"NaN"[..], b"Infinity", b"-Infinity"]
            .into_iter()
            .find(|word| !quoted && rest.starts_with(word));
        if let Some(word) = word {
            clean.extend_from_slice(b"null");
            at += word.len();
            found = true;
            continue;
        }
        if quoted && rest[0] == b'\\' {
            clean.extend_from_slice(&rest[..rest.len().min(2)]);
            at += 2;
            continue;
        }
        quoted ^= rest[0] == b'"';
        clean.push(rest[0]);
        at += 1;
    }
    found.then_some(clean)
}

/// What a text frame says, as far as we care.
#[derive(Debug, PartialEq)]
pub(crate) struct TextFrame {
    /// Whose it is; `None` for `status` and for the nameless `executing` of a reconnect.
    pub prompt: Option<Box<str>>,
    pub event: FrameEvent,
}

/// The events of PROTOCOL §3 that matter to us.
#[derive(Debug, PartialEq)]
pub(crate) enum FrameEvent {
    Status,
    Started,
    Cached(Vec<String>),
    Nodes(Vec<NodeState>),
    /// `None`: the prompt left the worker.
    Executing(Option<String>),
    Step {
        node: Option<String>,
        value: f64,
        max: f64,
    },
    Executed(String),
    Success,
    Error(Box<ErrorEvent>),
    Interrupted,
}

/// One node of a `progress_state`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NodeState {
    /// The node of the submitted graph that it belongs to.
    pub node: String,
    pub share: f64,
    pub finished: bool,
    /// Whether it is that node itself, not one of the sub-graph it expanded to.
    pub itself: bool,
}

/// `execution_error`, with what may be shown.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct ErrorEvent {
    pub node_id: Option<String>,
    pub node_type: Option<String>,
    pub exception_message: Option<String>,
    pub exception_type: Option<String>,
    pub traceback: Vec<String>,
}

impl ErrorEvent {
    /// It tells of a branch that was blocked: the prompt goes on and may end well (PROTOCOL §8.2).
    pub(crate) fn is_of_a_branch(&self) -> bool {
        self.exception_type.as_deref() == Some("ExecutionBlocked")
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    data: &'a RawValue,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Common<'a> {
    #[serde(borrow)]
    prompt_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    node: Option<Cow<'a, str>>,
    #[serde(borrow)]
    display_node: Option<Cow<'a, str>>,
    value: Option<f64>,
    max: Option<f64>,
}

#[derive(Deserialize)]
struct CachedData<'a> {
    #[serde(borrow)]
    prompt_id: Cow<'a, str>,
    #[serde(default)]
    nodes: Vec<String>,
}

#[derive(Deserialize)]
struct StateData<'a> {
    #[serde(borrow)]
    prompt_id: Cow<'a, str>,
    #[serde(borrow, default)]
    nodes: BTreeMap<Cow<'a, str>, StateNode<'a>>,
}

#[derive(Deserialize)]
struct StateNode<'a> {
    #[serde(default)]
    value: Option<f64>,
    #[serde(default)]
    max: Option<f64>,
    #[serde(borrow, default)]
    state: Cow<'a, str>,
    #[serde(borrow, default)]
    display_node_id: Option<Cow<'a, str>>,
}

/// Reads a text frame; `None` for one that does not concern us or cannot be read.
pub(crate) fn text_frame(text: &[u8]) -> Option<TextFrame> {
    if let Ok(envelope) = serde_json::from_slice::<Envelope<'_>>(text) {
        return read_event(&envelope.kind, envelope.data.get());
    }
    let clean = without_nan(text)?;
    let envelope = serde_json::from_slice::<Envelope<'_>>(&clean).ok()?;
    read_event(&envelope.kind, envelope.data.get())
}

/// The `data` of a text frame, strict JSON.
pub(crate) fn frame_data(text: &[u8]) -> Option<Box<RawValue>> {
    if let Ok(envelope) = serde_json::from_slice::<Envelope<'_>>(text) {
        return Some(envelope.data.to_owned());
    }
    let clean = without_nan(text)?;
    Some(serde_json::from_slice::<Envelope<'_>>(&clean).ok()?.data.to_owned())
}

fn read_event(kind: &str, data: &str) -> Option<TextFrame> {
    match kind {
        "status" => Some(TextFrame { prompt: None, event: FrameEvent::Status }),
        "execution_cached" => {
            let data: CachedData<'_> = serde_json::from_str(data).ok()?;
            Some(of(data.prompt_id, FrameEvent::Cached(data.nodes)))
        }
        "progress_state" => {
            let data: StateData<'_> = serde_json::from_str(data).ok()?;
            let nodes = data.nodes.iter().map(|(id, node)| node_state(id, node)).collect();
            Some(of(data.prompt_id, FrameEvent::Nodes(nodes)))
        }
        "execution_error" => {
            let common: Common<'_> = serde_json::from_str(data).ok()?;
            let error = serde_json::from_str(data).unwrap_or_default();
            Some(of(common.prompt_id?, FrameEvent::Error(Box::new(error))))
        }
        "execution_start"
        | "executing"
        | "progress"
        | "executed"
        | "execution_success"
        | "execution_interrupted" => {
            let data: Common<'_> = serde_json::from_str(data).ok()?;
            plain_event(kind, data)
        }
        _ => None,
    }
}

fn of(prompt: Cow<'_, str>, event: FrameEvent) -> TextFrame {
    TextFrame { prompt: Some(prompt.into()), event }
}

fn plain_event(kind: &str, data: Common<'_>) -> Option<TextFrame> {
    let shown = || data.display_node.as_deref().or(data.node.as_deref()).map(str::to_owned);
    let event = match kind {
        "execution_start" => FrameEvent::Started,
        "executing" => FrameEvent::Executing(shown()),
        "progress" => FrameEvent::Step {
            node: data.node.as_deref().map(str::to_owned),
            value: data.value.unwrap_or(0.0),
            max: data.max.unwrap_or(0.0),
        },
        "executed" => FrameEvent::Executed(shown()?),
        "execution_success" => FrameEvent::Success,
        _ => FrameEvent::Interrupted,
    };
    Some(TextFrame { prompt: data.prompt_id.map(Into::into), event })
}

fn node_state(id: &str, node: &StateNode<'_>) -> NodeState {
    let (value, max) = (node.value.unwrap_or(0.0), node.max.unwrap_or(0.0));
    let share = if max > 0.0 { (value / max).clamp(0.0, 1.0) } else { 0.0 };
    let display = node.display_node_id.as_deref().unwrap_or(id);
    NodeState { node: display.to_owned(), share, finished: node.state == "finished", itself: display == id }
}

/// A picture out of a binary frame (PROTOCOL §3).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Picture {
    /// From a type 4 frame; type 1 carries none.
    pub owner: Option<PictureOwner>,
    pub content_type: String,
    pub bytes: Bytes,
}

/// Who shows a picture.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct PictureOwner {
    pub prompt_id: String,
    #[serde(default)]
    pub node_id: String,
    #[serde(default)]
    pub display_node_id: Option<String>,
    #[serde(default)]
    image_type: Option<String>,
}

impl PictureOwner {
    /// The node of the submitted graph.
    pub(crate) fn node(&self) -> &str {
        self.display_node_id.as_deref().unwrap_or(&self.node_id)
    }
}

/// Reads a binary frame; `None` for text frames (type 3), unknown and broken ones.
pub(crate) fn picture(frame: &Bytes) -> Option<Picture> {
    let word = |at: usize| {
        let bytes: [u8; 4] = frame.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_be_bytes(bytes))
    };
    match word(0)? {
        1 => {
            let content_type = if word(4)? == 2 { "image/png" } else { "image/jpeg" };
            Some(Picture { owner: None, content_type: content_type.into(), bytes: frame.slice(8..) })
        }
        4 => {
            let length = usize::try_from(word(4)?).ok()?;
            let end = length.checked_add(8)?;
            let owner: PictureOwner = lenient(frame.get(8..end)?).ok()?;
            let content_type = owner.image_type.clone().unwrap_or_else(|| "image/jpeg".into());
            Some(Picture { owner: Some(owner), content_type, bytes: frame.slice(end..) })
        }
        _ => None,
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
