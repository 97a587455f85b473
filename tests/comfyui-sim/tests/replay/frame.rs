//! Frames in a form that two runs can be compared by: no ids, times, counters or random letters.

use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

/// One frame, normalised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub text: String,
    /// Belongs to a run of ticks: progress, its state, its preview.
    is_tick: bool,
}

/// The frames of one socket, runs of ticks collapsed.
#[derive(Clone, Debug, Default)]
pub struct Frames(pub Vec<Frame>);

impl Frames {
    /// Adds a frame, unless it repeats one of the last three of a run of ticks.
    pub fn push(&mut self, frame: Frame) {
        let others = self.0.iter().rev().filter(|frame| !frame.text.starts_with("status"));
        let run = others.take(3).take_while(|frame| frame.is_tick);
        if frame.is_tick && run.into_iter().any(|known| *known == frame) {
            return;
        }
        self.0.push(frame);
    }

    /// Whether fewer frames than in `recorded` arrived.
    pub fn is_behind(&self, recorded: &Frames) -> bool {
        let steps =
            |frames: &Frames| frames.0.iter().filter(|frame| !frame.text.starts_with("status")).count();
        let statuses = |frames: &Frames| frames.0.len() - steps(frames);
        steps(self) < steps(recorded) || statuses(self) < statuses(recorded).min(1)
    }

    /// The texts; `status` frames only if asked for, apart from the greeting.
    pub fn texts(&self, with_status: bool) -> Vec<String> {
        let all = self.0.iter().map(|frame| frame.text.clone());
        all.filter(|text| with_status || !text.starts_with("status") || text.ends_with("sid")).collect()
    }
}

/// A frame of a capture.
pub fn recorded(line: &Value) -> Frame {
    if line["kind"] == "text" {
        return match line.get("payload").filter(|payload| payload.is_object()) {
            Some(payload) => event(payload),
            None => raw(line["payload_raw"].as_str().unwrap_or("")),
        };
    }
    match line["event_type"].as_u64() {
        Some(1) => tick(format!("preview format {}", line["image_format"])),
        Some(3) => step(format!("text of {}: {}", line["node_id"], line["text"])),
        Some(4) => with_metadata(&line["metadata"]),
        other => step(format!("binary {other:?}")),
    }
}

/// A frame of the replay; `None` for what is no frame of the protocol.
pub fn received(message: &Message) -> Option<Frame> {
    match message {
        Message::Text(text) => Some(match serde_json::from_str(text) {
            Ok(payload) => event(&payload),
            Err(_) => raw(text),
        }),
        Message::Binary(bytes) => Some(binary(bytes)),
        _ => None,
    }
}

fn binary(bytes: &[u8]) -> Frame {
    let word =
        |at: usize| bytes[at..at + 4].iter().fold(0usize, |word, byte| (word << 8) | usize::from(*byte));
    match word(0) {
        1 => tick(format!("preview format {}", word(4))),
        3 => {
            let text = |bytes: &[u8]| Value::from(String::from_utf8_lossy(bytes).into_owned());
            let end = 8 + word(4);
            step(format!("text of {}: {}", text(&bytes[8..end]), text(&bytes[end..])))
        }
        4 => with_metadata(&serde_json::from_slice(&bytes[8..8 + word(4)]).unwrap()),
        other => step(format!("binary {other}")),
    }
}

fn with_metadata(metadata: &Value) -> Frame {
    let (node, kind) = (&metadata["node_id"], &metadata["image_type"]);
    tick(format!("preview of {node} {kind} under {}", metadata["display_node_id"]))
}

fn step(text: String) -> Frame {
    Frame { text, is_tick: false }
}

fn tick(text: String) -> Frame {
    Frame { text, is_tick: true }
}

/// A text frame that is not strict JSON.
fn raw(text: &str) -> Frame {
    let start = text.find("\"output\"").map_or("", |at| &text[at..]);
    let end = start.find("\"prompt_id\"").unwrap_or(start.len());
    step(format!("not JSON {}", start[..end].replace(' ', "")))
}

fn event(payload: &Value) -> Frame {
    let (kind, data) = (payload["type"].as_str().unwrap(), &payload["data"]);
    match kind {
        "status" => {
            let sid = if data.get("sid").is_some() { " sid" } else { "" };
            step(format!("status {}{sid}", data["status"]["exec_info"]["queue_remaining"]))
        }
        "progress" => tick(format!("progress of {}", data["node"])),
        "progress_state" => {
            let nodes = data["nodes"].as_object().unwrap().iter();
            let states: Vec<String> = nodes
                .map(|(id, node)| format!("{id}:{} under {}", node["state"], node["display_node_id"]))
                .collect();
            tick(format!("state {}", states.join(", ")))
        }
        "execution_cached" => step(format!("cached {}", sorted(&data["nodes"]))),
        "executing" => {
            let anonymous = if data.get("prompt_id").is_some() { "" } else { " without prompt" };
            step(format!("executing {} under {}{anonymous}", data["node"], data["display_node"]))
        }
        "executed" => step(format!("executed {} {}", data["node"], nameless(&data["output"]))),
        "execution_error" | "execution_interrupted" => step(format!(
            "{kind} at {} {} {} after {}",
            data["node_id"],
            data["node_type"],
            data["exception_type"],
            sorted(&data["executed"]),
        )),
        "feature_flags" => step(format!("feature_flags {data}")),
        _ => step(kind.to_owned()),
    }
}

fn sorted(list: &Value) -> String {
    let mut texts: Vec<String> = list.as_array().into_iter().flatten().map(Value::to_string).collect();
    texts.sort();
    texts.join(",")
}

/// Output entries with numbers and random letters taken out of the file names.
pub fn nameless(output: &Value) -> String {
    let text = output.to_string();
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find("ComfyUI_temp_") {
        out.push_str(&rest[..at + 13]);
        rest = &rest[at + 18..];
    }
    out.push_str(rest);
    let digits = |c: char| if c.is_ascii_digit() { '#' } else { c };
    out.chars().map(digits).collect()
}
