//! The files of a finished prompt, in the order of the caller's graph; pure.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::media;
use crate::link::message::{ListedFile, OutputKind, StoredFile};
use crate::runner::comfy::http::FileRef;
use crate::runner::comfy::wire::HistoryEntry;
use crate::runner::sketch::Sketch;
use crate::workflow::Original;

/// A file and where its bytes are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Found {
    pub listed: ListedFile,
    pub source: Source,
}

/// Where the bytes of a file are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Source {
    /// At ComfyUI.
    View(FileRef),
    /// In the attempt's spool folder, under this name; a picture that came over the socket.
    Frame(String, StoredFile),
    /// A `text` output: these are its bytes.
    Text(String),
    /// Made of another file, and nowhere but in the spool.
    Made,
}

/// A picture that came over the socket and lies in the spool.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SavedFrame {
    pub node: String,
    pub file: String,
    pub facts: StoredFile,
}

/// Everything an attempt made. `input` files are not its own and are left out.
pub(crate) fn files(
    entry: &HistoryEntry,
    frames: &[SavedFrame],
    sketch: &Sketch,
    original: &Original,
) -> Vec<Found> {
    let mut nodes: Vec<(&String, &Value)> = entry.outputs.iter().collect();
    nodes.sort_by_key(|(id, _)| sketch.place(shown_node(entry, id)));
    let mut found = Vec::new();
    for (id, output) in nodes {
        of_node(shown_node(entry, id), output, original, &mut found);
    }
    found.extend(frames.iter().enumerate().map(|(at, frame)| framed(at, frame)));
    found.sort_by_key(|file| sketch.place(&file.listed.node_id));
    let mut seen = HashSet::new();
    found.retain(|file| match &file.source {
        Source::View(file) => seen.insert(file.clone()),
        _ => true,
    });
    found
}

/// The node of the submitted graph; expanded ones have ids of their own (PROTOCOL §3).
fn shown_node<'a>(entry: &'a HistoryEntry, id: &'a str) -> &'a str {
    let meta = entry.meta.as_ref().and_then(|meta| meta.get(id));
    meta.and_then(|meta| meta.display_node.as_deref()).unwrap_or(id)
}

fn of_node(node: &str, output: &Value, original: &Original, found: &mut Vec<Found>) {
    let mut texts = 0;
    for (key, values) in output.as_object().into_iter().flatten() {
        for value in values.as_array().into_iter().flatten() {
            match value {
                Value::String(text) if key == "text" => {
                    found.push(text_file(node, texts, text));
                    texts += 1;
                }
                Value::Object(_) => found.extend(view_file(node, value, original)),
                _ => {}
            }
        }
    }
}

fn view_file(node: &str, value: &Value, original: &Original) -> Option<Found> {
    let file = file_ref(value)?;
    let (kind, content_type) = media::by_name(&file.filename);
    let name = original.name(&file.filename, &file.subfolder);
    Some(Found {
        listed: ListedFile { node_id: node.to_owned(), kind, name, content_type: content_type.into() },
        source: Source::View(file),
    })
}

/// The file that an entry of a node's output names; `None`: it names none of the attempt's own.
pub(crate) fn file_ref(value: &Value) -> Option<FileRef> {
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    let filename = text("filename").filter(|name| !name.is_empty())?.to_owned();
    let folder = text("type").unwrap_or("output").to_owned();
    if folder != "output" && folder != "temp" {
        return None;
    }
    let subfolder = text("subfolder").unwrap_or_default().to_owned();
    Some(FileRef { filename, subfolder, folder })
}

fn text_file(node: &str, index: usize, text: &str) -> Found {
    Found {
        listed: ListedFile {
            node_id: node.to_owned(),
            kind: OutputKind::Text,
            name: format!("text_{node}_{:05}_.txt", index + 1),
            content_type: "text/plain".into(),
        },
        source: Source::Text(text.to_owned()),
    }
}

fn framed(at: usize, frame: &SavedFrame) -> Found {
    let extension = if frame.facts.content_type == "image/jpeg" { "jpg" } else { "png" };
    Found {
        listed: ListedFile {
            node_id: frame.node.clone(),
            kind: OutputKind::Image,
            name: format!("websocket_{:05}_.{extension}", at + 1),
            content_type: frame.facts.content_type.clone(),
        },
        source: Source::Frame(frame.file.clone(), frame.facts.clone()),
    }
}
