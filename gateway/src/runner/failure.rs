//! What ComfyUI's errors mean for the job, and how they may be shown; pure.

use scheduler::AttemptEnd;
use serde_json::{Map, Value};

use super::comfy::wire::{ErrorEvent, Refusal};
use crate::link::message::{NodeError, Rejection, Signal};

/// Bounds of texts that travel on, characters.
const MESSAGE_CHARS: usize = 4_000;
const TRACEBACK_CHARS: usize = 16_000;

/// The end of an attempt by an `execution_error`.
pub(super) fn signal_of(error: ErrorEvent) -> Signal {
    let kind = error.exception_type.as_deref().unwrap_or_default();
    let message = error.exception_message.as_deref().unwrap_or_default();
    let lost = |end| Signal::Lost { end, message: shown(&format!("{kind}: {message}"), MESSAGE_CHARS) };
    match fault_of(kind, message) {
        Some(end) => lost(end),
        None => Signal::NodeFailed(node_error(error)),
    }
}

/// Whether the error is the device's or the host's rather than the graph's (DESIGN §5).
pub(super) fn fault_of(kind: &str, message: &str) -> Option<AttemptEnd> {
    if kind.contains("OutOfMemory") || message.contains("CUDA out of memory") {
        return Some(AttemptEnd::OutOfMemory);
    }
    const DEVICE: [&str; 8] = [
        "CUDA error",
        "CUDA driver error",
        "cuDNN error",
        "CUBLAS_STATUS",
        "illegal memory access",
        "device-side assert",
        "AcceleratorError",
        "no CUDA-capable device",
    ];
    if DEVICE.iter().any(|mark| kind.contains(mark) || message.contains(mark)) {
        return Some(AttemptEnd::DeviceFault);
    }
    const HOST: [&str; 12] = [
        "OSError",
        "IOError",
        "PermissionError",
        "BlockingIOError",
        "BrokenPipeError",
        "ConnectionError",
        "ConnectionResetError",
        "ConnectionRefusedError",
        "ConnectionAbortedError",
        "TimeoutError",
        "MemoryError",
        "InterruptedError",
    ];
    let class = kind.rsplit('.').next().unwrap_or(kind);
    let full = message.contains("No space left on device") || message.contains("Too many open files");
    (full || HOST.contains(&class)).then_some(AttemptEnd::HostFault)
}

fn node_error(error: ErrorEvent) -> NodeError {
    let trace = error.traceback.concat();
    NodeError {
        node_id: error.node_id,
        class_type: error.node_type,
        exception_type: error.exception_type.map(|kind| shown(&kind, 200)),
        message: shown(error.exception_message.as_deref().unwrap_or_default(), MESSAGE_CHARS),
        traceback: (!trace.is_empty()).then(|| shown(&trace, TRACEBACK_CHARS)),
    }
}

/// ComfyUI's 400 without what its server must not tell.
pub(super) fn rejection(refusal: Refusal) -> Rejection {
    let Refusal { error, node_errors } = refusal;
    let mut message = error.message;
    if !error.details.is_empty() {
        message = format!("{message}: {}", error.details);
    }
    let node_errors = match node_errors {
        Value::Object(map) if map.is_empty() => missing_node(&error.kind, &error.extra_info, &message),
        other => Some(other),
    };
    Rejection {
        kind: error.kind,
        message: shown(&message, MESSAGE_CHARS),
        node_errors: node_errors.and_then(node_errors_text),
    }
}

/// `missing_node_type` names its node in `extra_info` only (PROTOCOL §2).
fn missing_node(kind: &str, extra: &Value, message: &str) -> Option<Value> {
    let id = extra.get("node_id")?.as_str()?;
    let class = extra.get("class_type").cloned().unwrap_or_default();
    let error = serde_json::json!({"type": kind, "message": message, "details": "", "extra_info": {}});
    let node = serde_json::json!({"errors": [error], "dependent_outputs": [], "class_type": class});
    Some(Value::Object(Map::from_iter([(id.to_owned(), node)])))
}

/// `node_errors` of a 200 that dropped outputs.
pub(super) fn dropped_outputs(node_errors: Value) -> Rejection {
    Rejection {
        kind: "prompt_outputs_failed_validation".into(),
        message: "Some outputs failed validation".into(),
        node_errors: node_errors_text(node_errors),
    }
}

fn node_errors_text(mut errors: Value) -> Option<String> {
    if errors.as_object().is_none_or(Map::is_empty) {
        return None;
    }
    clean(&mut errors);
    Some(errors.to_string())
}

fn clean(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.remove("traceback");
            map.values_mut().for_each(clean);
        }
        Value::Array(items) => items.iter_mut().for_each(clean),
        Value::String(text) => *text = shown(text, MESSAGE_CHARS),
        _ => {}
    }
}

/// A text without the server's paths, bounded.
pub(super) fn shown(text: &str, max_chars: usize) -> String {
    let clean = without_paths(text);
    match clean.char_indices().nth(max_chars) {
        Some((end, _)) => format!("{}…", &clean[..end]),
        None => clean,
    }
}

/// Absolute paths become their last part.
fn without_paths(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = path_start(rest, clean.chars().next_back()) {
        clean.push_str(&rest[..start]);
        let path = &rest[start..];
        let end = path.find(ends_path).unwrap_or(path.len());
        let (path, after) = path.split_at(end);
        clean.push_str(path.rsplit(['/', '\\']).next().unwrap_or_default());
        rest = after;
    }
    clean.push_str(rest);
    clean
}

fn ends_path(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\'' | ',' | ';' | ')' | ']' | '}' | '>' | ':' | '`')
}

/// Where an absolute path of at least two parts begins.
fn path_start(text: &str, before: Option<char>) -> Option<usize> {
    let mut previous = before;
    for (at, c) in text.char_indices() {
        let fresh =
            previous.is_none_or(|c| !c.is_alphanumeric() && !matches!(c, '/' | '.' | '_' | '-' | '<'));
        let tail = &text[at + c.len_utf8()..];
        let unix = c == '/' && fresh && tail.split(ends_path).next().is_some_and(|path| path.contains('/'));
        let windows =
            c == ':' && previous.is_some_and(|c| c.is_ascii_alphabetic()) && tail.starts_with('\\') && at > 0;
        if unix {
            return Some(at);
        }
        if windows {
            // from the backslash on; the drive letter stays
            return Some(at + 1);
        }
        previous = Some(c);
    }
    None
}

#[cfg(test)]
#[path = "failure_tests.rs"]
mod tests;
