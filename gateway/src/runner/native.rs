//! What ComfyUI says of a prompt, put into the words of the caller who sent it by ComfyUI's own API: its frames, and its
//! entry of the history. Pure.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::comfy::wire::{self, FrameEvent, HistoryEntry};
use super::failure::shown;
use super::outputs::list::{self, Found, Source};
use crate::link::message::{Attempt, Frame, FrameKind, Native};
use crate::workflow::Original;

/// Bounds of texts in errors, characters.
const MESSAGE_CHARS: usize = 4_000;
const TRACEBACK_CHARS: usize = 2_000;

/// A record beyond this is told without what a node was given, bytes.
const RECORD_BYTES: usize = 256 << 10;

/// A record beyond this is not told at all, bytes.
const MOST_RECORD_BYTES: usize = 4 << 20;

/// The member of a file's entry in a record that names the output it became.
const OUTPUT: &str = "@output";

/// How an attempt is spoken of to its caller.
#[derive(Debug, Clone, Copy)]
pub(super) struct Voice<'a> {
    pub(super) attempt: Attempt,
    /// The attempt's own id at ComfyUI.
    pub(super) prompt: &'a str,
    pub(super) native: &'a Native,
    pub(super) original: &'a Original,
}

impl Voice<'_> {
    /// A frame for the caller; `None` for those that are told when the end of the job is committed, and for others that
    /// are not the caller's.
    pub(super) fn frame(&self, event: &FrameEvent, text: &[u8]) -> Option<Frame> {
        let (name, kind) = match event {
            FrameEvent::Error(error) if error.is_of_a_branch() => return self.blocked(text),
            FrameEvent::Started => ("execution_start", FrameKind::Started),
            FrameEvent::Cached(_) => ("execution_cached", FrameKind::Other),
            FrameEvent::Nodes(_) => ("progress_state", FrameKind::Other),
            FrameEvent::Executing(Some(node)) => ("executing", FrameKind::Node(node.clone())),
            FrameEvent::Step { .. } => ("progress", FrameKind::Step),
            FrameEvent::Executing(None)
            | FrameEvent::Executed(_)
            | FrameEvent::Success
            | FrameEvent::Error(_)
            | FrameEvent::Interrupted
            | FrameEvent::Status => return None,
        };
        let data = self.of_caller(wire::frame_data(text)?.get());
        Some(Frame { kind, text: format!(r#"{{"type":"{name}","data":{data}}}"#) })
    }

    /// A branch that was blocked: the prompt goes on, and its history does not mention it (PROTOCOL §8.2).
    fn blocked(&self, text: &[u8]) -> Option<Frame> {
        let mut data: Value = serde_json::from_str(wire::frame_data(text)?.get()).ok()?;
        clean("execution_error", &mut data);
        let data = self.of_caller(&data.to_string());
        Some(Frame { kind: FrameKind::Other, text: format!(r#"{{"type":"execution_error","data":{data}}}"#) })
    }

    /// The entry of the history; `found` are its files in the order of their listing.
    pub(super) fn record(&self, entry: &HistoryEntry, found: &[Found]) -> Option<Arc<str>> {
        let mut messages = entry.status.as_ref().map(|status| status.messages.clone()).unwrap_or_default();
        messages.iter_mut().for_each(|(name, data)| clean(name, data));
        let text = self.text(entry, found, &messages);
        if text.len() <= RECORD_BYTES {
            return Some(text.into());
        }
        for (_, data) in &mut messages {
            if let Some(data) = data.as_object_mut() {
                data.shift_remove("current_inputs");
                data.shift_remove("current_outputs");
            }
        }
        let text = self.text(entry, found, &messages);
        (text.len() <= MOST_RECORD_BYTES).then(|| text.into())
    }

    fn text(&self, entry: &HistoryEntry, found: &[Found], messages: &[(String, Value)]) -> String {
        let pictures: Vec<_> = found
            .iter()
            .enumerate()
            .filter(|(_, file)| matches!(file.source, Source::Frame(..)))
            .map(|(index, _)| self.attempt.output_id(index))
            .collect();
        let record = json!({
            "outputs": self.outputs(entry, found),
            "meta": entry.meta,
            "messages": messages,
            "pictures": pictures,
        });
        self.of_caller(&record.to_string())
    }

    /// The outputs of each node, with the files in the caller's own names.
    fn outputs(&self, entry: &HistoryEntry, found: &[Found]) -> Map<String, Value> {
        let mut outputs = entry.outputs.clone();
        let lists = outputs.values_mut().filter_map(Value::as_object_mut).flat_map(Map::values_mut);
        for file in lists.filter_map(Value::as_array_mut).flatten() {
            self.name(file, found);
        }
        outputs
    }

    fn name(&self, file: &mut Value, found: &[Found]) {
        let Some(place) = list::file_ref(file) else { return };
        let name = self.original.name(&place.filename, &place.subfolder);
        let (folder, name) = name.rsplit_once('/').unwrap_or(("", &name));
        let index = found.iter().position(|found| found.source == Source::View(place.clone()));
        let Some(members) = file.as_object_mut() else { return };
        members.insert("filename".into(), name.into());
        members.insert("subfolder".into(), folder.into());
        members.remove("fullpath"); // some savers tell the server's own
        if let Some(index) = index {
            members.insert(OUTPUT.into(), self.attempt.output_id(index).to_string().into());
        }
    }

    /// JSON text with the caller's id of the job instead of ours, and without our folder. Both are random: nothing else
    /// can look like them.
    fn of_caller(&self, text: &str) -> String {
        let quoted = |id: &str| Value::from(id).to_string();
        let text = text.replace(&quoted(self.prompt), &quoted(&self.native.prompt_id));
        match self.original.folder.as_str() {
            "" => text,
            folder => text.replace(&format!("{folder}/"), ""),
        }
    }
}

/// Takes out of a message what the server must not tell.
fn clean(name: &str, data: &mut Value) {
    if name != "execution_error" {
        return;
    }
    if let Some(message) = data.get_mut("exception_message")
        && let Some(text) = message.as_str()
    {
        *message = shown(text, MESSAGE_CHARS).into();
    }
    let lines = data.get_mut("traceback").and_then(Value::as_array_mut);
    for line in lines.into_iter().flatten() {
        *line = shown(line.as_str().unwrap_or_default(), TRACEBACK_CHARS).into();
    }
}

#[cfg(test)]
#[path = "native_tests.rs"]
mod tests;
